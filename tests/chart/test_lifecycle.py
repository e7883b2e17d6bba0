"""Names that say what runs, words before the end, and who creates what: RayJobs are made once and never patched."""

import re

import pytest

from tests.chart import operator_pods
from tests.chart.engine import Object, Refused, render
from tests.chart.samples import BUCKET, SAMPLES, rich

pytestmark = pytest.mark.chart
HEAD: Object = BUCKET | {"head": {"rayCpus": 2}}
REFUSALS = [64, 65, 70, 73, 76, 77]   # what another try cannot mend


def name_of(values: Object, release: str = "saltworks") -> str:
    return render(values, release).rayjob["metadata"]["name"]


def test_the_same_values_are_the_same_rayjob_and_any_other_is_a_new_one() -> None:
    assert name_of(HEAD) == name_of(HEAD)
    changes: list[Object] = [
        {"retries": 5}, {"labels": {"team": "x"}}, {"annotations": {"a/b": "c"}}, {"image": {"tag": "2"}}, {"env": {"A": "1"}},
        {"settings": BUCKET["settings"] | {"SALTWORKS_SWEEP__SEEDS": 6}}, {"secrets": [{"env": "A", "secret": "b", "key": "c"}]},
        {"deadlines": {"ttl": 61}}, {"submitter": {"nodeSelector": {"a": "b"}}}, {"kueue": {"queueName": "lq"}},
    ]
    names = [name_of(HEAD | one) for one in changes]
    assert len({*names, name_of(HEAD)}) == len(changes) + 1


def test_what_no_pod_sees_changes_no_name() -> None:
    for one in ({"replaceRunning": True}, {"networkPolicy": {"enabled": False}}, {"monitoring": {"podMonitor": {"enabled": True}}}):
        assert name_of(HEAD | one) == name_of(HEAD)


@pytest.mark.parametrize("release", ["a", "saltworks", "a" * 53, "a.b-c", "x" * 38, "x" * 39])
@pytest.mark.parametrize("values", [HEAD, SAMPLES["spot-kueue"], SAMPLES["refresh"]], ids=["direct", "preflight", "refresh"])
def test_no_name_is_too_long_whatever_the_release_is_called(values: Object, release: str) -> None:
    rendered = render(values, release)
    assert len(rendered.rayjob["metadata"]["name"]) <= 47
    for one in rendered.objects:
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", one["metadata"]["name"])
        assert len(one["metadata"]["name"]) <= (52 if one["kind"] == "CronJob" else 63)


def test_long_releases_that_begin_alike_do_not_meet() -> None:
    assert name_of(HEAD, "a" * 50) != name_of(HEAD, "a" * 51)


def test_success_failure_and_the_death_of_the_head_end_as_promised() -> None:
    rayjob = render(SAMPLES["gpu"]).rayjob
    spec = rayjob["spec"]
    assert rayjob["metadata"]["annotations"]["ray.io/disable-provisioned-head-restart"] == "true"
    assert (spec["submissionMode"], spec["submitterConfig"], spec["backoffLimit"]) == ("K8sJobMode", {"backoffLimit": 1}, 2)
    assert (spec["entrypoint"], spec["shutdownAfterJobFinishes"]) == ("python -m job run", True)
    assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]
    assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert "suspend" not in spec


