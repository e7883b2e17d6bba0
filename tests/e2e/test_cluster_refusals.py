"""What is wrong costs no GPU: the code and the cure stand in the status within a minute, and no GPU pod was ever made."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, fake, only

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
SOON_S = 60
WRONG: dict[str, tuple[dict[str, Any], int, str]] = {   # what is set; the exit code; words of the problem
    "settings": ({"SALTWORKS_FILTER__KIND": "quota", "SALTWORKS_FILTER__SCORE": "beauty.score"}, 64, "measured by no metric"),
    "bucket": ({"SALTWORKS_ROOT": "s3://no-such-bucket-here/root"}, 65, "cannot be made"),
    "model": ({"SALTWORKS_GENERATOR__NAME": "text_to_image", "SALTWORKS_GENERATOR__OPTIONS": {"model": "/weights/none"}}, 65,
              "/weights/none"),
    "budget": ({"SALTWORKS_BUDGET_USD": 0}, 76, "the budget is 0"),
    "secret": ({}, 77, "the secret storage lacks the key token"),
}
WAYS: dict[str, dict[str, Any]] = {   # how a run begins
    "autoscale": {"workers": 1}, "fixed": {"workers": 1, "scaling": "fixed"}, "head": {"workers": 0}, "refresh": {"workers": 1}}
CORE = {("settings", "autoscale"), ("secret", "fixed")}   # what CI has time for
PAIRS = [*((what, way) for what in WRONG for way in ("autoscale", "fixed")), ("settings", "head"), ("settings", "refresh")]
CASES = [pytest.param(what, way, marks=() if (what, way) in CORE else pytest.mark.long, id=f"{what}-{way}") for what, way in PAIRS]
Note = Callable[[str, object], None]


@pytest.mark.parametrize(("what", "way"), CASES)
def test_what_is_wrong_ends_with_its_code_and_cure_within_a_minute_and_before_any_gpu_pod(
    cluster: Cluster, bucket: str, what: str, way: str, record_property: Note
) -> None:
    settings, code, words = WRONG[what]
    values = fake(cluster, bucket, **WAYS[way], **settings)
    if what == "secret":
        values["secrets"] = [*values["secrets"], {"env": "MORE", "secret": "storage", "key": "token"}]
    if way == "refresh":
        values["refresh"] = {"schedule": "0 3 1 1 *"}
    release = f"{what}-{way}"
    try:
        begin = time.monotonic()
        cluster.install(values, release=release)
        if way in ("fixed", "refresh"):
            _ends_as_a_job(cluster, release, way, code, words)
        else:   # the status of the first try: KubeRay clears it when it tries again
            name = cluster.launched(release)
            told = cluster.until(lambda: _told(cluster, name), 180, f"a message of {name}")
            assert f"exit code {code}" in told
            assert words in told
            assert "→" in told   # the cure
        took = time.monotonic() - begin
        record_property("seconds until the status said so", f"{took:.0f}")
        assert cluster.witness.seen(role="generate", release=release) == {}
        assert took < SOON_S or not cluster.warm(), f"{took:.0f} s with the image on every node"
    finally:
        cluster.uninstall(release)


def _ends_as_a_job(cluster: Cluster, release: str, way: str, code: int, words: str) -> None:
    """The code in the Job's condition, problem and cure in its pod's last words and in an event of it; and no RayJob."""
    if way == "refresh":
        cron = only(cluster.get("cronjobs"))["metadata"]["name"]
        cluster.kubectl("create", "job", f"{cron}-29000001", f"--from=cronjob/{cron}")
    job = only(cluster.get("jobs", "-l", f"app.kubernetes.io/instance={release}"))["metadata"]["name"]
    condition, last = cluster.until(lambda: _over(cluster, job), 180, f"the end of {job}")
    assert f"exit code {code}" in condition
    for told in (last, _event(cluster, job)):
        assert words in told
        assert "→" in told
    assert f"exit code {code}" in _event(cluster, job)
    assert cluster.get("rayjobs", "-l", f"app.kubernetes.io/instance={release}") == []


@pytest.mark.long
@pytest.mark.usefixtures("gpus")
def test_a_hopeless_submission_is_tried_again_in_vain_and_its_status_keeps_code_and_cure(
    cluster: Cluster, bucket: str, record_property: Note
) -> None:
    values = fake(cluster, bucket, workers=1, SALTWORKS_GENERATOR__OPTIONS={"load": "raises", "seconds_per_image": 0}) | {"retries": 1}
    cluster.install(values, release="hopeless")
    name = cluster.launched("hopeless")
    cluster.until(lambda: cluster.status(name).get("failed") == 1, 300, "the first end")
    first, begin = set(cluster.witness.seen(role="generate", release="hopeless")), time.monotonic()
    assert first
    status = cluster.ended(name, 300)
    record_property("seconds of the retry, its new cluster and all", f"{time.monotonic() - begin:.0f}")
    assert set(cluster.witness.seen(role="generate", release="hopeless")) == first   # the second try rented nothing
    assert status["failed"] == 2
    assert "has met this before" in status["message"]
    assert "exit code 70" in status["message"]
    assert "→" in status["message"]
    ran = [datetime.fromisoformat(status["rayJobInfo"][name]) for name in ("startTime", "endTime")]
    record_property("seconds of the retry's driver", f"{(ran[1] - ran[0]).total_seconds():.0f}")
    assert (ran[1] - ran[0]).total_seconds() < SOON_S
    cluster.uninstall("hopeless")


def _told(cluster: Cluster, name: str) -> str:
    """What the status says of the driver's end; empty until it has ended."""
    message = cluster.status(name).get("message", "")
    return message if "exit code" in message else ""


def _over(cluster: Cluster, job: str) -> tuple[str, str] | None:
    """What the condition of a failed Job says, and the last words of its pod; None until it has failed."""
    status = only(cluster.get("jobs", "--field-selector", f"metadata.name={job}")).get("status", {})
    failed = [one for one in status.get("conditions", ()) if one["type"] == "Failed"]
    pods = cluster.get("pods", "-l", f"batch.kubernetes.io/job-name={job}")
    states = [one["state"] for pod in pods for one in pod["status"].get("containerStatuses", ())]
    last = [one["terminated"].get("message", "") for one in states if "terminated" in one]
    return (failed[0].get("message", ""), last[-1]) if failed and last else None


def _event(cluster: Cluster, job: str) -> str:
    """What the verb has filed about its Job."""
    def filed() -> str:
        return " ".join(one["message"] for one in cluster.get("events", "--field-selector", f"involvedObject.name={job}")
                        if one.get("source", {}).get("component") == "saltworks")

    return cluster.until(filed, 20, f"an event of {job}")
