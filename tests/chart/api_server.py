"""As much of an API server as Helm asks before it makes anything: a version, the kinds that are known, the objects that are there."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import helm_python as helm

from tests.chart.annotated import CHART
from tests.chart.engine import Object

KINDS = {"v1": ("ServiceAccount", "ConfigMap", "PersistentVolumeClaim"), "networking.k8s.io/v1": ("NetworkPolicy",),
         "ray.io/v1": ("RayJob",)}


@contextmanager
def cluster(version: str, groups: Sequence[str] = tuple(KINDS), there: Sequence[Object] = ()) -> Iterator[str]:
    """A cluster of this version that knows these groups and holds these objects: its kubeconfig."""
    answers: dict[str, Any] = {
        "/version": {"major": "1", "minor": version.split(".")[1], "gitVersion": f"v{version}"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(one) for one in groups if "/" in one]},
    }
    answers["/openapi/v3"] = {"paths": {}}
    for group in groups:
        place = f"/apis/{group}" if "/" in group else f"/api/{group}"
        answers[place] = {"kind": "APIResourceList", "groupVersion": group, "resources": [
            {"name": _plural(kind), "kind": kind, "namespaced": True, "verbs": ["get", "list", "create"]} for kind in KINDS[group]]}
        answers["/openapi/v3"]["paths"][place[1:]] = {"serverRelativeURL": f"/openapi/v3{place}"}
        answers[f"/openapi/v3{place}"] = {"openapi": "3.0.0", "paths": {   # the server itself checks fields: so it says
            f"{place}/namespaces/{{namespace}}/{_plural(kind)}/{{name}}": {"patch": {
                "x-kubernetes-group-version-kind": {"group": group.rpartition("/")[0], "version": group.rpartition("/")[2], "kind": kind},
                "parameters": [{"name": "fieldValidation", "in": "query"}]}} for kind in KINDS[group]}}
        for kind in KINDS[group]:
            mine = [one for one in there if (one["apiVersion"], one["kind"]) == (group, kind)]
            answers[f"{place}/namespaces/saltworks/{_plural(kind)}"] = {"apiVersion": group, "kind": f"{kind}List", "items": mine}
            answers |= {f"{place}/namespaces/saltworks/{_plural(kind)}/{one['metadata']['name']}": one for one in mine}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path.partition("?")[0])
            lacking = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(found or lacking).encode()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c", "users": [{"name": "u", "user": {}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "saltworks"}}],
        })
    finally:
        server.shutdown()
        server.server_close()


def try_install(kubeconfig: str, values: Object) -> None:
    """As ``helm install saltworks … --dry-run=server``. Raises ``Refused`` with Helm's words."""
    with helm.Config(kubeconfig_content=kubeconfig, namespace="saltworks", storage_driver="memory") as chosen:
        chosen.install(CHART, "saltworks", values, namespace="saltworks", dry_run="server")


def _plural(kind: str) -> str:
    return f"{kind.lower().removesuffix('y')}ies" if kind.endswith("y") else f"{kind.lower()}s"


def _group(group: str) -> Object:
    version = {"groupVersion": group, "version": group.partition("/")[2]}
    return {"name": group.partition("/")[0], "versions": [version], "preferredVersion": version}