@pytest.mark.parametrize("grace", [1, 60, 600])
def test_a_pod_that_goes_hears_of_it_and_has_time_for_one_flush(grace: int) -> None:
    rendered = render(SAMPLES["gpu"] | {"deadlines": {"stopGrace": grace}})
    for part, pod in operator_pods.pods(rendered).items():
        if part == "head" or part.startswith("worker"):
            assert pod["spec"]["terminationGracePeriodSeconds"] > grace
            assert pod["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["python", "-m", "job", "drain"]
    assert rendered.settings["SALTWORKS_STOP_GRACE_S"] == str(grace)


def test_autoscaled_runs_begin_at_once_and_fixed_ones_behind_a_plan() -> None:
    assert "RayJob" in render(SAMPLES["gpu"]).kinds()
    assert "Job" not in render(SAMPLES["gpu"]).kinds()
    fixed = render(SAMPLES["spot-kueue"])
    assert "RayJob" not in fixed.kinds()
    job = fixed.one("Job")
    assert re.fullmatch(rf"{fixed.rayjob['metadata']['name']}-[0-9a-f]{{8}}-preflight", job["metadata"]["name"])
    assert job["metadata"]["name"] in fixed.notes
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == REFUSALS
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "job", "preflight"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert "ttlSecondsAfterFinished" not in job["spec"]   # the RayJob belongs to it


def test_a_job_whose_pods_would_change_is_another_job_for_the_same_rayjob() -> None:
    before = render(SAMPLES["spot-kueue"])
    for one in ({"preflight": {"resources": {"requests": {"cpu": "2"}}}}, {"preflight": {"tmpSize": "9Gi"}},
                {"serviceAccounts": {"launcher": {"name": "mine"}}}):
        after = render(SAMPLES["spot-kueue"] | one)
        assert after.rayjob["metadata"]["name"] == before.rayjob["metadata"]["name"]
        assert after.one("Job")["metadata"]["name"] != before.one("Job")["metadata"]["name"]
    for one in ({"refresh": {"history": 9}}, {"preflight": {"backoffLimit": 9, "activeDeadlineSeconds": 99}}):   # changed in place
        after = render(SAMPLES["spot-kueue"] | one).one("Job")
        assert (after["metadata"], after["spec"]["template"]) == (before.one("Job")["metadata"], before.one("Job")["spec"]["template"])


def test_what_plans_has_as_much_room_for_weights_as_the_head() -> None:
    for name in ("spot-kueue", "refresh"):
        pods = operator_pods.pods(render(SAMPLES[name]))
        rooms = [{one["name"]: one["emptyDir"] for one in pod["spec"]["volumes"] if one["name"] in ("tmp", "models")}
                 for part, pod in pods.items() if part in ("head", "preflight", "refresh", "test")]
        assert len(rooms) >= 2
        assert all(one == rooms[0] == {"tmp": {"sizeLimit": "10Gi"}, "models": {"sizeLimit": "40Gi"}} for one in rooms)


def test_a_launcher_may_do_with_rayjobs_what_it_must_and_nothing_else() -> None:
    role = render(SAMPLES["refresh"]).one("Role")
    assert role["rules"] == [
        {"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["get", "list", "create", "delete"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]
    assert "Role" not in render(SAMPLES["gpu"]).kinds()


def test_kueue_gets_its_labels_and_no_word_on_suspension() -> None:
    rayjob = render(rich("fixed", kueue={"queueName": "lq", "priorityClass": "low"})).rayjob
    labels = rayjob["metadata"]["labels"]
    assert (labels["kueue.x-k8s.io/queue-name"], labels["kueue.x-k8s.io/priority-class"]) == ("lq", "low")
    assert "suspend" not in rayjob["spec"]


def test_a_schedule_never_runs_twice_at_once_and_names_its_rayjobs_by_the_tick() -> None:
    rendered = render(rich("autoscale", refresh={"schedule": "0 3 * * 1", "history": 5}))
    cron = rendered.one("CronJob")["spec"]
    assert (cron["concurrencyPolicy"], cron["schedule"], cron["timeZone"]) == ("Forbid", "0 3 * * 1", "Etc/UTC")
    (container,) = cron["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one for one in container["env"]}
    assert env["SALTWORKS_KUBERNETES__TICK"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
    assert env["SALTWORKS_KUBERNETES__HISTORY"]["value"] == "5"
    assert "SALTWORKS_SUBMISSION" not in env
    assert rendered.rayjob["metadata"]["labels"]["saltworks/dataset"] == "digits"
    assert rendered.rayjob["metadata"]["labels"]["team"] == "vision"


def test_settings_and_manifest_are_never_changed_in_place() -> None:
    for values in (SAMPLES["refresh"], SAMPLES["spot-kueue"], SAMPLES["gpu"]):
        maps = [one for one in render(values).objects if one["kind"] == "ConfigMap"]
        assert maps
        assert all(one["immutable"] is True for one in maps)


def test_the_data_survive_an_uninstall() -> None:
    claim = render(SAMPLES["demo"]).one("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert "storageClassName" not in claim["spec"]
    named = render(SAMPLES["demo"] | {"storage": {"claim": {"create": True, "storageClass": "fast"}}}).one("PersistentVolumeClaim")
    assert named["spec"]["storageClassName"] == "fast"


def test_secrets_are_references_that_may_be_absent_and_stand_nowhere_else() -> None:
    rendered = render(SAMPLES["all autoscaled"])
    for part, pod in operator_pods.pods(rendered).items():
        env = {one["name"]: one for one in pod["spec"]["containers"][0].get("env", [])}
        if part != "submitter":
            assert env["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "hub", "key": "token", "optional": True}
    assert "Secret" not in rendered.kinds()


def test_the_network_is_closed_but_for_what_is_listed() -> None:
    rendered = render(rich("autoscale"))
    run, head = rendered.one("NetworkPolicy", "saltworks")["spec"], rendered.one("NetworkPolicy", "-head")["spec"]
    assert run["policyTypes"] == ["Ingress", "Egress"]
    inside, scrape = run["ingress"]
    assert inside == {"from": [{"podSelector": run["podSelector"]}]}
    assert scrape["ports"] == [{"protocol": "TCP", "port": 8080}]
    (dashboard,) = head["ingress"]
    assert dashboard["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kuberay"}}}]
    assert dashboard["ports"] == [{"protocol": "TCP", "port": 8265}]
    assert {one["to"][0]["ipBlock"]["cidr"] for one in run["egress"][2:]} == {"0.0.0.0/0", "::/0", "169.254.169.254/32"}
    assert head["egress"], "the autoscaler asks the API server"
    assert "egress" not in render(SAMPLES["demo"]).one("NetworkPolicy", "-head")["spec"]


def test_the_notes_tell_the_most_it_can_cost_and_three_commands() -> None:
    notes = render(rich("autoscale")).notes
    assert "at most 7.45 per hour" in notes   # 3 × (1.5 + 0.25 + 0.5 + 0.1) + 0.4
    assert notes.partition("Next:")[2].count("  kubectl ") + notes.count("  helm test ") == 3
    assert "cost " not in render(SAMPLES["demo"]).notes
    partly = SAMPLES["gpu"] | {"head": {"pricePerPodHour": 0.5}}
    assert "at most 0.5 per hour without draw, fit, tasks" in render(partly).notes


def test_a_changed_image_tag_is_seen_where_no_digest_is_given() -> None:
    with pytest.raises(Refused):
        render(HEAD | {"image": {"tag": "a b"}})
    pods = operator_pods.pods(render(HEAD | {"image": {"repository": "r.example.com/s", "tag": "v2"}}))
    assert {pod["spec"]["containers"][0]["image"] for pod in pods.values()} == {"r.example.com/s:v2"}
