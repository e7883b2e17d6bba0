"""preflight and refresh against a real HTTP server: what is created, what is not, what is removed, and what that exits with."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from job import kube_jobs, lives
from job.__main__ import main
from job.errors import DataError, SettingsError
from job.ground.store import Store
from job.settings import load
from tests.folders import class_folders, write
from tests.unit.kube_server import Api, serving

pytestmark = pytest.mark.unit
LABELS = {"saltworks/dataset": "digits", "app.kubernetes.io/name": "saltworks", "app.kubernetes.io/instance": "release", "team": "a"}
TICK = "release-refresh-29381760"


def rayjob(name: str = "release-0123abcd", **meta: Any) -> dict[str, Any]:
    """A RayJob as the chart would render it, but smaller."""
    def group(**more: Any) -> dict[str, Any]:
        env = [{"name": "FIRST", "value": "büro α"}, {"name": "SALTWORKS_SUBMISSION", "value": name}]
        return {**more, "template": {"metadata": {"labels": LABELS}, "spec": {
            "initContainers": [{"name": "init"}],
            "containers": [{"name": "ray", "image": "saltworks:1", "env": env}, {"name": "beside", "env": []}]}}}

    return {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": name, "labels": dict(LABELS), **meta},
            "spec": {"entrypoint": "python -m job run", "rayClusterSpec": {
                "headGroupSpec": group(), "workerGroupSpecs": [group(groupName="a"), group(groupName="b")]}}}


class Cluster:
    """An API server, a manifest, data to plan with, and the verbs."""

    def __init__(self, api: Api, folder: Path) -> None:
        self.api, self.folder, self.root = api, folder, folder / "root"
        write(folder / "real", class_folders({"cat": 40, "dog": 40}, seed=5))
        self.manifest = folder / "rayjob.json"
        self.manifest.write_text(json.dumps(rayjob()))

    def flags(self, *more: str) -> list[str]:
        return ["--root", str(self.root), "--real.name", "image_folder", "--real.options.url", str(self.folder / "real"),
                "--generator.name", "fake", "--measure.metrics", "{}", "--filter.kind", "none", "--sweep.alphas", "0,.5",
                "--progress", "json", "--storage.retry_s", "1", "--kubernetes.manifest", str(self.manifest),
                "--kubernetes.namespace", "here", *more]

    def call(self, verb: str, *more: str) -> int:
        return main([verb, *self.flags(*more)])

    def refresh(self, tick: str = TICK, *more: str) -> int:
        return self.call("refresh", "--kubernetes.tick", tick, *more)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    api = Api()
    with serving(api, tmp_path) as path:
        monkeypatch.setenv("KUBECONFIG", path)
        yield Cluster(api, tmp_path)


@pytest.mark.parametrize("write_down", [json.dumps, yaml.safe_dump])
def test_preflight_creates_the_rayjob_of_the_manifest_as_it_is_and_gives_it_an_owner(
    write_down: Callable[[Any], str], cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.manifest.write_text(write_down(rayjob()))
    assert cluster.call("preflight", "--kubernetes.owner", "release-preflight/uid-7") == 0
    assert "RayJob here/release-0123abcd is created" in capsys.readouterr().out
    made = cluster.api.rayjobs["here", "release-0123abcd"]
    assert made["metadata"]["ownerReferences"] == [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "release-preflight", "uid": "uid-7"}]
    assert made["metadata"]["labels"] == LABELS
    assert made["spec"] == rayjob()["spec"]
    assert cluster.call("preflight") == 0
    assert "is there already (new): nothing to do" in capsys.readouterr().out
    assert cluster.api.names() == ["release-0123abcd"]


def test_what_cannot_end_well_creates_nothing(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    torn = cluster.folder / "torn"
    write(torn, {"cat/a.png": b"no picture"})
    for code, flags in (
        (64, ["--sweep.alphas", "2"]), (64, ["--train.size_px", "9", "--task.options.model", "nonesuch"]), (64, ["--budget_usd", "3"]),
        (65, ["--real.options.url", str(torn)]), (65, ["--real.options.url", str(cluster.folder / "nowhere")]),
        (64, ["--root", "memory://x"]), (64, ["--root", "nonesuch://x"]),
        (76, ["--budget_usd", "0", "--price.per_cpu_hour", "1", "--root", str(cluster.folder / "priced")]),
    ):
        if code == 76:
            _drawn(cluster, cluster.folder / "priced")
        for verb in ("preflight", "refresh"):
            assert cluster.call(verb, "--kubernetes.tick", TICK, *flags) == code, (verb, flags)
            assert "→" in capsys.readouterr().err
    assert cluster.api.names() == []
    assert not [asked for asked in cluster.api.asked if asked.startswith(("POST", "DELETE"))]


def _drawn(cluster: Cluster, root: Path) -> None:
    """A unit of the recipe is there, so that the plan knows what the others will take."""
    from job import admit, plan
    from tests.unit.made_run import draw_unit

    for edition in ("", TICK):   # the run of preflight, and that of the tick
        settings = load([*cluster.flags("--root", str(root)), *(["--edition", edition] if edition else [])], {})
        store, chosen = admit.open_store(settings), plan.choose_plugs(settings)
        planned, _ = admit.freeze(store, settings, chosen, *admit.draft(store, settings, chosen))
    draw_unit(store, planned, plan.first_round(planned)[0])


@pytest.mark.parametrize(("verb", "reason"), [("preflight", "PreflightFailed"), ("refresh", "RefreshFailed")])
def test_what_fails_is_told_as_an_event_of_its_job_and_ends_as_before_where_it_cannot(
    verb: str, reason: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--kubernetes.tick", TICK, "--real.options.url", str(cluster.folder / "nowhere"), "--kubernetes.owner", f"{TICK}/uid-9"]
    for _ in range(2):   # the same failure is one event
        assert cluster.call(verb, *flags) == 65
    (event,) = cluster.api.events.values()
    assert event["involvedObject"] == {"apiVersion": "batch/v1", "kind": "Job", "name": TICK, "namespace": "here", "uid": "uid-9"}
    assert (event["reason"], event["type"]) == (reason, "Warning")
    assert event["message"].startswith("exit code 65: ")
    assert capsys.readouterr().err.splitlines()[-1].removeprefix("saltworks: ") in event["message"]
    cluster.api.events.clear()
    cluster.api.fail("POST", 403, {"reason": "Forbidden", "message": "no"})
    assert cluster.call(verb, *flags) == 65
    assert "→" in capsys.readouterr().err.splitlines()[-1]
    assert cluster.call(verb, *flags, "--kubernetes.owner=") == 65   # no Job is known
    assert cluster.api.events == {}


HEAD = "apiVersion: ray.io/v1\nkind: "


@pytest.mark.parametrize(("text", "words"), [
    ("", "holds no RayJob"), ("[", "cannot be read"), ("{}", "holds no RayJob"), (f"{HEAD}RayCluster", "holds no RayJob"),
    (f"{HEAD}RayJob", "without a name"), (f"{HEAD}RayJob\nmetadata: {{name: 7up}}", "without a name"),
    (f"{HEAD}RayJob\nmetadata: {{name: one}}", "no complete rayClusterSpec"),
])
def test_a_manifest_that_is_none_is_refused(text: str, words: str, cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.manifest.write_text(text)
    assert cluster.refresh() == 64
    assert words in capsys.readouterr().err
    assert main(["preflight", "--generator.name", "fake"]) == 64
    assert "SALTWORKS_KUBERNETES__MANIFEST is not set" in capsys.readouterr().err


def test_who_may_not_create_ends_in_77_and_where_no_operator_is_in_64(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.api.fail("POST", 403, {"reason": "Forbidden", "message": "no"})
    assert cluster.call("preflight") == 77
    cluster.api.fail("GET", 404, "404 page not found\n")
    assert cluster.call("preflight") == 64
    assert "install the KubeRay operator" in capsys.readouterr().err
    cluster.api.fail("POST", 503, times=2)
    assert cluster.call("preflight") == 0
    assert cluster.api.names() == ["release-0123abcd"]


def test_one_that_is_being_deleted_is_waited_for_from_outside(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.api.add("release-0123abcd", state="Complete", deletionTimestamp="2026-11-23T00:00:00Z")
    assert cluster.call("preflight") == 75
    assert "is being deleted → run again when it is gone" in capsys.readouterr().err


def test_what_a_former_rayjob_of_the_name_met_is_over_once_a_plan_holds_again(cluster: Cluster) -> None:
    pods = load([*cluster.flags(), "--submission", "release-0123abcd", "--retries", "3"], {})   # not quite preflight's settings
    with pytest.raises(DataError), lives.remembered(Store(pods.root), pods):
        raise DataError("torn")
    assert lives.present(Store(pods.root), pods).met
    assert cluster.call("preflight", "--submission", "release-0123abcd", "--retries", "3", "--image_digest", "sha256:1") == 0
    life = lives.present(Store(pods.root), pods)
    assert (life.submission, life.met) == ("release-0123abcd.1", None)


def test_a_tick_gives_name_edition_and_submission_and_carries_the_labels_over(cluster: Cluster) -> None:
    assert cluster.refresh(TICK, "--kubernetes.owner", f"{TICK}/uid-9") == 0
    name = "release-0123abcd-29381760"
    made = cluster.api.rayjobs["here", name]
    assert made["metadata"]["labels"] == LABELS
    assert "ownerReferences" not in made["metadata"]   # or it would go with the tick's Job
    cluster_spec = made["spec"]["rayClusterSpec"]
    for group in (cluster_spec["headGroupSpec"], *cluster_spec["workerGroupSpecs"]):
        ray, beside = group["template"]["spec"]["containers"]
        assert ray["env"] == [{"name": "FIRST", "value": "büro α"}, {"name": "SALTWORKS_SUBMISSION", "value": name},
                              {"name": "SALTWORKS_EDITION", "value": TICK}]
        assert beside["env"] == []
    assert cluster.refresh(TICK) == 0   # a repeated tick
    assert cluster.api.names() == [name]
    assert cluster.api.events == {}


def test_the_next_tick_waits_for_the_last_and_an_event_says_so(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster.refresh() == 0
    later = "release-refresh-29381820"
    for _ in range(2):
        assert cluster.refresh(later, "--kubernetes.owner", f"{later}/uid-9") == 0
    assert "nothing is created: RayJob release-0123abcd-29381760 of dataset digits is not finished" in capsys.readouterr().out
    (event,) = cluster.api.events.values()   # one, although the tick was tried twice
    assert event["involvedObject"] == {"apiVersion": "batch/v1", "kind": "Job", "name": later, "namespace": "here", "uid": "uid-9"}
    assert (event["reason"], event["type"]) == ("RefreshSkipped", "Normal")
    assert cluster.api.names() == ["release-0123abcd-29381760"]
    cluster.api.rayjobs["here", "release-0123abcd-29381760"]["status"] = {"jobDeploymentStatus": "Complete"}
    assert cluster.refresh(later) == 0
    assert cluster.api.names() == ["release-0123abcd-29381760", "release-0123abcd-29381820"]


@pytest.mark.parametrize("state", ["", "Initializing", "Running", "Suspended", "Suspending", "Retrying", "Waiting"])
def test_whatever_is_not_finished_is_in_the_way(state: str, cluster: Cluster) -> None:
    cluster.api.add("by-hand", state=state, labels={"saltworks/dataset": "digits"})   # of another release, too
    cluster.api.add("elsewhere", state="Running", labels={"saltworks/dataset": "pets"})
    cluster.api.add("away", state="Running", namespace="there", labels={"saltworks/dataset": "digits"})
    cluster.api.fail("POST", 403, {"reason": "Forbidden", "message": "no"})   # that no event may be filed is no failure
    assert cluster.refresh() == 0
    assert cluster.api.names() == ["by-hand", "elsewhere"]
    cluster.api.rayjobs["here", "by-hand"]["status"]["jobDeploymentStatus"] = "Failed"
    assert cluster.refresh() == 0
    assert cluster.api.names() == ["by-hand", "elsewhere", "release-0123abcd-29381760"]


@pytest.mark.parametrize("history", [0, 1, 3])
def test_only_old_finished_ones_of_this_dataset_and_release_are_removed(history: int, cluster: Cluster) -> None:
    for number, state in enumerate(("Complete", "Failed", "ValidationFailed", "Complete", "Complete")):
        cluster.api.add(f"old-{number}", state=state, labels=LABELS)
    for name, labels in (("pets", LABELS | {"saltworks/dataset": "pets"}), ("other", LABELS | {"app.kubernetes.io/instance": "other"}),
                         ("bare", {"saltworks/dataset": "digits"})):
        cluster.api.add(name, state="Complete", labels=labels)
    assert cluster.refresh(TICK, "--kubernetes.history", str(history)) == 0
    kept = [f"old-{number}" for number in range(5 - history, 5)]
    assert cluster.api.names() == sorted(["pets", "other", "bare", "release-0123abcd-29381760", *kept])
    cluster.api.add("old-5", state="Complete", labels=LABELS)
    assert cluster.refresh(TICK, "--kubernetes.history", "0") == 0   # a repeated tick makes good what it had not removed yet
    assert cluster.api.names() == ["bare", "other", "pets", "release-0123abcd-29381760"]


def test_what_cannot_be_removed_is_no_failure(cluster: Cluster) -> None:
    for number in range(3):
        cluster.api.add(f"old-{number}", state="Complete", labels=LABELS)
    cluster.api.fail("DELETE", 403, {"reason": "Forbidden", "message": "no"})
    assert cluster.refresh(TICK, "--kubernetes.history", "0") == 0
    assert "release-0123abcd-29381760" in cluster.api.names()


def test_a_refresh_without_its_tick_or_namespace_is_refused(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert cluster.call("refresh") == 64
    assert "SALTWORKS_KUBERNETES__TICK is not set" in capsys.readouterr().err
    assert cluster.refresh(TICK, "--kubernetes.namespace=") == 64
    assert "SALTWORKS_KUBERNETES__NAMESPACE names a namespace" in capsys.readouterr().err
    cluster.manifest.write_text(json.dumps(rayjob(namespace="here")))
    assert cluster.refresh(TICK, "--kubernetes.namespace=") == 0
    assert len(cluster.api.names()) == 1


LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)


@given(base=LABEL, other=LABEL, tick=st.one_of(LABEL, LABEL.map(lambda name: f"{name[:50]}-29381760")))
def test_the_name_of_a_tick_is_one_that_the_operator_takes_and_says_base_and_tick(base: str, other: str, tick: str) -> None:
    name = kube_jobs.tick_name(base, tick)
    assert len(name) <= kube_jobs.LONGEST
    assert name[0].isalpha()
    assert name[-1].isalnum()
    assert name == kube_jobs.tick_name(base, tick)
    if base != other:
        assert name != kube_jobs.tick_name(other, tick)
    if tick.endswith("-29381760"):
        assert name.endswith("-29381760")


ENTRY = st.fixed_dictionaries({"name": st.sampled_from(["A", "B", "C"]), "value": st.text(max_size=5)})


@given(entries=st.lists(ENTRY, unique_by=lambda one: one["name"]), values=st.dictionaries(st.sampled_from(["B", "C", "D"]), st.text()))
def test_an_environment_gets_each_value_once_and_keeps_the_rest_in_place(entries: list[dict], values: dict[str, str]) -> None:
    before = deepcopy(entries)
    made = kube_jobs.with_env(entries, values)
    assert entries == before
    assert {one["name"]: one["value"] for one in made} == {one["name"]: one["value"] for one in entries} | values
    assert len(made) == len({one["name"] for one in made})
    assert [one["name"] for one in made][: len(entries)] == [one["name"] for one in entries]


def test_a_manifest_is_left_as_it_was_and_a_bare_one_gets_its_dataset(cluster: Cluster) -> None:
    bare = rayjob()
    del bare["metadata"]["labels"]
    cluster.manifest.write_text(json.dumps(bare))
    settings = load(cluster.flags("--dataset", "pets"), {})
    read = kube_jobs.read_manifest(settings)
    assert read["metadata"]["labels"] == {"saltworks/dataset": "pets"}
    before = deepcopy(read)
    kube_jobs.of_tick(read, TICK)
    assert read == before
    with pytest.raises(SettingsError, match="cannot be read"):
        kube_jobs.read_manifest(load(cluster.flags("--kubernetes.manifest", str(cluster.folder)), {}))
