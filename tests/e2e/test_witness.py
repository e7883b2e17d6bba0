"""What the tests on a cluster rely on, without one: the eyes that watch a namespace, and the page that is committed."""

import base64
import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.record import Record
from tests.e2e.witness import SECRETS, Witness, holders, spotted

pytestmark = pytest.mark.unit
NAME, SECRET = "HF_TOKEN", SECRETS["HF_TOKEN"]
KUBECTL = """#!/bin/sh
case "$*" in
  *logs*) cat "$HERE/log"; sleep 0.2 ;;
  *api-resources*) echo pods; echo secrets ;;
  *"get pods -o json"*) [ -e "$HERE/pods" ] && cat "$HERE/pods" || exit 1 ;;
  *) cat "$HERE/objects" ;;
esac
"""


@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_a_secret_is_found_plain_and_in_base64_wherever_it_begins(before: int, after: int) -> None:
    text = b"x" * before + SECRET.encode() + b"y" * after
    assert spotted(text) == spotted(base64.b64encode(text)) == {NAME}
    assert spotted(text.replace(b"canary", b"parrot")) == spotted(base64.b64encode(text.replace(b"canary", b"parrot"))) == set()


class Namespace:
    """Stands for kubectl: a script that answers from files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "kubectl").write_text(KUBECTL)
        (folder / "kubectl").chmod(0o755)
        self.shows([])
        self.say("hello")
        self.has()

    def __call__(self, *words: str) -> str:
        done = os.popen(f"{self.folder}/kubectl {' '.join(words)}")
        text = done.read()
        assert done.close() is None, words
        return text

    def shows(self, pods: list[dict[str, Any]]) -> None:
        self._write("pods", json.dumps({"items": pods}))

    def say(self, text: str) -> None:
        self._write("log", text)

    def has(self, *objects: dict[str, Any]) -> None:
        self._write("objects", json.dumps({"items": objects}))

    def _write(self, name: str, text: str) -> None:
        (self.folder / "fresh").write_text(text)
        (self.folder / "fresh").replace(self.folder / name)


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Namespace(tmp_path)


def pod(name: str = "pod", *, role: str = "generate", mounts: tuple[str, ...] = (), init: tuple[str, ...] = ()) -> dict[str, Any]:
    container = {"name": "ray-worker", "volumeMounts": [{"name": one, "mountPath": "/x"} for one in mounts]}
    return {"metadata": {"name": name, "labels": {"saltworks/role": role, "app.kubernetes.io/instance": "one"}},
            "spec": {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}, {
                "name": "token", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
                "initContainers": [{"name": "wait", "volumeMounts": [{"name": one, "mountPath": "/x"} for one in init]}]},
            "status": {"containerStatuses": [{"name": "ray-worker", "state": {"running": {}}}]}}


def secret(name: str, value: str, kind: str = "Opaque") -> dict[str, Any]:
    return {"kind": "Secret", "type": kind, "metadata": {"name": name}, "data": {"key": base64.b64encode(value.encode()).decode()}}


def test_what_a_pod_said_outlives_it(there: Namespace) -> None:
    there.say(f"my token is {SECRET}")
    witness = Witness("here", there, 0.05)
    with pytest.raises(AssertionError, match=r"HF_TOKEN.*the log of pod.ray-worker") as told, witness:   # noqa: PT012
        there.shows([pod()])
        assert set(witness.seen(role="generate", release="one")) == {"pod"}
        assert witness.seen(role="cpu") == {}
        there.shows([])
        assert set(witness.seen(role="generate")) == {"pod"}
    assert SECRET not in str(told.value)   # nor does the failure tell it


def test_a_quiet_namespace_is_fine_and_one_that_cannot_be_seen_is_not(there: Namespace) -> None:
    with Witness("here", there, 0.05) as witness:
        there.shows([pod(mounts=("tmp",))])
        assert witness.seen(release="two") == {}
        (there.folder / "pods").unlink()
        with pytest.raises(AssertionError):
            witness.seen()
        there.shows([])


@pytest.mark.parametrize(("objects", "where"), [
    ([secret("storage", "\n".join(SECRETS.values()))], ""),
    ([secret("storage", "\n".join(SECRETS.values())), secret("other", SECRET)], "Secret/other"),
    ([{"kind": "Event", "metadata": {"name": "e"}, "message": f"no {SECRET}"}], "Event/e"),
    ([secret("helm", base64.b64encode(gzip.compress(SECRET.encode())).decode(), "helm.sh/release.v1")], "Secret/helm"),
])
def test_a_secret_is_found_in_every_object_but_itself(there: Namespace, objects: list[dict[str, Any]], where: str) -> None:
    there.has(*objects)
    witness = Witness("here", there, 0.05)
    witness.search()
    assert witness.leaks == ({(NAME, where)} if where else set())


def test_a_search_that_cannot_find_what_is_there_fails(there: Namespace) -> None:
    there.has(secret("storage", SECRET))   # and none of the others
    with pytest.raises(AssertionError, match="shows only"):
        Witness("here", there, 0.05).search()


def test_a_token_is_found_in_containers_and_in_those_of_a_pods_start() -> None:
    assert holders(pod(mounts=("tmp",))["spec"]) == set()
    assert holders(pod(mounts=("tmp", "token"))["spec"]) == {"ray-worker"}
    assert holders(pod(init=("token",))["spec"]) == {"wait"}


def test_a_pod_with_a_token_that_is_none_of_its_business_fails_the_namespace(there: Namespace) -> None:
    witness = Witness("here", there, 0.05)
    with pytest.raises(AssertionError, match=r"hold a token.*pod.*wait"), witness:   # noqa: PT012
        there.shows([pod(init=("token",))])
        witness.look()


def row(module: str, outcome: str) -> pytest.TestReport:
    return pytest.TestReport(f"tests/e2e/{module}::test_it_is_so", ("", 0, ""), {}, outcome, None, "call", duration=2.0,
                             user_properties=[("seconds", "7")])


@pytest.mark.parametrize(("outcomes", "status", "arguments", "why"), [
    (("passed", "passed"), 0, ["tests"], ""),
    (("passed", "passed"), 1, ["tests"], "not every test passed"),
    (("passed", "failed"), 0, ["tests"], "not every test passed"),
    (("passed", "skipped"), 0, ["tests"], "1 tests were skipped"),
    (("passed",), 0, ["tests"], "only a part"),
    (("passed", "passed"), 0, ["tests/e2e/test_cluster_a.py::test_it"], "only a part"),
])
def test_the_record_is_of_a_whole_and_green_run(
    tmp_path: Path, outcomes: tuple[str, ...], status: int, arguments: list[str], why: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"test_cluster_{name}.py").touch()
    record = Record("page.md", tmp_path)
    for name, outcome in zip("ab", outcomes, strict=False):
        record.pytest_runtest_logreport(row(f"test_cluster_{name}.py", outcome))
    assert bool(record.lacking(status, arguments)) == bool(why)
    assert why in record.lacking(status, arguments)
    assert "| it is so | passed | 2 | seconds: 7 |" in record.text({"Helm": "v4"})
