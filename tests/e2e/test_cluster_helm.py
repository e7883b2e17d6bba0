"""helm install, upgrade, test and uninstall; and a refresh whose ticks create what comes next."""

import pytest

from job.ground.store import Store
from tests.e2e.cluster import Cluster, fake, keys, only
from tests.e2e.whole import whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.long]
LEFT = "rayjobs,rayclusters,jobs,cronjobs,pods,configmaps,services,serviceaccounts,roles,rolebindings,networkpolicies"


def test_install_upgrade_test_and_uninstall_leave_nothing_but_the_data(cluster: Cluster, bucket: str, store: Store) -> None:
    values = fake(cluster, bucket, workers=0)
    before = set(cluster.kubectl("get", LEFT, "-o", "name").split())
    assert "kubectl" in cluster.install(values, release="life")
    name = cluster.launched("life")
    refused = cluster.install(values | {"retries": 1}, release="life", verb="upgrade", check=False)
    assert "replaceRunning" in refused
    cluster.succeeded(name, 420)
    done = cluster.rayjob(name)
    cluster.install(values, release="life", verb="upgrade")
    again = cluster.rayjob(name)
    assert (again["metadata"]["uid"], again["metadata"]["generation"], again["status"]) == (
        done["metadata"]["uid"], done["metadata"]["generation"], done["status"])
    assert "Succeeded" in cluster.helm("test", "life", "--logs")
    cluster.install(values | {"retries": 1}, release="life", verb="upgrade")
    changed = cluster.launched("life")
    assert changed != name
    cluster.succeeded(changed, 420)
    whole(store, kills=0)
    cluster.helm("uninstall", "life")
    cluster.until(lambda: set(cluster.kubectl("get", LEFT, "-o", "name").split()) <= before, 120, "an empty namespace")
    whole(store, kills=0)


def test_a_tick_creates_the_next_run_a_repeated_one_nothing_and_one_beside_a_running_job_only_says_so(
    cluster: Cluster, bucket: str, store: Store
) -> None:
    values = fake(cluster, bucket, workers=0) | {"refresh": {"schedule": "0 3 1 1 *", "history": 1}}
    cluster.install(values, release="tick")
    cron = only(cluster.get("cronjobs"))["metadata"]["name"]

    def tick(number: int) -> str:
        """A Job as the CronJob would make it; its log."""
        job = f"{cron}-{number}"
        cluster.kubectl("create", "job", job, f"--from=cronjob/{cron}")
        cluster.until(lambda: only(one for one in cluster.get("jobs") if one["metadata"]["name"] == job).get("status", {}).get("succeeded"),
                      180, f"the tick {job}")
        return cluster.kubectl("logs", f"job/{job}", "--tail=-1")

    tick(29000001)
    first = only(cluster.get("rayjobs"))
    assert first["metadata"]["labels"]["saltworks/dataset"] == "digits"
    told = tick(29000002)
    assert first["metadata"]["name"] in told
    assert len(cluster.get("rayjobs")) == 1
    cluster.until(lambda: [one for one in cluster.get("events") if first["metadata"]["name"] in one.get("message", "")
                           and one["involvedObject"]["name"] == f"{cron}-29000002"], 20, "an event about the tick")
    cluster.succeeded(first["metadata"]["name"], 420)
    tick(29000003)
    second = only(one for one in cluster.get("rayjobs") if one["metadata"]["uid"] != first["metadata"]["uid"])
    cluster.succeeded(second["metadata"]["name"], 420)
    cluster.kubectl("delete", "job", f"{cron}-29000003")
    tick(29000003)   # the same tick once more
    assert len(cluster.get("rayjobs")) == 2
    tick(29000004)
    names = {one["metadata"]["name"] for one in cluster.get("rayjobs")}
    assert first["metadata"]["name"] not in names   # pruned: one finished one is kept
    assert second["metadata"]["name"] in names
    assert len([key for key in keys(store, "digits/editions/")]) >= 2
    cluster.helm("uninstall", "tick")
    cluster.kubectl("delete", "rayjobs", "--all")
