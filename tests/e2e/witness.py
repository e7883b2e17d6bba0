"""What a namespace showed while tests used it: which pods were there and when, what every container said, and no secret."""

import base64
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIES = 5              # of a log that cannot be read, and of a look at the pods
HOLD_A_TOKEN = {"autoscaler", "preflight", "refresh"}   # the only containers that may call the API of the cluster
SECRETS = {   # by what they are: canaries, which stand in the secret and nowhere else; or the keys of a store that was named
    "HF_TOKEN": "canary-hub-7f3a1c",
    **({name: os.environ.get(name, "") for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")} if os.environ.get("E2E_S3_ENDPOINT")
       else {"AWS_ACCESS_KEY_ID": "canary-id-2c9e51", "AWS_SECRET_ACCESS_KEY": "canary-key-b84d06"}),
}


def shapes(secret: str) -> set[bytes]:
    """A secret as it stands in a text: plain, or in base64 wherever in a longer text it begins."""
    found = {secret.encode()}
    for before in range(3):
        code = base64.b64encode(b"\0" * before + secret.encode())
        whole = code.rstrip(b"=")
        found.add(whole[(0, 2, 3)[before] : len(whole) - (whole != code)])   # the ends depend on the neighbours, too
    return found


def spotted(text: bytes) -> set[str]:
    """Which secrets a text gives away."""
    return {name for name, secret in SECRETS.items() if secret and any(one in text for one in shapes(secret))}


def holders(spec: dict[str, Any]) -> set[str]:
    """The containers of a pod, those of its start among them, that can read a token for the cluster's API."""
    tokens = {volume["name"] for volume in spec.get("volumes", ())
              if any("serviceAccountToken" in one for one in volume.get("projected", {}).get("sources", ()))}
    return {one["name"] for one in (*spec.get("initContainers", ()), *spec["containers"]) if any(
        mount["name"] in tokens or mount["mountPath"].startswith("/var/run/secrets") for mount in one.get("volumeMounts", ()))}


@dataclass
class Sight:
    """A pod, and when it was first and last there, in seconds since the epoch."""

    labels: dict[str, str]
    spec: dict[str, Any]
    first: float
    last: float


@dataclass
class _Log:
    process: subprocess.Popen[bytes]
    tries: int


class Witness:
    """Looks at a namespace every ``every_s`` seconds. ``kubectl``: how it is asked; raises when it does not answer."""

    def __init__(self, namespace: str, kubectl: Callable[..., str], every_s: float = 1.0) -> None:
        self._namespace, self._kubectl, self._every_s = namespace, kubectl, every_s
        self.pods: dict[str, Sight] = {}
        self.leaks: set[tuple[str, str]] = set()   # a secret's name, and where it stood
        self._logs: dict[tuple[str, str], _Log] = {}
        self._trouble: list[str] = []
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name=f"witness-{namespace}")

    def __enter__(self) -> "Witness":
        self._folder = Path(tempfile.mkdtemp(prefix=f"{self._namespace}-logs-"))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Fails if a secret was seen, or a token where none belongs."""
        try:
            self.search()
        finally:
            self._over.set()
            self._thread.join()
            self._end_logs()
            said = {path.name: path.read_bytes() for path in self._folder.iterdir()}
            shutil.rmtree(self._folder, ignore_errors=True)
        self.leaks |= {(name, f"the log of {file}") for file, text in said.items() for name in spotted(text)}
        assert not self.leaks, f"secrets were told: {sorted(self.leaks)}"
        assert any(said.values()) or not self.pods, f"nothing was heard of {sorted(self.pods)}"
        tokens = {(name, one) for name, pod in self.pods.items() for one in holders(pod.spec) - HOLD_A_TOKEN}
        assert not tokens, f"containers that hold a token for the API: {sorted(tokens)}"

    def seen(self, **labels: str) -> dict[str, Sight]:
        """All pods that were ever there, of a ``role`` and a ``release``. Fails if the namespace could not be seen at all times."""
        wanted = {{"role": "saltworks/role", "release": "app.kubernetes.io/instance"}[name]: value for name, value in labels.items()}
        self.look()
        assert not self._trouble, self._trouble
        assert self._thread.is_alive()
        with self._lock:
            return {name: pod for name, pod in self.pods.items() if wanted.items() <= pod.labels.items()}

    def look(self) -> None:
        """Who is there now; and follow what they say."""
        with self._lock:
            asked = time.time()
            for pod in self._ask():
                name, status = pod["metadata"]["name"], pod.get("status", {})
                self.pods.setdefault(name, Sight(pod["metadata"].get("labels", {}), pod["spec"], time.time(), asked)).last = asked
                for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
                    if "running" in one["state"] or "terminated" in one["state"]:
                        self._follow(name, one["name"], "running" in one["state"])

    def search(self) -> None:
        """Look for secrets in every object that is there now."""
        kinds = [one for one in self._kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
                 if not one.endswith(".metrics.k8s.io")]
        found: set[tuple[str, str]] = set()
        for one in json.loads(self._kubectl("get", ",".join(kinds), "-o", "json"))["items"]:
            where = f"{one['kind']}/{one['metadata']['name']}"
            found |= {(name, where) for name in spotted(b"\n".join(_texts(one)))}
        own = {name for name, where in found if where == "Secret/storage"}
        assert own in (set(), {name for name, secret in SECRETS.items() if secret}), f"the secret itself shows only {own}"
        self.leaks |= {(name, where) for name, where in found if where != "Secret/storage"}

    def _watch(self) -> None:
        while not self._over.wait(self._every_s):
            try:
                self.look()
            except Exception as error:   # whoever asks what was seen is told
                self._trouble.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")

    def _ask(self) -> list[dict[str, Any]]:
        for left in reversed(range(TRIES)):
            try:
                return json.loads(self._kubectl("get", "pods", "-o", "json"))["items"]
            except AssertionError:
                if not left:
                    raise
                time.sleep(self._every_s)
        raise AssertionError

    def _follow(self, pod: str, container: str, running: bool) -> None:
        """Write a log down from its first line. One that broke off, or could not be read yet, is read anew."""
        log = self._logs.get((pod, container))
        if log and (log.process.poll() is None or log.tries >= TRIES or (log.process.returncode == 0 and not running)):
            return
        with (self._folder / f"{pod}.{container}").open("ab") as file:
            process = subprocess.Popen(["kubectl", "-n", self._namespace, "logs", "-f", pod, "-c", container],
                                       stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL)
        self._logs[pod, container] = _Log(process, log.tries + 1 if log else 1)

    def _end_logs(self) -> None:
        end = time.monotonic() + 2   # what ended just now may still be on its way
        for log in self._logs.values():
            try:
                log.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.process.terminate()
                log.process.wait()


def _texts(one: dict[str, Any]) -> Iterable[bytes]:
    """An object as text, and what its data hold if it is a secret: Helm packs all that it has made into one."""
    yield json.dumps(one, ensure_ascii=False).encode()
    if one["kind"] == "Secret":
        for value in (one.get("data") or {}).values():
            text = base64.b64decode(value)
            yield text
            if one.get("type") == "helm.sh/release.v1":
                yield gzip.decompress(base64.b64decode(text))
