"""Values that are meant for all objects or all pods reach every one of them, however a run begins; weights reach all who read them."""

import json

import pytest

from tests.chart import operator_pods
from tests.chart.engine import Object, Rendered, render
from tests.chart.restricted import containers
from tests.chart.samples import BUCKET, SAMPLES, rich

pytestmark = pytest.mark.chart
WAYS: dict[str, Object] = {name: SAMPLES[name] for name in (
    "all autoscaled", "all fixed", "all queued", "all refreshed", "fixed and refreshed")}
each_way = pytest.mark.parametrize("values", WAYS.values(), ids=WAYS)
PARTS = {"head", "worker-draw", "worker-slices", "worker-fit", "worker-tasks", "submitter", "test"}
LAUNCHERS = {"all fixed": {"preflight"}, "all queued": {"preflight"}, "all refreshed": {"refresh"}, "fixed and refreshed": {"refresh"}}


def pods(rendered: Rendered) -> dict[str, Object]:
    return operator_pods.pods(rendered)


@pytest.mark.parametrize("name", WAYS)
def test_the_pods_that_are_looked_at_are_all_there_are(name: str) -> None:
    assert set(pods(render(WAYS[name]))) == PARTS | LAUNCHERS.get(name, set())


@each_way
def test_labels_for_cost_allocation_stand_on_every_object_and_pod(values: Object) -> None:
    wanted = {"team": "vision", "example.com/cost-centre": "4711"}
    rendered = render(values | {"labels": wanted})
    templates = [one["spec"]["jobTemplate"] for one in rendered.objects if one["kind"] == "CronJob"]
    for one in (*rendered.objects, rendered.rayjob, *templates, *pods(rendered).values()):
        assert wanted.items() <= one["metadata"]["labels"].items(), one["metadata"]
    assert {one["kind"] for one in rendered.objects} >= {"ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy",
                                                         "PodMonitor", "PrometheusRule", "Pod"}


@each_way
def test_annotations_stand_on_the_rayjob_and_every_pod_beside_the_charts_own(values: Object) -> None:
    rendered = render(values)
    for part, one in {"rayjob": rendered.rayjob, **pods(rendered)}.items():
        assert one["metadata"]["annotations"]["example.com/owner"] == "me", part
    assert rendered.rayjob["metadata"]["annotations"]["ray.io/disable-provisioned-head-restart"] == "true"
    assert pods(rendered)["head"]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


@each_way
def test_the_priority_class_is_every_pods_unless_its_group_has_another(values: Object) -> None:
    found = {part: pod["spec"]["priorityClassName"] for part, pod in pods(render(values)).items()}
    assert found.pop("worker-tasks") == "low"
    assert set(found.values()) == {"batch"}
    without = pods(render({key: one for key, one in values.items() if key != "priorityClassName"}))
    assert {part for part, pod in without.items() if "priorityClassName" in pod["spec"]} == {"worker-tasks"}


@each_way
def test_every_pod_may_pull_from_a_private_registry(values: Object) -> None:
    for part, pod in pods(render(values)).items():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}], part


def test_every_service_account_bears_its_own_annotations_and_no_token() -> None:
    wanted = {part: {"example.com/role": part} for part in ("head", "worker", "launcher")}
    rendered = render(rich("fixed", serviceAccounts={part: {"annotations": one} for part, one in wanted.items()}))
    for part, annotations in wanted.items():
        account = rendered.one("ServiceAccount", f"-{part}")
        assert account["metadata"]["annotations"] == annotations
        assert account["automountServiceAccountToken"] is False
    used = {part: pod["spec"].get("serviceAccountName") for part, pod in pods(rendered).items()}
    assert used == {part: f"saltworks-{role}" for part, role in {
        "head": "head", "test": "head", "preflight": "launcher", **{one: "worker" for one in PARTS if one.startswith("worker-")}}.items()
    } | {"submitter": None}


def test_an_account_that_exists_is_used_and_none_is_made() -> None:
    mine = {"create": False, "name": "mine", "annotations": {}}
    rendered = render(rich("fixed", serviceAccounts=dict.fromkeys(("head", "worker", "launcher"), mine)))
    assert not {"ServiceAccount", "Role", "RoleBinding"} & set(rendered.kinds())
    assert {pod["spec"].get("serviceAccountName") for part, pod in pods(rendered).items() if part != "submitter"} == {"mine"}


def next_commands(rendered: Rendered) -> list[str]:
    lines = rendered.notes.partition("Next:")[2].splitlines()
    return [line.strip() for line in lines if line.startswith(("  kubectl ", "  helm "))]


def test_the_notes_of_a_preflight_name_its_job_the_cost_and_three_commands() -> None:
    rendered = render(rich("fixed"), namespace="pictures")
    job, rayjob = rendered.one("Job")["metadata"]["name"], rendered.rayjob["metadata"]["name"]
    assert f"RayJob {rayjob} is created when the plan of Job {job} holds." in rendered.notes
    assert "at most 7.45 per hour" in rendered.notes   # 3 × (1.5 + 0.25 + 0.5 + 0.1) + 0.4
    assert next_commands(rendered) == [
        f"kubectl logs -n pictures -f job/{job}",
        f"kubectl get rayjob -n pictures {rayjob} -o jsonpath='{{.status.jobStatus}} {{.status.message}}'",
        "helm test -n pictures saltworks --logs",
    ]
    assert "per hour" not in render(SAMPLES["spot-kueue"]).notes   # no price is given, none is made up


