"""Two GPU workers that come when they are needed, share the work, lose one of them, and are gone before the report."""

import time

import pytest

from job.ground.store import Store
from tests.e2e.cluster import CANARY, Cluster, Watch, fake, keys, only
from tests.e2e.whole import commits, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
GPU_PODS = "saltworks/role=generate"


@pytest.mark.parametrize("drawn_by", ["fake", pytest.param("text_to_image", marks=pytest.mark.long)])
def test_gpu_pods_come_for_the_drawing_share_it_survive_a_kill_and_are_gone_before_the_report(
    cluster: Cluster, bucket: str, store: Store, drawn_by: str
) -> None:
    slow = {"seconds_per_image": 0.4} if drawn_by == "fake" else {}
    release = drawn_by.replace("_", "-")
    with Watch(cluster, f"{GPU_PODS},app.kubernetes.io/instance={release}") as gpus:
        cluster.install(fake(cluster, bucket, workers=2, SALTWORKS_GENERATOR__NAME=drawn_by, SALTWORKS_GENERATOR__OPTIONS=slow),
                        release=release)
        name = cluster.launched(release)
        cluster.until(lambda: len(commits(store)) >= 4, 240, "the first commits")
        cluster.until(lambda: gpus.most == 2, 120, "the second GPU pod")
        early = len(commits(store))
        victim, other = (one["metadata"]["name"] for one in cluster.pods("worker", release) if "gpu" in one["metadata"]["name"])
        assert no_token(cluster, other, "ray-worker")
        assert CANARY not in cluster.kubectl("logs", other)
        cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        cluster.succeeded(name, 600)
        time.sleep(1)
    assert early < 60
    started = {one["room"]: one["time"] for one in cluster.events(name, "room_started")}
    assert min(first for first, _ in gpus.seen.values()) >= started["generate"] - 1   # clocks of one machine, polls of half a second
    assert max(last for _, last in gpus.seen.values()) <= started["report"]
    shares = only(cluster.events(name, "generated"))["by_host"]
    assert len(shares) >= 2
    assert sum(shares.values()) == 240
    assert min(shares.values()) > 0
    whole(store, kills=1, same=drawn_by == "fake")
    assert not [key for key in keys(store, "") if CANARY.encode() in store.read(key)]


def no_token(cluster: Cluster, pod: str, container: str) -> bool:
    look = "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))"
    return cluster.kubectl("exec", pod, "-c", container, "--", "python3", "-c", look).strip() == "False"


def test_ray_answers_nobody_without_the_token_and_no_container_of_ray_holds_one_for_the_cluster(cluster: Cluster) -> None:
    head = cluster.pods("head", "fake")[0]["metadata"]["name"]
    ask = ("import urllib.request, urllib.error\n"
           "try: print(urllib.request.urlopen('http://127.0.0.1:8265/api/jobs/').status)\n"
           "except urllib.error.HTTPError as error: print(error.code)")
    assert cluster.kubectl("exec", head, "-c", "ray-head", "--", "python3", "-c", ask).strip() == "401"
    assert no_token(cluster, head, "ray-head")


def test_a_secret_stands_in_no_object_log_or_event(cluster: Cluster) -> None:
    told = cluster.everything()
    assert "RayJob" in told
    assert CANARY not in told
