"""EDGE. The settings table of README.md: what ``Settings`` and the plugs' ``Options`` say of themselves, as Markdown.

Nothing is described here. A name, default, limit or word that looks wrong in the table is mended where the field stands.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from job import plugs
from job.generators import GENERATORS
from job.metrics import SAMPLE_METRICS
from job.real import SOURCES
from job.settings import Settings, env_name, leaves
from job.tasks import TASKS

HEAD = "| name | default | limits | what it says | identity |\n|---|---|---|---|:-:|"
TABLES = (   # kind, the setting that names the plug, where its options go, the table
    ("real source", ("real", "name"), ("real", "options"), SOURCES),
    ("generator", ("generator", "name"), ("generator", "options"), GENERATORS),
    ("task", ("task", "name"), ("task", "options"), TASKS),
    ("metric", ("measure", "metrics"), ("measure", "metrics"), SAMPLE_METRICS),
)


def settings_table() -> str:
    """All settings, then the options of every plug that has any: one Markdown table each."""
    known = {chooser: _choice(sorted(table)) for _, chooser, _, table in TABLES}
    parts = [_table((env_name(path), field, known.get(path, "")) for path, field in leaves(Settings))]
    for kind, chooser, options, table in TABLES:
        for name in sorted(table):
            fields = plugs.find(table, name, env_name(chooser)).Options.model_fields
            several = options == chooser   # a dict from plug to options: the plug's own name is a level of theirs
            above = (*options, name) if several else options
            rows = [(env_name((*above, one)), field, "") for one, field in fields.items()]
            chosen = f"`{env_name(chooser)}` naming it" if several else f"`{env_name(chooser)}={name}`"
            parts.append(f"Options of the {kind} `{name}`, with {chosen}:\n\n{_table(rows)}" if rows
                         else f"The {kind} `{name}` has no options.")
    return "\n\n".join(parts) + "\n"


def _table(rows: Iterable[tuple[str, FieldInfo, str]]) -> str:
    return "\n".join([HEAD, *(_row(*one) for one in rows)])


def _row(name: str, field: FieldInfo, known: str) -> str:
    """``known``: the plugs that the field may name, which its type does not tell."""
    cells = (_code(name), _default(field), known or limits(field), field.description or "", "•" if is_identity(field) else "")
    return f"| {' | '.join(_cell(one) for one in cells)} |"


def is_identity(field: FieldInfo) -> bool:
    """Whether the field decides what comes out: an option says so by saying nothing."""
    extra = field.json_schema_extra
    return not (isinstance(extra, dict) and extra.get("identity") is False)


def limits(field: FieldInfo) -> str:
    """What a value must keep to, in words; read from the field's JSON schema, which is what checks it."""
    return _limits(TypeAdapter(Annotated[field.annotation, field]).json_schema())


def _limits(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_limits(one) for one in schema["anyOf"] if one.get("type") != "null")   # null is written as unset
    if "enum" in schema or "const" in schema:
        return _choice(schema.get("enum") or [schema["const"]])
    if schema.get("type") == "array":
        return _list_limits(schema)
    if schema.get("type") == "object":
        return "JSON object"
    if schema.get("type") == "boolean":
        return "true or false"
    if schema.get("type") == "string":
        return _text_limits(schema)
    return _range(schema) or _kind(schema)


def _choice(values: Sequence[Any]) -> str:
    names = [_code(str(one)) for one in values]
    return f"one of {', '.join(names)}" if len(names) > 1 else names[0]


def _list_limits(schema: Mapping[str, Any]) -> str:
    """The limits of each item, and how many there may be."""
    items = _limits(schema.get("items", {}))
    fewest, most = schema.get("minItems", 0), schema.get("maxItems")
    count = f"{fewest} to {most}" if most else f"{fewest} or more" if fewest else ""
    return ": ".join(filter(None, (f"list of {count}" if count else "list", items if items != "text" else "")))


def _text_limits(schema: Mapping[str, Any]) -> str:
    if "pattern" in schema:
        return f"text like {_code(schema['pattern'].removeprefix('^').removesuffix('$'))}"
    return "text, not empty" if schema.get("minLength") else "text"


def _range(schema: Mapping[str, Any]) -> str:
    """``0…1``, ``≥ 1`` or ``> 0 and < 0.9``; empty without a bound."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{_number(low)}…{_number(high)}"
    signs = (("≥", "minimum"), (">", "exclusiveMinimum"), ("≤", "maximum"), ("<", "exclusiveMaximum"))
    return " and ".join(f"{sign} {_number(schema[name])}" for sign, name in signs if name in schema)


def _kind(schema: Mapping[str, Any]) -> str:
    return {"integer": "whole number", "number": "number", "string": "text"}.get(schema.get("type", ""), "")


def _default(field: FieldInfo) -> str:
    """As it would be written into the environment."""
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "unset"
    if isinstance(value, tuple) and value and all(isinstance(one, float) for one in value):
        return _code(",".join(f"{one:g}" for one in value))
    if isinstance(value, bool | dict | list | tuple):
        return _code(json.dumps(value, ensure_ascii=False))
    if isinstance(value, int | float):
        return _code(_number(value))
    return _code(value) if value else "empty"


def _number(value: float) -> str:
    """A whole number digit by digit, so that it can be copied; any other without needless zeros."""
    return str(int(value)) if value == int(value) else f"{value:g}"


def _code(text: str) -> str:
    return f"`{text}`"


def _cell(text: str) -> str:
    """A pipe would end the cell, even inside code."""
    return text.replace("|", "\\|").replace("\n", " ")
