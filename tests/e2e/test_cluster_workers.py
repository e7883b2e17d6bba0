"""Two GPU workers that come when they are needed, share the work, lose one of them, and are gone before the report."""

import time

import pytest

from job.ground.store import Store
from tests.e2e.cluster import CANARY, CHART, Cluster, Watch, fake, keys, only
from tests.e2e.whole import commits, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
GPU_PODS = "saltworks/role=generate"


def test_gpu_pods_come_for_the_drawing_share_it_survive_a_kill_and_are_gone_before_the_report(
    cluster: Cluster, bucket: str, store: Store
) -> None:
    with Watch(cluster, GPU_PODS) as gpus:
        cluster.install(fake(cluster, bucket, workers=2, SALTWORKS_GENERATOR__OPTIONS={"seconds_per_image": 0.4}))
        name = cluster.launched()
        cluster.until(lambda: len(commits(store)) >= 4, 240, "the first commits")
        cluster.until(lambda: gpus.most == 2, 120, "the second GPU pod")
        early = len(commits(store))
        victim = cluster.get("pods", "-l", GPU_PODS)[0]["metadata"]["name"]
        cluster.kubectl("delete", "pod", victim, "--grace-period=0", "--force")
        cluster.succeeded(name, 420)
        time.sleep(1)
    assert early < 60
    started = {one["room"]: one["time"] for one in cluster.events("room_started")}
    assert min(first for first, _ in gpus.seen.values()) >= started["generate"] - 1   # clocks of one machine, polls of half a second
    assert max(last for _, last in gpus.seen.values()) <= started["report"]
    shares = only(cluster.events("generated"))["by_host"]
    assert len(shares) >= 2
    assert sum(shares.values()) == 240
    assert min(shares.values()) > 0
    whole(store, kills=1)
    assert not [key for key in keys(store, "") if CANARY.encode() in store.read(key)]


def test_ray_answers_nobody_without_the_token_and_no_container_of_ray_holds_one_for_the_cluster(cluster: Cluster) -> None:
    head = cluster.pods("head")[0]["metadata"]["name"]
    ask = ("import urllib.request, urllib.error\n"
           "try: print(urllib.request.urlopen('http://127.0.0.1:8265/api/jobs/').status)\n"
           "except urllib.error.HTTPError as error: print(error.code)")
    assert cluster.kubectl("exec", head, "-c", "ray-head", "--", "python3", "-c", ask).strip() == "401"
    there = cluster.kubectl("exec", head, "-c", "ray-head", "--", "python3", "-c",
                            "import os; print(os.path.exists('/var/run/secrets/kubernetes.io'))")
    assert there.strip() == "False"


def test_a_secret_stands_in_no_object_log_or_event(cluster: Cluster) -> None:
    told = cluster.everything()
    assert "RayJob" in told
    assert CANARY not in told


def test_a_second_apply_of_the_finished_job_does_nothing(cluster: Cluster) -> None:
    name = cluster.launched()
    before = cluster.rayjob(name)
    told = cluster.helm("upgrade", "salt", str(CHART), "--reuse-values")
    after = cluster.rayjob(name)
    assert cluster.launched() == name, told
    assert after["status"] == before["status"]
    assert after["spec"] == before["spec"]

