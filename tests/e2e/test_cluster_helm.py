"""helm install, upgrade, test and uninstall; a run of fixed size behind its plan; a refresh whose ticks create what comes next."""

import pytest

from job.ground.store import Store
from tests.e2e.cluster import Cluster, fake, keys, only
from tests.e2e.whole import EACH, UNITS, commits, whole

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500), pytest.mark.long]


@pytest.mark.usefixtures("gpus")
def test_install_upgrade_test_and_uninstall_leave_nothing_but_the_data(cluster: Cluster, bucket: str, store: Store) -> None:
    values = fake(cluster, bucket, workers=1, SALTWORKS_GENERATOR__OPTIONS={"seconds_per_image": 0.5})
    changed = values | {"retries": 1}
    before = cluster.holds()
    assert "kubectl" in cluster.install(values, release="life")
    name = cluster.launched("life")
    cluster.until(lambda: len(commits(store)) >= 3, 240, "the first commits")

    running, at = cluster.as_it_is(name), cluster.status(name)["rayClusterName"]
    cluster.install(values, release="life", verb="upgrade")   # while it runs: no conflict with the operator, and nothing happens
    assert "replaceRunning" in cluster.install(changed, release="life", verb="upgrade", check=False)
    assert cluster.launched("life") == name
    assert (cluster.as_it_is(name), cluster.status(name)["rayClusterName"]) == (running, at)
    assert len(commits(store)) < UNITS   # it did run
    cluster.install(changed | {"replaceRunning": True}, release="life", verb="upgrade")
    cluster.until(lambda: not cluster.rayjob(name), 120, f"the end of {name}")
    name = cluster.launched("life")
    status = cluster.succeeded(name, 420)
    whole(store, repeats=EACH, killed=1)   # one actor drew

    done = cluster.as_it_is(name)
    cluster.install(changed, release="life", verb="upgrade")   # once it is finished: nothing happens
    assert cluster.launched("life") == name
    assert (cluster.as_it_is(name), cluster.status(name)) == (done, status)
    assert "Succeeded" in cluster.helm("test", "life", "--logs")
    cluster.install(values | {"retries": 3}, release="life", verb="upgrade")
    assert cluster.launched("life") != name
    cluster.succeeded(cluster.launched("life"), 420)
    whole(store, repeats=EACH, killed=1)
    cluster.uninstall("life")
    cluster.until(lambda: cluster.holds() <= before, 120, "a namespace as it was")
    whole(store, repeats=EACH, killed=1)


@pytest.mark.usefixtures("gpus")
def test_a_run_of_fixed_size_is_made_by_its_plans_job_and_goes_with_it(cluster: Cluster, bucket: str, store: Store) -> None:
    values = fake(cluster, bucket, workers=1, scaling="fixed")
    before = cluster.holds()
    cluster.install(values, release="firm")
    mine = ("-l", "app.kubernetes.io/instance=firm")
    job = only(one["metadata"] for one in cluster.get("jobs", *mine) if one["metadata"]["name"].endswith("-preflight"))
    cluster.until(lambda: cluster.get("rayjobs", *mine), 180, "the RayJob of a plan that holds")
    name = cluster.launched("firm")
    owner = only(cluster.rayjob(name)["metadata"]["ownerReferences"])
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Job", job["name"], job["uid"])
    status, done = cluster.succeeded(name, 420), cluster.as_it_is(name)
    whole(store, repeats=0, killed=0)
    cluster.install(values, release="firm", verb="upgrade")
    assert cluster.launched("firm") == name
    assert (cluster.as_it_is(name), cluster.status(name)) == (done, status)
    assert only(cluster.get("jobs", "--field-selector", f"metadata.name={job['name']}"))["metadata"]["uid"] == job["uid"]
    cluster.witness.search()
    cluster.kubectl("delete", "job", job["name"])
    cluster.until(lambda: not cluster.rayjob(name), 120, f"the end of {name} with its Job")
    cluster.uninstall("firm")
    cluster.until(lambda: cluster.holds() <= before, 120, "a namespace as it was")


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
        cluster.until(lambda: cluster.kubectl("get", "job", job, "-o", "jsonpath={.status.succeeded}"), 180, f"the tick {job}")
        return cluster.kubectl("logs", f"job/{job}", "--tail=-1")

    def names() -> set[str]:
        return {one["metadata"]["name"] for one in cluster.get("rayjobs")}

    tick(29000001)
    first = only(cluster.get("rayjobs"))
    assert first["metadata"]["labels"]["saltworks/dataset"] == "digits"
    told = tick(29000002)
    assert first["metadata"]["name"] in told
    assert names() == {first["metadata"]["name"]}
    cluster.until(lambda: [one for one in cluster.get("events") if first["metadata"]["name"] in one.get("message", "")
                           and one["involvedObject"]["name"] == f"{cron}-29000002"], 20, "an event about the tick")
    cluster.succeeded(first["metadata"]["name"], 420)
    tick(29000003)
    second = only(names() - {first["metadata"]["name"]})
    cluster.succeeded(second, 420)
    there = {one["metadata"]["uid"] for one in cluster.get("rayjobs")}
    cluster.kubectl("delete", "job", f"{cron}-29000003")
    tick(29000003)   # the same tick once more: it creates nothing, and removes what is beyond the history
    assert {one["metadata"]["uid"] for one in cluster.get("rayjobs")} <= there
    cluster.until(lambda: names() == {second}, 30, "the end of the first")
    tick(29000004)
    third = only(names() - {second})
    assert third.endswith("-29000004")
    assert second in names()   # one finished one is kept
    assert len(keys(store, "digits/editions/")) >= 2
    cluster.uninstall("tick")
    cluster.kubectl("delete", "rayjobs", "--all")
