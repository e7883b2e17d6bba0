"""Pods that die, and pods that are sent away: one version, each sample once, and nothing committed is drawn again."""

import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from job.ground.store import Store
from tests.e2e.cluster import Cluster, fake, only
from tests.e2e.whole import ACTORS, EACH, UNITS, commits, starts, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
SLOW = {"SALTWORKS_GENERATOR__OPTIONS": {"seconds_per_image": 0.5}}


@pytest.fixture
def release(cluster: Cluster) -> Iterator[str]:
    """A release of this test's own."""
    name = f"ends-{uuid.uuid4().hex[:4]}"
    yield name
    cluster.uninstall(name)


def begun(cluster: Cluster, store: Store, bucket: str, release: str) -> str:
    """A run on the head alone that has committed a few units and is far from its end; the RayJob's name."""
    cluster.install(fake(cluster, bucket, workers=0, **SLOW), release=release)
    cluster.until(lambda: len(commits(store)) >= 3, 180, "the first commits")
    return cluster.launched(release)


def killed(cluster: Cluster, component: str, release: str) -> None:
    for pod in cluster.pods(component, release):
        cluster.kubectl("delete", "pod", pod, "--grace-period=0", "--force")


def left(cluster: Cluster, store: Store, release: str) -> int:
    """What is committed once the head is gone: until then it may finish what is in flight."""
    cluster.until(lambda: not cluster.pods("head", release), 120, "the head's end")
    return len(commits(store))


def test_the_heads_death_makes_a_new_cluster_that_draws_no_committed_unit_again(
    cluster: Cluster, bucket: str, store: Store, release: str
) -> None:
    name = begun(cluster, store, bucket, release)
    first = cluster.status(name)
    before = {key: store.read(key) for key in commits(store)}
    killed(cluster, "head", release)
    status = cluster.succeeded(name, 420)
    assert status["failed"] == 1
    assert status["jobId"] != first["jobId"]
    assert {key: store.read(key) for key in before} == before
    for key in before:
        unit = key.rsplit("/", 1)[1].removesuffix(".json")
        assert len([one for one, _ in store.list("") if f"/starts/{unit}/" in one]) == 1
    whole(store, repeats=EACH * ACTORS, killed=ACTORS)


@pytest.mark.long
def test_the_submitters_death_submits_nothing_twice(cluster: Cluster, bucket: str, store: Store, release: str) -> None:
    name = begun(cluster, store, bucket, release)
    killed(cluster, "submitter", release)
    assert cluster.succeeded(name, 420).get("failed", 0) == 0
    whole(store, repeats=0, killed=0)


@pytest.mark.long
def test_a_head_that_is_sent_away_finishes_what_is_in_flight_and_begins_nothing_more(
    cluster: Cluster, bucket: str, store: Store, release: str
) -> None:
    name = begun(cluster, store, bucket, release)
    (head,) = cluster.pods("head", release)
    cluster.kubectl("delete", "pod", head, "--wait=false")
    cluster.until(lambda: cluster.status(name).get("failed") == 1, 120, "the end of the first try")
    assert starts(store) == len(commits(store))   # looked at before a new cluster can have begun anything
    cluster.succeeded(name, 420)
    whole(store, repeats=0, killed=0)


def _suspended(cluster: Cluster, name: str) -> bool:
    return cluster.status(name).get("jobDeploymentStatus") == "Suspended"


@pytest.mark.long
def test_a_suspended_job_goes_on_where_it_was(cluster: Cluster, bucket: str, store: Store, release: str) -> None:
    name = begun(cluster, store, bucket, release)
    cluster.kubectl("patch", "rayjob", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    cluster.until(lambda: _suspended(cluster, name), 180, "the suspension")
    there = left(cluster, store, release)
    time.sleep(5)
    assert len(commits(store)) == there == starts(store)   # it was drained, too
    cluster.kubectl("patch", "rayjob", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    cluster.succeeded(name, 420)
    whole(store, repeats=0, killed=0)


@pytest.mark.long
def test_a_deleted_job_that_is_applied_again_goes_on_where_it_was(
    cluster: Cluster, bucket: str, store: Store, release: str, record_property: Callable[[str, object], None]
) -> None:
    name = begun(cluster, store, bucket, release)
    text = cluster.helm("get", "manifest", release)
    cluster.kubectl("delete", "rayjob", name)
    there = left(cluster, store, release)
    lost = starts(store) - there   # what the grace was too short for
    record_property("units in flight that were lost", lost)
    assert lost <= ACTORS
    cluster.kubectl("apply", "-f", "-", given=text)
    cluster.succeeded(name, 420)
    whole(store, repeats=lost, killed=ACTORS if lost else 0)


@pytest.mark.long
def test_two_jobs_of_one_run_at_once_both_draw_and_give_one_version(cluster: Cluster, bucket: str, store: Store, release: str) -> None:
    values = fake(cluster, bucket, workers=0, **SLOW)
    both = (release, f"{release}-too")
    for one in both:
        cluster.install(values, release=one)
    names = [cluster.launched(one) for one in both]
    for name in names:
        cluster.succeeded(name, 600)
    drawn = [only(cluster.events(name, "generated"))["units"] for name in names]
    assert min(drawn) > 0
    assert sum(drawn) == UNITS
    whole(store, repeats=UNITS, killed=0)   # each may have begun what the other then committed
    cluster.uninstall(both[1])
