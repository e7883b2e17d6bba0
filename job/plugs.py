"""Names to plugs: looks a name up in a table and checks its options, importing nothing heavier than the plug's file."""

import importlib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError

from job.errors import SettingsError, redact
from job.ground.lineage import canonical


def find(table: Mapping[str, str], name: str, setting: str) -> Any:
    """The plug class that ``table`` knows by ``name``; ``setting`` is the name that chose it.

    Raises ``SettingsError`` naming the known plugs.
    """
    if name not in table:
        near = get_close_matches(name, table, n=1)
        cure = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(table))}"
        raise SettingsError(f"{setting}={redact(name)!r} names no plug", cure)
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def options(plug: Any, values: Mapping[str, Any] | str, setting: str) -> BaseModel:
    """The plug's own ``Options``, checked. ``values`` may be canonical JSON from a plan.

    Raises ``SettingsError`` naming every wrong option, its value and its limit.
    """
    try:
        if isinstance(values, str):
            return plug.Options.model_validate_json(values)
        return plug.Options.model_validate(dict(values))
    except ValidationError as error:
        wrong = (
            "__".join([setting, *(str(part).upper() for part in one["loc"])])
            + ("" if one["type"] == "missing" else f"={redact(repr(one['input']))}") + f": {one['msg']}"
            for one in error.errors()
        )
        raise SettingsError("; ".join(wrong), f"options here: {', '.join(plug.Options.model_fields) or 'none'}") from None


def identity(chosen: BaseModel) -> str:
    """Canonical JSON of the options that are part of an identity.

    One that is marked ``if set`` stands in it unless it has its default: so an option that comes later, and is off, leaves
    every identity as it was.
    """
    def told(name: str, extra: Any) -> bool:
        how = extra.get("identity") if isinstance(extra, dict) else True
        return how is not False and (how != "if set" or name in set_ones)

    set_ones = chosen.model_dump(mode="json", exclude_defaults=True)
    fields = {name for name, field in type(chosen).model_fields.items() if told(name, field.json_schema_extra)}
    return canonical(chosen.model_dump(mode="json", include=fields))
