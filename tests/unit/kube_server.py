"""A small Kubernetes API on this machine: RayJobs and events of any namespace, in memory, over real HTTP.

It answers as the real one does, by Status objects with reasons and details, and fails on request.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

RAYJOBS = re.compile(r"^/apis/ray\.io/v1/namespaces/([^/]+)/rayjobs(?:/([^/]+))?$")
EVENTS = re.compile(r"^/api/v1/namespaces/([^/]+)/events$")


class Api:
    """What the cluster holds, what it was asked, and what it is to answer instead."""

    def __init__(self, namespaces: tuple[str, ...] = ("here",)) -> None:
        self.namespaces, self.clock = namespaces, 0
        self.rayjobs: dict[tuple[str, str], dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.answers: list[tuple[str, int, dict[str, Any] | str | None, bool]] = []
        self.lock = threading.Lock()

    def add(self, name: str, *, state: str = "", namespace: str = "here", labels: dict[str, str] | None = None, **meta: Any) -> None:
        """A RayJob that is there already, younger than those before it."""
        self.make(namespace, {"metadata": {"name": name, "labels": labels or {}, **meta}, "status": {"jobDeploymentStatus": state}})

    def names(self, namespace: str = "here") -> list[str]:
        return sorted(name for there, name in self.rayjobs if there == namespace)

    def fail(self, verb: str, status: int, said: dict[str, Any] | str | None = None, *, times: int = 1, done: bool = False) -> None:
        """The next requests of this verb end so; ``done``: after they were carried out."""
        self.answers += [(verb, status, said, done)] * times

    def make(self, namespace: str, body: dict[str, Any]) -> dict[str, Any]:
        self.clock += 1
        at = f"2026-11-23T{self.clock // 60:02}:{self.clock % 60:02}:00Z"
        body["metadata"] |= {"namespace": namespace, "uid": f"uid-{self.clock}", "resourceVersion": str(self.clock),
                             "creationTimestamp": at}
        self.rayjobs[namespace, body["metadata"]["name"]] = body
        return body

    def answer(self, verb: str, url: str, body: dict[str, Any]) -> tuple[int, Any]:
        """One request, carried out or made to fail."""
        with self.lock:
            self.asked.append(f"{verb} {url}")
            planned = next((one for one in self.answers if one[0] == verb), None)
            if planned:
                self.answers.remove(planned)
                if planned[3]:
                    self._do(verb, url, body)
                return planned[1], status(planned[1], planned[2] or {}) if not isinstance(planned[2], str) else planned[2]
            return self._do(verb, url, body)

    def _do(self, verb: str, url: str, body: dict[str, Any]) -> tuple[int, Any]:
        path = urlsplit(url)
        if match := EVENTS.match(path.path):
            name = body["metadata"]["name"]
            if name in self.events:
                return 409, status(409, {"reason": "AlreadyExists", "details": {"name": name, "kind": "events"}})
            return 201, self.events.setdefault(name, body)
        match = RAYJOBS.match(path.path)
        if not match:
            return 404, "404 page not found\n"
        namespace, name = match.groups()
        if name is None and verb == "GET":
            selector = parse_qs(path.query).get("labelSelector", [""])[0]
            return 200, {"items": [one for (where, _), one in self.rayjobs.items() if where == namespace and selected(one, selector)]}
        if verb == "POST":
            name = body["metadata"]["name"]
            if namespace not in self.namespaces:
                return 404, status(404, {"reason": "NotFound", "message": f'namespaces "{namespace}" not found',
                                         "details": {"name": namespace, "kind": "namespaces"}})
            if (namespace, name) in self.rayjobs:
                return 409, status(409, {"reason": "AlreadyExists", "details": {"name": name, "group": "ray.io", "kind": "rayjobs"}})
            return 201, self.make(namespace, body)
        there = self.rayjobs.get((namespace, str(name)))
        if there is None:
            return 404, status(404, {"reason": "NotFound", "details": {"name": name, "group": "ray.io", "kind": "rayjobs"}})
        if verb == "GET":
            return 200, there
        wanted = body.get("preconditions") or {}
        if any(there["metadata"][key] != value for key, value in wanted.items()):
            return 409, status(409, {"reason": "Conflict", "details": {"name": name, "group": "ray.io", "kind": "rayjobs"}})
        return 200, self.rayjobs.pop((namespace, str(name)))


def status(code: int, said: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": f"answer {code}", **said}


def selected(rayjob: dict[str, Any], selector: str) -> bool:
    labels = rayjob["metadata"].get("labels") or {}
    return all(term[1:] not in labels if term.startswith("!") else labels.get(term.partition("=")[0]) == term.partition("=")[2]
               for term in selector.split(",") if term)


@contextmanager
def serving(api: Api, folder: Path) -> Iterator[str]:
    """The API at a port of this machine; yields a kubeconfig that leads there."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            code, said = api.answer(self.command, self.path, json.loads(body) if body else {})
            if code == 0:   # the answer gets lost
                self.close_connection = True
                return
            data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(said, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_DELETE = _handle

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kubeconfig(folder, f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def kubeconfig(folder: Path, url: str) -> str:
    """A file that leads to an API server."""
    path = folder / "kubeconfig"
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "here", "users": [{"name": "me", "user": {"token": "hunter2"}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": url}}]}))
    return str(path)
