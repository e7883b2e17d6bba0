"""What is wrong costs no GPU: the code and the cure stand in the status, and no GPU pod was ever made."""

from typing import Any

import pytest

from tests.e2e.cluster import Cluster, Watch, fake

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {   # what is set; the exit code; words of the problem and its cure
    "settings": ({"SALTWORKS_FILTER__KIND": "quota", "SALTWORKS_FILTER__SCORE": "beauty.score"}, "64", "measured by no metric"),
    "bucket": ({"SALTWORKS_ROOT": "s3://no-such-bucket-here/root", "SALTWORKS_STORAGE__RETRY_S": 2}, "7[57]|65", "no-such-bucket-here"),
    "budget": ({"SALTWORKS_BUDGET_USD": 0}, "76", "budget"),
}


@pytest.mark.parametrize("what", [*WRONG, "secret"])
@pytest.mark.parametrize("scaling", ["autoscale", "fixed"])
def test_what_is_wrong_ends_with_its_code_and_cure_before_any_gpu_pod(cluster: Cluster, bucket: str, what: str, scaling: str) -> None:
    settings, code, words = WRONG.get(what, ({}, "77", "secret storage lacks the key"))
    values = fake(cluster, bucket, workers=1, scaling=scaling, **settings) | {"retries": 0}
    if what == "secret":
        values["secrets"] = [*values["secrets"], {"env": "HF_TOKEN", "secret": "storage", "key": "token"}]
    values["preflight"] |= {"backoffLimit": 0}
    release = f"{what}-{scaling}"
    with Watch(cluster, "saltworks/role=generate") as gpus:
        cluster.install(values, release=release)
        if scaling == "autoscale":
            name = cluster.launched(release)
            status = cluster.until(lambda: _failed(cluster, name), 120, f"the end of {name}")
            assert "exit code" in status["message"]
            told = status["message"]
        else:
            told = cluster.until(lambda: _preflight(cluster, release), 120, f"the end of {release}'s preflight")
            assert cluster.get("rayjobs", "-l", f"app.kubernetes.io/instance={release}") == []
    assert gpus.most == 0
    assert any(f"exit code {one}" in told for one in _codes(code)), told
    assert words in told
    assert "→" in told   # the cure
    cluster.helm("uninstall", release)


def _codes(pattern: str) -> list[str]:
    return {"7[57]|65": ["75", "77", "65"]}.get(pattern, [pattern])


def _failed(cluster: Cluster, name: str) -> dict[str, Any]:
    status = cluster.rayjob(name).get("status", {})
    return status if status.get("jobDeploymentStatus") == "Failed" else {}


def _preflight(cluster: Cluster, release: str) -> str:
    """What the failed preflight Job and its pod say; empty until it has failed."""
    for job in cluster.get("jobs", "-l", f"app.kubernetes.io/instance={release}"):
        failed = [one for one in job.get("status", {}).get("conditions", []) if one["type"] == "Failed"]
        pods = cluster.get("pods", "-l", f"batch.kubernetes.io/job-name={job['metadata']['name']}")
        states = [one["state"] for pod in pods for one in pod["status"].get("containerStatuses", [])]
        last = [one["terminated"] for one in states if "terminated" in one]
        if failed and last:
            return f"{failed[0].get('message', '')} exit code {last[-1]['exitCode']} {last[-1].get('message', '')}"
    return ""
