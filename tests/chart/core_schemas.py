"""The strict schemas of Kubernetes' own kinds, one version at a time; each is read once."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema
from referencing import Registry, Resource

VERSIONS = [f"1.{minor}" for minor in range(29, 38)]


def complaints(thing: dict[str, Any], version: str) -> list[str]:
    """What this version of Kubernetes would refuse of an object, with the path."""
    found = _validator(thing["kind"], thing["apiVersion"], version).iter_errors(thing)
    return [f"{thing['kind']} {'.'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in found]


@cache
def _validator(kind: str, api: str, version: str) -> Any:
    group, _, number = api.rpartition("/")
    file = "-".join(filter(None, (kind.lower(), group.partition(".")[0], number)))
    return jsonschema.Draft202012Validator(_read(version, file), registry=_shared(version))


@cache
def _shared(version: str) -> Any:
    return Resource.from_contents(_read(version, "_definitions")) @ Registry()


def _read(version: str, file: str) -> Any:
    return json.loads((files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict" / f"{file}.json").read_text())
