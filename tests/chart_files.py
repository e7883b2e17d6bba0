"""Writes what is generated of the chart: ``make chart``, or ``python -m tests.chart_files``.

The schema of its values, the table in its README, its refusals in docs/deploy.md, and the profiles as plain files below
``k8s/``. The tier ``chart`` fails where any differs from what stands in the repository.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chart import annotated, refusals, rented
from tests.chart.annotated import CHART
from tests.chart.definitions import DEFINITIONS, GROUP_NAME
from tests.chart.engine import PROFILES
from tests.chart.settings_schema import settings_schema
from tests.chart.static import all_yaml, kustomization

HOME = Path(__file__).parents[1]
SCHEMA, README, PLAIN, DEPLOY = CHART / "values.schema.json", CHART / "README.md", HOME / "k8s", HOME / "docs" / "deploy.md"


def schema_text() -> str:
    """The closed schema of the chart's values."""
    schema = annotated.closed(list(annotated.values()))
    group: dict[str, Any] = json.loads(json.dumps(schema["properties"]["workerDefaults"]))
    for one in group["properties"].values():
        one.pop("default", None)
    group["properties"] = {"name": GROUP_NAME} | group["properties"]
    schema["properties"]["global"] = {"type": "object", "description": "what Helm hands to every chart; unused"}
    shared = DEFINITIONS | {"workerGroup": group | {"required": ["name"]}, "settings": settings_schema()}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Values of the chart saltworks"}
    return json.dumps(head | schema | {"$defs": shared}, indent=1, ensure_ascii=False) + "\n"


def with_table(path: Path, what: str, table: str) -> tuple[Path, str]:
    """A page with the table of today. Raises ``ValueError`` unless each marker stands there once."""
    page, begin, end = path.read_text(), f"<!-- {what}:begin -->", f"<!-- {what}:end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"{path} needs {begin} and {end}, once each")
    before, _, rest = page.partition(begin)
    return path, f"{before}{begin}\n\n{table}\n{end}{rest.partition(end)[2]}"


def files() -> Iterator[tuple[Path, str]]:
    """Every generated file and what it should hold; the schema first, since rendering reads it."""
    yield SCHEMA, schema_text()
    yield with_table(README, "values", annotated.table(list(annotated.values())))
    yield with_table(PLAIN / "README.md", "rented", rented.table())
    yield with_table(DEPLOY, "refusals", refusals.table())
    for name in PROFILES:
        yield PLAIN / name / "all.yaml", all_yaml(name)
        yield PLAIN / name / "kustomization.yaml", kustomization(name)


def main() -> None:
    """Write all of them, and say so."""
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path.relative_to(HOME)}, {len(text.splitlines())} lines")


if __name__ == "__main__":
    main()
