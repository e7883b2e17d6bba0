"""The schema of the chart's value ``settings``: every environment name of ``Settings`` and of the plugs' options, and no other.

Nothing is described here: types, bounds, choices and words are those of the fields.
"""

import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from job import plugs
from job.settings import Settings, env_name, leaves
from job.settings_table import TABLES
from tests.chart.annotated import CHART

EXACT = 2**53 - 1   # what a number in YAML can be for Helm, which holds it as a double
Path = tuple[str, ...]


def settings_schema() -> dict[str, Any]:
    """A closed object: the names of all settings, and of all options of all plugs one by one."""
    properties = {env_name(path): described(field) for path, field in leaves(Settings)}
    for name in owned():   # any value: a rule says better than the schema what to do instead
        properties[name] = {"description": f"{properties[name]['description']}; set by the chart"}
    for _, chooser, bag, names in TABLES:
        if chooser == bag:   # a dict from plug to options
            each = {name: _bag(plug) for name, plug in _plugs(names, chooser)}
            properties[env_name(bag)] |= {"additionalProperties": False, "properties": each}
        else:
            properties[env_name(chooser)] |= {"enum": sorted(names)}
            properties[env_name(bag)] |= {"anyOf": [_bag(plug) for _, plug in _plugs(names, chooser)]}
            properties[env_name(bag)].pop("additionalProperties", None)
    for path, fields in options().items():
        properties[env_name(path)] = fields[0] if all(one == fields[0] for one in fields) else {"anyOf": fields}
    return {"type": "object", "additionalProperties": False,
            "properties": {name: _or_unset(one) for name, one in sorted(properties.items())}}


def _or_unset(schema: dict[str, Any]) -> dict[str, Any]:
    """Null leaves a setting out: so a values file takes back what another before it has set."""
    if "anyOf" in schema:
        return schema | {"anyOf": [*schema["anyOf"], {"type": "null"}]} | ({"type": [schema["type"], "null"]} if "type" in schema else {})
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return schema | more | ({"type": [schema["type"], "null"]} if "type" in schema else {})


def owned() -> set[str]:
    """The settings that the chart sets by itself, as its refusals list them."""
    return set(re.findall(r"^(SALTWORKS_\w+): ", (CHART / "templates" / "_refuse.tpl").read_text(), re.MULTILINE))


def options() -> dict[Path, list[dict[str, Any]]]:
    """Every option that has an environment name of its own: what each plug that knows it says of it."""
    found: dict[Path, list[dict[str, Any]]] = {}
    for _, chooser, bag, names in TABLES:
        for name, plug in _plugs(names, chooser):
            above = (*bag, name) if chooser == bag else bag
            for option, field in plug.Options.model_fields.items():
                found.setdefault((*above, option), []).append(described(field))
    return found


def _plugs(names: Any, chooser: Path) -> Iterator[tuple[str, Any]]:
    for name in sorted(names):
        yield name, plugs.find(names, name, env_name(chooser))


def _bag(plug: Any) -> dict[str, Any]:
    """Options as one object, without what is required: single options may stand beside it."""
    return {"type": "object", "additionalProperties": False,
            "properties": {name: described(field) for name, field in plug.Options.model_fields.items()}}


def described(field: FieldInfo) -> dict[str, Any]:
    """A field as JSON schema, flat: with its description, without pydantic's titles, null left to leaving it out."""
    schema = TypeAdapter(Annotated[field.annotation, field]).json_schema()
    schema = _plain(schema, schema.get("$defs", {}))
    branches = schema.get("anyOf")
    if branches:
        branches = [one for one in branches if one != {"type": "null"}]
        schema.pop("anyOf")
        schema |= branches[0] if len(branches) == 1 else {"anyOf": branches}
    for unsaid in ("default", "identity"):
        schema.pop(unsaid, None)
    return schema | {"description": field.description or ""}


def _plain(schema: Any, shared: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_plain(one, shared) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(shared[schema["$ref"].rpartition("/")[2]], shared)
    flat = {name: _plain(one, shared) for name, one in schema.items() if name not in ("title", "$defs")}
    if flat.get("type") == "integer":
        flat["maximum"] = min(flat.get("maximum", EXACT), EXACT)
    return flat
