"""Every answer of the Kubernetes API becomes a deed or an exit code with a cure; what passes is waited out."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from job.errors import AccessError, DataError, JobError, SettingsError, TemporaryError
from job.kube import RayJobs
from tests.unit.kube_server import Api, kubeconfig, serving

pytestmark = pytest.mark.unit


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """An API server, and an environment that leads to it."""
    served = Api()
    with serving(served, tmp_path) as path:
        monkeypatch.setenv("KUBECONFIG", path)
        yield served


def rayjob(name: str = "one", **labels: str) -> dict[str, Any]:
    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name, "labels": labels}, "spec": {"entrypoint": "büro α"}}


def test_a_rayjob_is_made_once_found_again_and_removed(api: Api) -> None:
    jobs = RayJobs("here", 1)
    assert jobs.get("one") is None
    assert jobs.create(rayjob())
    assert not jobs.create(rayjob())
    made = jobs.get("one")
    assert made is not None
    assert made["spec"]["entrypoint"] == "büro α"
    assert jobs.delete(made)
    assert not jobs.delete(made)
    assert api.names() == []


def test_a_list_holds_what_the_labels_select_oldest_first(api: Api) -> None:
    for name, dataset in (("b", "x"), ("c", "y"), ("a", "x")):
        api.add(name, labels={"saltworks/dataset": dataset})
    api.add("d", namespace="there", labels={"saltworks/dataset": "x"})
    assert [one["metadata"]["name"] for one in RayJobs("here", 1).list("saltworks/dataset=x")] == ["b", "a"]


def test_one_that_was_made_anew_since_it_was_listed_is_not_removed(api: Api) -> None:
    api.add("one")
    (seen,) = RayJobs("here", 1).list("")
    seen = {"metadata": dict(seen["metadata"])}
    api.add("one")
    assert not RayJobs("here", 1).delete(seen)
    assert api.names() == ["one"]


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE"])
def test_what_passes_is_waited_out(status: int, verb: str, api: Api) -> None:
    jobs = RayJobs("here", 30)
    api.add("one")
    api.fail(verb, status, times=2)
    (seen,) = jobs.list("")
    assert jobs.create(rayjob("two"))
    assert jobs.delete(seen)
    assert api.names() == ["two"]
    assert not api.answers


@pytest.mark.parametrize("status", [500, 0])
def test_an_answer_that_got_lost_makes_nothing_twice(status: int, api: Api) -> None:
    api.fail("POST", status, done=True)
    assert not RayJobs("here", 30).create(rayjob())   # it is there, by us or by another: both is done
    assert api.names() == ["one"]
    (seen,) = RayJobs("here", 1).list("")
    api.fail("DELETE", status, done=True)
    assert not RayJobs("here", 30).delete(seen)


@pytest.mark.parametrize(("status", "said", "error", "words"), [
    (401, {}, AccessError, "not allowed to create rayjobs.ray.io in namespace here"),
    (403, {"reason": "Forbidden", "message": "is forbidden: User cannot"}, AccessError, "User cannot → give the ServiceAccount a Role"),
    (403, {"reason": "Forbidden", "message": "exceeded quota: few"}, TemporaryError, "exceeded quota"),
    (404, "404 page not found\n", SettingsError, "knows no RayJob .* → install the KubeRay operator"),
    (404, {"reason": "NotFound", "message": "the server could not find the resource"}, SettingsError, "install the KubeRay operator"),
    (409, {"reason": "Conflict", "message": "being changed", "details": {"name": "one"}}, TemporaryError, "being changed"),
    (410, {"reason": "Expired"}, TemporaryError, "run again"),
    (422, {"reason": "Invalid", "message": "spec.x: Required value"}, SettingsError, "refuses the manifest: spec.x: Required value"),
    (400, {"message": "at https://user:hunter2@host"}, SettingsError, r"refuses the manifest: at https://\*\*\*@host"),
    (418, "tea", DataError, "answers 418: tea"),
    (503, {"message": "away"}, TemporaryError, "could not create .*: away"),
])
def test_a_refusal_has_a_code_and_a_cure(status: int, said: Any, error: type[JobError], words: str, api: Api) -> None:
    api.fail("POST", status, said, times=100)
    with pytest.raises(error, match=words) as caught:
        RayJobs("here", 0.5).create(rayjob())
    assert type(caught.value) is error
    assert caught.value.cure


def test_a_namespace_that_does_not_exist_is_named(api: Api) -> None:
    with pytest.raises(SettingsError, match="namespace nowhere does not exist → kubectl create namespace nowhere"):
        RayJobs("nowhere", 1).create(rayjob())


def test_an_api_that_does_not_answer_ends_in_75_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, f"http://127.0.0.1:{port.getsockname()[1]}"))
        with pytest.raises(TemporaryError, match="does not answer") as caught:
            RayJobs("here", 0.5).list("")
    assert "hunter2" not in str(caught.value)


def test_an_answer_that_is_no_tls_is_not_waited_for(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = json.loads(Path(str(tmp_path / "kubeconfig")).read_text())["clusters"][0]["cluster"]["server"]
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path, plain.replace("http:", "https:")))
    with pytest.raises(AccessError, match="certificate"):
        RayJobs("here", 30).list("")


@pytest.mark.parametrize("text", [None, "{}", "not: [a kubeconfig"])
def test_without_a_way_to_a_cluster_the_cure_is_told(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(AccessError, match=r"nothing says how to reach a Kubernetes cluster.* set KUBECONFIG"):
        RayJobs("here", 1)
