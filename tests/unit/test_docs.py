"""What the pages say is so: the generated parts are of today, and whatever they name exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from job import plugs
from job.generators import GENERATORS
from job.metrics import SAMPLE_METRICS
from job.real import SOURCES
from job.settings import Settings, env_name, leaves
from job.tasks import TASKS
from tests import docs

pytestmark = pytest.mark.unit
PAGES = [docs.README, docs.HOME / "CHANGELOG.md", *sorted((docs.HOME / "docs").glob("*.md"))]
ARCHITECTURE = docs.HOME / "docs" / "architecture.md"


def code(text: str) -> str:
    """Only what is set as code, in fences and between backticks."""
    fences = re.findall(r"```.*?```", text, re.DOTALL)
    return "\n".join([*fences, *re.findall(r"`[^`\n]+`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))])


def ours(text: str) -> str:
    """Code without the commands of other programs, whose flags are their own."""
    return re.sub(r"\b(kubectl|helm|docker)\b.*", "", code(text).replace("\\\n", " "))


def every_setting() -> Iterator[str]:
    """Environment names of all settings and of all options of all plugs."""
    yield from (env_name(path) for path, _ in leaves(Settings))
    for table, group in ((SOURCES, "real"), (GENERATORS, "generator"), (TASKS, "task")):
        for name in table:
            yield from (env_name((group, "options", one)) for one in plugs.find(table, name, "").Options.model_fields)
    for name in SAMPLE_METRICS:
        options = plugs.find(SAMPLE_METRICS, name, "").Options.model_fields
        yield from (env_name(("measure", "metrics", name, one)) for one in options)


def test_the_settings_table_is_the_one_that_settings_and_plugs_give() -> None:
    text = docs.README.read_text()
    assert docs.with_table(text) == text, "run make docs"


def test_every_setting_and_every_option_of_a_plug_stands_in_the_readme() -> None:
    text = docs.README.read_text()
    assert not [name for name in every_setting() if f"| `{name}` |" not in text]


def test_every_setting_is_described_and_has_a_cell_for_each_column() -> None:
    rows = [line for line in docs.settings_table().splitlines() if line.startswith("| `")]
    cells = [[one.strip() for one in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    assert not [row for row in cells if len(row) != 5 or not all(row[:4])]


def test_every_name_under_the_prefix_in_a_page_is_a_setting() -> None:
    known = set(every_setting())
    for page in PAGES:
        named = set(re.findall(r"SALTWORKS_[A-Z][A-Z0-9_]*[A-Z0-9]", page.read_text()))
        assert named <= known, page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_flag_in_a_page_is_a_setting(page: Path) -> None:
    known = set(every_setting())
    named = re.findall(r"(?<![\w-])--([a-z_]+(?:\.[a-z_]+)*)", ours(page.read_text()))
    assert {env_name(flag.split(".")) for flag in named} <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_make_target_in_a_page_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (docs.HOME / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z0-9-]+)", code(page.read_text()))) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", page.read_text())
    places = [(one or other).partition("#")[0] for one, other in links]
    assert not [place for place in places if place and "://" not in place and not (page.parent / place).exists()]


def test_the_code_map_names_every_module_and_nothing_else() -> None:
    section = ARCHITECTURE.read_text().partition("\n## The code map")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    there = {path.relative_to(docs.HOME).as_posix() for path in (docs.HOME / "job").rglob("*.py")}
    assert {name for name in named if name.endswith(".py")} == there
    assert not [name for name in named if not (docs.HOME / name).exists()]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    trees = [ast.parse(path.read_text()) for path in (docs.HOME / "tests").rglob("*.py")]
    there = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert set(re.findall(r"`(test_[a-z0-9_]+)`", page.read_text())) <= there
