"""Pods that die, and pods that are sent away: one version, each sample once, and nothing committed is drawn again."""

import time
from typing import Any

import pytest

from job.ground.store import Store
from tests.e2e.cluster import Cluster, fake
from tests.e2e.whole import commits, starts, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


def begun(cluster: Cluster, store: Store, bucket: str, release: str, **settings: Any) -> str:
    """A run on the head alone that has committed a few units and is far from its end; the RayJob's name."""
    slow = {"SALTWORKS_GENERATOR__OPTIONS": {"seconds_per_image": 0.5}}
    cluster.install(fake(cluster, bucket, workers=0, **(slow | settings)), release=release)
    cluster.until(lambda: len(commits(store)) >= 3, 180, "the first commits")
    return cluster.launched(release)


def killed(cluster: Cluster, component: str) -> None:
    for pod in cluster.pods(component):
        cluster.kubectl("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")


def test_the_heads_death_makes_a_new_cluster_that_draws_no_committed_unit_again(cluster: Cluster, bucket: str, store: Store) -> None:
    name = begun(cluster, store, bucket, "head")
    first = cluster.rayjob(name)["status"]
    before = {key: store.read(key) for key in commits(store)}
    killed(cluster, "head")
    status = cluster.succeeded(name, 420)
    assert status["failed"] == 1
    assert status["jobId"] != first["jobId"]
    assert {key: store.read(key) for key in before} == before
    for key in before:
        unit = key.rsplit("/", 1)[1].removesuffix(".json")
        assert len([one for one, _ in store.list("") if f"/starts/{unit}/" in one]) == 1
    whole(store, kills=1)
    cluster.helm("uninstall", "head")


def test_the_submitters_death_submits_nothing_twice(cluster: Cluster, bucket: str, store: Store) -> None:
    name = begun(cluster, store, bucket, "submitter")
    killed(cluster, "submitter")
    assert cluster.succeeded(name, 420).get("failed", 0) == 0
    whole(store, kills=0)
    cluster.helm("uninstall", "submitter")


@pytest.mark.long
def test_a_head_that_is_sent_away_finishes_what_is_in_flight_and_begins_nothing_more(cluster: Cluster, bucket: str, store: Store) -> None:
    name = begun(cluster, store, bucket, "drain")
    (head,) = cluster.pods("head")
    cluster.kubectl("delete", "pod", head["metadata"]["name"])   # waits for its end
    assert starts(store) == len(commits(store))
    cluster.succeeded(name, 420)
    whole(store, kills=0)
    cluster.helm("uninstall", "drain")


def _suspended(cluster: Cluster, name: str) -> bool:
    return cluster.rayjob(name)["status"].get("jobDeploymentStatus") == "Suspended"


@pytest.mark.long
def test_a_suspended_job_goes_on_where_it_was(cluster: Cluster, bucket: str, store: Store) -> None:
    name = begun(cluster, store, bucket, "suspend")
    cluster.kubectl("patch", "rayjob", name, "--type=merge", "-p", '{"spec":{"suspend":true}}')
    cluster.until(lambda: _suspended(cluster, name), 180, "the suspension")
    there = len(commits(store))
    time.sleep(5)
    assert len(commits(store)) == there
    cluster.kubectl("patch", "rayjob", name, "--type=merge", "-p", '{"spec":{"suspend":false}}')
    cluster.succeeded(name, 420)
    whole(store, kills=1)
    cluster.helm("uninstall", "suspend")


@pytest.mark.long
def test_a_deleted_job_that_is_applied_again_goes_on_where_it_was(cluster: Cluster, bucket: str, store: Store) -> None:
    name = begun(cluster, store, bucket, "deleted")
    text = cluster.helm("get", "manifest", "deleted")
    cluster.kubectl("delete", "rayjob", name)
    cluster.until(lambda: not cluster.pods("head"), 120, "the head's end")
    there = len(commits(store))
    assert starts(store) <= there + 4
    cluster.kubectl("apply", "-f", "-", given=text)
    cluster.succeeded(name, 420)
    whole(store, kills=1)
    cluster.helm("uninstall", "deleted")


@pytest.mark.long
def test_two_jobs_of_one_run_at_once_give_one_version(cluster: Cluster, bucket: str, store: Store) -> None:
    values = fake(cluster, bucket, workers=0)
    names = []
    for release in ("one", "two"):
        cluster.install(values, release=release)
        names.append(cluster.launched(release))
    for name in names:
        cluster.succeeded(name, 600)
    whole(store, kills=1)
    for release in ("one", "two"):
        cluster.helm("uninstall", release)

