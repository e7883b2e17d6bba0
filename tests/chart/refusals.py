"""What the chart's rules say, as a list for docs/deploy.md: every message of the templates, with … where a value goes."""

import re

from tests.chart.annotated import CHART

RULE = re.compile(r'^- (?:\{\{ printf )?"((?:[^"\\]|\\.)*)"', re.MULTILINE)
TEMPLATES = sorted((CHART / "templates").glob("_refuse*.tpl"))


def messages() -> list[str]:
    """Every message of a rule, in the order of the templates."""
    return [re.sub("…+", "…", re.sub(r"%[a-z]", "…", one)) for path in TEMPLATES for one in RULE.findall(path.read_text())]


def table() -> str:
    """They as a list."""
    return "\n".join(f"- `{one}`" for one in dict.fromkeys(messages())) + "\n"
