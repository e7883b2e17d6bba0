"""What is wrong costs no GPU: the code and the cure stand in the status, and no GPU pod was ever made."""

from typing import Any

import pytest

from tests.e2e.cluster import Cluster, Watch, fake

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
WRONG: dict[str, tuple[dict[str, Any], int, str]] = {   # what is set; the exit code; words of the problem
    "settings": ({"SALTWORKS_FILTER__KIND": "quota", "SALTWORKS_FILTER__SCORE": "beauty.score"}, 64, "measured by no metric"),
    "bucket": ({"SALTWORKS_ROOT": "s3://no-such-bucket-here/root"}, 65, "cannot be made"),
    "model": ({"SALTWORKS_GENERATOR__NAME": "text_to_image", "SALTWORKS_GENERATOR__OPTIONS": {"model": "/weights/none"}}, 65,
              "/weights/none"),
    "budget": ({"SALTWORKS_BUDGET_USD": 0}, 76, "the budget is 0"),
    "secret": ({}, 77, "the secret storage lacks the key token"),
}
CORE = {("settings", "autoscale"), ("secret", "fixed")}   # what CI has time for
CASES = [pytest.param(what, scaling, marks=() if (what, scaling) in CORE else pytest.mark.long, id=f"{what}-{scaling}")
         for what in WRONG for scaling in ("autoscale", "fixed")]


@pytest.mark.parametrize(("what", "scaling"), CASES)
def test_what_is_wrong_ends_with_its_code_and_cure_before_any_gpu_pod(cluster: Cluster, bucket: str, what: str, scaling: str) -> None:
    settings, code, words = WRONG[what]
    values = fake(cluster, bucket, workers=1, scaling=scaling, **settings)
    if what == "secret":
        values["secrets"] = [*values["secrets"], {"env": "MORE", "secret": "storage", "key": "token"}]
    release = f"{what}-{scaling}"
    try:
        with Watch(cluster, f"saltworks/role=generate,app.kubernetes.io/instance={release}") as gpus:
            cluster.install(values, release=release)
            if scaling == "autoscale":   # the status of the first try: KubeRay clears it when it tries again
                name = cluster.launched(release)
                told = cluster.until(lambda: _told(cluster, name), 180, f"a message of {name}")
            else:
                told = cluster.until(lambda: _preflight(cluster, release), 180, f"the end of {release}'s preflight")
                assert cluster.get("rayjobs", "-l", f"app.kubernetes.io/instance={release}") == []
        assert gpus.most == 0
        assert f"exit code {code}" in told
        assert words in told
        assert "→" in told   # the cure
    finally:
        cluster.helm("uninstall", release)


@pytest.mark.long
def test_a_hopeless_submission_is_tried_again_in_vain_and_its_status_keeps_code_and_cure(cluster: Cluster, bucket: str) -> None:
    values = fake(cluster, bucket, workers=1, SALTWORKS_GENERATOR__OPTIONS={"load": "raises", "seconds_per_image": 0}) | {"retries": 1}
    cluster.install(values, release="hopeless")
    name = cluster.launched("hopeless")
    with Watch(cluster, "saltworks/role=generate,app.kubernetes.io/instance=hopeless") as gpus:
        cluster.until(lambda: cluster.rayjob(name)["status"].get("failed") == 1, 300, "the first end")
        first = set(gpus.seen)
        status = cluster.ended(name, 300)
        assert set(gpus.seen) == first   # the second try rented nothing
    assert status["failed"] == 2
    assert "has met this before" in status["message"]
    cluster.helm("uninstall", "hopeless")


def _told(cluster: Cluster, name: str) -> str:
    """What the status says of the driver's end; empty until it has ended."""
    message = cluster.rayjob(name).get("status", {}).get("message", "")
    return message if "exit code" in message else ""


def _preflight(cluster: Cluster, release: str) -> str:
    """What the failed preflight Job and its pod say; empty until it has failed."""
    for job in cluster.get("jobs", "-l", f"app.kubernetes.io/instance={release}"):
        failed = [one for one in job.get("status", {}).get("conditions", []) if one["type"] == "Failed"]
        pods = cluster.get("pods", "-l", f"batch.kubernetes.io/job-name={job['metadata']['name']}")
        states = [one["state"] for pod in pods for one in pod["status"].get("containerStatuses", [])]
        last = [one["terminated"] for one in states if "terminated" in one]
        if failed and last:
            return f"{failed[0].get('message', '')} {last[-1].get('message', '')}"
    return ""