def test_the_notes_of_a_refresh_name_its_schedule_the_cost_and_three_commands() -> None:
    rendered = render(rich("autoscale", refresh={"schedule": "0 3 * * 1", "timeZone": "Europe/Berlin"}), namespace="pictures")
    cron = rendered.one("CronJob")["metadata"]["name"]
    assert 'begins at "0 3 * * 1" (Europe/Berlin).' in rendered.notes
    assert "at most 7.45 per hour" in rendered.notes
    assert next_commands(rendered) == [
        f"kubectl create job -n pictures --from=cronjob/{cron} saltworks-now",
        "kubectl get rayjob -n pictures -l app.kubernetes.io/instance=saltworks",
        "kubectl get events -n pictures --field-selector reason=RefreshSkipped",
    ]
    assert "once refresh.suspend is false" in render(SAMPLES["all refreshed"]).notes
    assert "per hour" not in render(SAMPLES["refresh"]).notes


@pytest.mark.parametrize("given", [
    {}, {"suspend": True, "startingDeadlineSeconds": 77, "jobHistory": 9}, {"startingDeadlineSeconds": 3600, "jobHistory": 0},
], ids=str)
def test_a_schedule_has_its_policy_its_deadlines_and_its_limits(given: Object) -> None:
    planning = {"activeDeadlineSeconds": 1234, "backoffLimit": 5}
    cron = render(rich("autoscale", refresh={"schedule": "@daily"} | given, preflight=planning)).one("CronJob")["spec"]
    kept = given.get("jobHistory", 3)
    assert {name: cron[name] for name in cron if name not in ("jobTemplate", "schedule", "timeZone")} == {
        "concurrencyPolicy": "Forbid", "suspend": given.get("suspend", False),
        "startingDeadlineSeconds": given.get("startingDeadlineSeconds", 600),
        "successfulJobsHistoryLimit": kept, "failedJobsHistoryLimit": kept,
    }
    job = cron["jobTemplate"]["spec"]
    assert {name: job[name] for name in planning} == planning
    assert job["podFailurePolicy"]["rules"][0]["action"] == "FailJob"


def reads_weights(part: str) -> bool:
    return part != "submitter"


@pytest.mark.parametrize("name", WAYS)
def test_weights_on_a_claim_are_mounted_read_only_wherever_they_are_read(name: str) -> None:
    options = {"SALTWORKS_GENERATOR__OPTIONS": {"model": "/models-of-ours/sd"}}
    values = WAYS[name] | {"settings": WAYS[name]["settings"] | options,
                           "storage": WAYS[name]["storage"] | {"weights": {"claim": "shelf", "mountPath": "/models-of-ours"}}}
    rendered = render(values)
    assert json.loads(rendered.settings["SALTWORKS_GENERATOR__OPTIONS"])["model"] == "/models-of-ours/sd"
    for part, pod in pods(rendered).items():
        volume = [one for one in pod["spec"]["volumes"] if one["name"] == "weights"]
        assert volume == [{"name": "weights", "persistentVolumeClaim": {"claimName": "shelf", "readOnly": True}}] * reads_weights(part)
        for container in (one for one in containers(pod) if one["name"] not in ("autoscaler", "ray-job-submitter")):
            assert {"name": "weights", "mountPath": "/models-of-ours", "readOnly": True} in container["volumeMounts"], part


@pytest.mark.parametrize("way", [
    {"head": {"rayCpus": 2}}, {"scaling": "fixed", "workerGroups": [{"name": "tasks", "role": "cpu"}]},
    {"head": {"rayCpus": 2}, "refresh": {"schedule": "@daily"}},
], ids=["direct", "preflight", "refresh"])
def test_weights_below_a_bucket_prefix_need_a_name_credentials_and_room_and_no_volume(way: Object) -> None:
    name = {"SALTWORKS_GENERATOR__OPTIONS": {"model": "s3://bucket/models/größe"}}
    key = {"env": "AWS_ACCESS_KEY_ID", "secret": "bucket", "key": "id"}
    rendered = render(BUCKET | way | {"settings": BUCKET["settings"] | name, "secrets": [key]})
    assert json.loads(rendered.settings["SALTWORKS_GENERATOR__OPTIONS"]) == name["SALTWORKS_GENERATOR__OPTIONS"]
    for part, pod in pods(rendered).items():
        if reads_weights(part):
            assert "weights" not in {one["name"] for one in pod["spec"]["volumes"]}
            first = containers(pod)[0]
            assert any(one["name"] == key["env"] for one in first["env"]), part
            assert {"name": "tmp", "mountPath": "/tmp"} in first["volumeMounts"]   # where the copy goes
            assert next(one for one in pod["spec"]["volumes"] if one["name"] == "tmp")["emptyDir"]["sizeLimit"].endswith("Gi")
