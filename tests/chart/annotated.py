"""The annotated ``values.yaml``: what stands above each key, as a JSON schema and as a table.

``# -- text`` says what a value means, ``@schema {…}`` behind it or below it bounds it beyond the type of its default. A
mapping without a text is a section, closed: it has exactly the keys that stand in it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[2] / "helm" / "saltworks"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@dataclass(frozen=True)
class Value:
    """One value: where it stands, its default, what is said of it, and its bounds."""

    path: tuple[str, ...]
    default: Any
    text: str
    bounds: dict[str, Any]

    @property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema. A reference stands for itself; a null default leaves the type to the bounds."""
        kind = {} if self.default is None or "$ref" in self.bounds else {"type": TYPES[type(self.default)]}
        return kind | self.bounds | {"description": self.text, "default": self.default}


def values(path: Path = CHART / "values.yaml") -> Iterator[Value]:
    """All annotated values, in the order in which they stand. Raises ``ValueError`` for one without a text."""
    text = path.read_text()
    yield from _walk(yaml.compose(text), yaml.safe_load(text), text.splitlines(), ())


def _walk(node: Any, loaded: Any, lines: list[str], above: tuple[str, ...]) -> Iterator[Value]:
    for key, value in node.value:
        said, bounds = _comments(lines, key.start_mark.line)
        path, default = (*above, key.value), loaded[key.value]
        if said:
            yield Value(path, default, said, bounds)
        elif isinstance(default, dict) and default:
            yield from _walk(value, default, lines, path)
        else:
            raise ValueError(f"values.yaml says nothing of {'.'.join(path)}: write # -- above it")


def _comments(lines: list[str], row: int) -> tuple[str, dict[str, Any]]:
    """What the comment right above a line says and demands."""
    said, bounds = "", {}
    while row and (line := lines[row - 1].strip()).startswith("#"):
        row -= 1
        text, _, schema = line.removeprefix("# ").partition("@schema ")
        bounds = json.loads(schema) if schema else bounds
        if text.startswith("-- "):
            said = text.removeprefix("-- ").rstrip()
    return said, bounds


def closed(found: list[Value]) -> dict[str, Any]:
    """The values as nested objects that have no other keys."""
    root: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    for one in found:
        place = root
        for name in one.path[:-1]:
            place = place["properties"].setdefault(name, {"type": "object", "additionalProperties": False, "properties": {}})
        place["properties"][one.path[-1]] = one.schema
    return root


def table(found: list[Value]) -> str:
    """The values as a Markdown table."""
    rows = [f"| `{'.'.join(one.path)}` | {_default(one)} | {_cell(one.text)} |" for one in found]
    return "\n".join(["| value | default | what it says |", "|---|---|---|", *rows]) + "\n"


def _default(one: Value) -> str:
    return "unset" if one.default is None else "empty" if one.default == "" else f"`{_cell(json.dumps(one.default, ensure_ascii=False))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
