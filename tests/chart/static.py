"""A profile as plain files for ``kubectl apply``: its objects, and a kustomization in which names and images follow edits.

Kustomize knows neither the names inside a RayJob nor the JSON of the manifest that a launcher reads. So for every place
where an object's name or the image stands there, the kustomization holds a replacement.
"""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.chart.engine import Object, profile, render

MARK = "\x00"
HEADER = "# Rendered from helm/saltworks/profiles/{0}.yaml by `make chart`. Edit a copy, or the kustomization beside it.\n"
EDIT = """\
# kubectl apply -k k8s/{name}: the objects of all.yaml, with what is edited here.
# 1. The name. Every object and every reference to one gets the suffix: a new run beside a finished one.
# nameSuffix: "-2"
# 2. The image.
# images: [{{name: saltworks, newName: registry.example.com/saltworks, digest: "sha256:…"}}]
# 3. Where the results go.
# patches:
#   - target: {{kind: ConfigMap, name: {settings}}}
#     patch: '[{{op: replace, path: /data/SALTWORKS_ROOT, value: "s3://bucket/prefix"}}]'

# Below, what makes names and images inside a RayJob follow.
"""
Path = tuple[str | int, ...]


class Plain(yaml.SafeDumper):
    """Lists indented below their key, text of several lines as a block, no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


Plain.add_representer(str, lambda dumper, text: dumper.represent_scalar(
    "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None))


def objects(name: str) -> list[Object]:
    """What ``kubectl apply`` makes of a profile: all but the pod of ``helm test``."""
    return [one for one in render(profile(name)).objects if "helm.sh/hook" not in one["metadata"].get("annotations", {})]


def all_yaml(name: str) -> str:
    """The profile's objects, one document each."""
    return HEADER.format(name) + "---\n".join(_dump(one) for one in objects(name))


def kustomization(name: str) -> str:
    """The kustomization beside them: what to edit, and what follows."""
    found = objects(name)
    settings = next(one["metadata"]["name"] for one in found if "-settings-" in one["metadata"]["name"])
    body = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": ["all.yaml"]}
    return _dump(body) + EDIT.format(name=name, settings=settings) + _dump({"replacements": list(_replacements(found))})


def _replacements(found: list[Object]) -> Iterator[Object]:
    applied = next((one for one in found if one["kind"] == "RayJob"), None)
    if applied:
        yield from _in_object(found, applied)
    else:
        yield from _in_manifest(found, next(one for one in found if "rayjob.json" in one.get("data", {})))


def _in_object(found: list[Object], rayjob: Object) -> Iterator[Object]:
    for source in found:
        paths = [_dotted(path) for path in _references(rayjob, source)]
        if paths:
            yield {"source": _selector(source), "targets": [{"select": _selector(rayjob), "fieldPaths": paths}]}


def _in_manifest(found: list[Object], manifest: Object) -> Iterator[Object]:
    """The JSON is one text to kustomize: its parts are counted between quotes."""
    rayjob = json.loads(manifest["data"]["rayjob.json"])
    launcher = next(one for one in found if one["kind"] in ("Job", "CronJob"))
    below = "spec.template" if launcher["kind"] == "Job" else "spec.jobTemplate.spec.template"
    named = next(one for one in found if one["metadata"]["name"] == rayjob["metadata"]["name"])   # follows as the RayJob would
    places = {id(source): list(_references(rayjob, source)) for source in found if source is not named}
    places[id(named)] = [("metadata", "name"), *_references(rayjob, named | {"kind": "RayJob"})]
    for source in found:
        if places[id(source)]:
            yield _parts(_selector(source), manifest, rayjob, places[id(source)])
    if launcher["kind"] == "Job":   # it plans under the RayJob's name
        env = f"{below}.spec.containers.0.env.[name=SALTWORKS_SUBMISSION].value"
        yield {"source": _selector(named), "targets": [{"select": _selector(launcher), "fieldPaths": [env]}]}
    images = [path for path, _ in _leaves(rayjob) if path[-1] == "image"]
    yield _parts(_selector(launcher) | {"fieldPath": f"{below}.spec.containers.0.image"}, manifest, rayjob, images)


def _parts(source: Object, manifest: Object, rayjob: Object, paths: list[Path]) -> Object:
    return {"source": source, "targets": [
        {"select": _selector(manifest), "fieldPaths": [r"data.rayjob\.json"],
         "options": {"delimiter": '"', "index": _part(rayjob, path)}} for path in paths
    ]}


def _part(rayjob: Object, path: Path) -> int:
    """Which part of the manifest, cut at its quotes, is the text at this path."""
    marked = json.loads(json.dumps(rayjob))
    place = marked
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = MARK
    return json.dumps(marked, sort_keys=True).split('"').index(json.dumps(MARK).strip('"'))


def _references(rayjob: Object, to: Object) -> Iterator[Path]:
    """Where a RayJob names an object. Its own name stands in the environment."""
    for path, text in _leaves(rayjob["spec"], ("spec",)):
        if text != to["metadata"]["name"]:
            continue
        kind = {"serviceAccountName": "ServiceAccount", "claimName": "PersistentVolumeClaim"}.get(str(path[-1]))
        if path[-2] in ("configMapRef", "configMap"):
            kind = "ConfigMap"
        elif path[-1] == "value" and _at(rayjob, (*path[:-1], "name")) == "SALTWORKS_SUBMISSION":
            kind = "RayJob"
        if kind == to["kind"]:
            yield path


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(one, (*path, key))


def _at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def _dotted(path: Path) -> str:
    return ".".join(str(step).replace(".", r"\.") for step in path)


def _selector(one: Object) -> Object:
    return {"kind": one["kind"], "name": one["metadata"]["name"]}


def _dump(value: Object) -> str:
    return yaml.dump(value, Dumper=Plain, allow_unicode=True, width=1000)
