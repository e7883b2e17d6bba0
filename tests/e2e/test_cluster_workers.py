"""Two GPU workers that come when they are needed, share the work, lose one of them, and are gone before the report."""

from typing import Any

import pytest

from job.ground.store import Store
from tests.e2e.cluster import Cluster, fake, keys, only
from tests.e2e.whole import ACTORS, EACH, UNITS, commits, loaded, whole
from tests.e2e.witness import spotted

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900), pytest.mark.usefixtures("gpus")]
LATE_S = 5.0   # that a container may outlive its pod's name


def both_at_work(cluster: Cluster, bucket: str, store: Store, release: str, **settings: Any) -> str:
    """A run of two GPU pods that both draw; the RayJob's name."""
    cluster.install(fake(cluster, bucket, workers=ACTORS, **settings), release=release)
    cluster.until(lambda: len(loaded(store)) == ACTORS, 300, "both workers")
    cluster.until(lambda: commits(store), 120, "the first commit")
    return cluster.launched(release)


def shared(cluster: Cluster, bucket: str, store: Store, facts: dict[str, str], drawn_by: str, per_class: int, **options: Any) -> None:
    release = drawn_by.replace("_", "-")
    name = both_at_work(cluster, bucket, store, release, SALTWORKS_GENERATOR__NAME=drawn_by,
                        SALTWORKS_GENERATOR__OPTIONS=options, SALTWORKS_GENERATOR__IMAGES_PER_CLASS=per_class)
    early = len(commits(store))
    victim, other = cluster.gpu_pods(release)
    cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
    assert no_token(cluster, other, "ray-worker")
    assert no_token(cluster, *cluster.pods("head", release), "ray-head")
    assert no_token(cluster, *cluster.pods("submitter", release), "ray-job-submitter")
    facts["a GPU driver in the GPU pods"] = "yes" if exists(cluster, other, "ray-worker", "/dev/nvidiactl") else "no: they only count"
    cluster.succeeded(name, 600)
    total = 10 * per_class
    assert early < total / 4   # units of four: some were left to share
    gpus = cluster.witness.seen(role="generate", release=release)
    started = {one["room"]: one["time"] for one in cluster.events(name, "room_started")}
    assert min(one.first for one in gpus.values()) >= started["generate"] - 1   # clocks of one machine, looks once a second
    assert max(one.last for one in gpus.values()) <= started["report"]
    shares = only(cluster.events(name, "generated"))["by_host"]
    assert len(shares) >= ACTORS
    assert total - 4 * EACH <= sum(shares.values()) <= total   # a unit of which the driver never heard belongs to no host
    assert min(shares.values()) > 0
    there_s = sum(max(0.0, one.last - one.first) + LATE_S for one in gpus.values())
    whole(store, repeats=EACH, killed=1, same=drawn_by == "fake", gpu_pods_s=there_s)
    assert not [key for key in keys(store, "") if spotted(store.read(key))]


def test_gpu_pods_come_for_the_drawing_share_it_survive_a_kill_and_are_gone_before_the_report(
    cluster: Cluster, bucket: str, store: Store, facts: dict[str, str]
) -> None:
    shared(cluster, bucket, store, facts, "fake", 24, seconds_per_image=0.4)


def test_ray_answers_nobody_without_the_token(cluster: Cluster) -> None:
    (head,) = cluster.pods("head", "fake")   # it stays for a while
    ask = ("import urllib.request, urllib.error\n"
           "try: print(urllib.request.urlopen('http://127.0.0.1:8265/api/jobs/').status)\n"
           "except urllib.error.HTTPError as error: print(error.code)")
    assert cluster.kubectl("exec", head, "-c", "ray-head", "--", "python3", "-c", ask).strip() == "401"


@pytest.mark.long
def test_gpu_pods_do_the_same_with_diffusion(cluster: Cluster, bucket: str, store: Store, facts: dict[str, str]) -> None:
    shared(cluster, bucket, store, facts, "text_to_image", 48)


@pytest.mark.long
def test_a_gpu_pod_that_is_sent_away_commits_what_it_has_begun_and_nothing_is_drawn_twice(
    cluster: Cluster, bucket: str, store: Store
) -> None:
    name = both_at_work(cluster, bucket, store, "away", SALTWORKS_GENERATOR__OPTIONS={"seconds_per_image": 0.5})
    victim, _ = cluster.gpu_pods("away")
    cluster.kubectl("delete", "pod", victim, "--wait=false")
    cluster.until(lambda: victim not in cluster.gpu_pods("away"), 120, f"the end of {victim}")
    assert len(commits(store)) < UNITS   # the others still had something to do
    assert cluster.succeeded(name, 600).get("failed", 0) == 0
    whole(store, repeats=0, killed=1)


def exists(cluster: Cluster, pod: str, container: str, path: str) -> bool:
    look = f"import os; print(os.path.exists({path!r}))"
    return cluster.kubectl("exec", pod, "-c", container, "--", "python3", "-c", look).strip() == "True"


def no_token(cluster: Cluster, pod: str, container: str) -> bool:
    return not exists(cluster, pod, container, "/var/run/secrets/kubernetes.io")
