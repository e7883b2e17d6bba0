"""Every object that the chart makes, and every pod that the operator makes of it, is what a cluster accepts."""

import pytest

from tests.chart import core_schemas, kuberay, operator_pods, restricted
from tests.chart.engine import lint, render
from tests.chart.samples import SAMPLES

pytestmark = pytest.mark.chart
CUSTOM = ("RayJob", "PodMonitor", "PrometheusRule")
each_sample = pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)


@each_sample
def test_helm_has_nothing_to_say(values: dict) -> None:
    assert lint(values) == []


@pytest.mark.parametrize("version", core_schemas.VERSIONS)
def test_objects_and_pods_are_valid_for_every_kubernetes(version: str) -> None:
    for values in SAMPLES.values():
        rendered = render(values)
        core = [one for one in rendered.objects if one["kind"] not in CUSTOM]
        for one in [*core, *operator_pods.pods(rendered).values()]:
            assert core_schemas.complaints(one, version) == []


@each_sample
def test_custom_resources_are_valid_for_their_operators(values: dict) -> None:
    rendered = render(values)
    own = [one for one in rendered.objects if one["kind"] in CUSTOM]
    for one in [*own, rendered.rayjob]:
        assert kuberay.complaints(one) == []


@each_sample
def test_every_pod_meets_pod_security_restricted_and_our_own_promises(values: dict) -> None:
    for part, pod in operator_pods.pods(render(values)).items():
        complaints = restricted.complaints(pod) + restricted.beyond(pod)
        injected = [one for one in complaints if one.startswith("wait-gcs-ready: no ")]   # the operator's own resources
        assert complaints == injected, part


@each_sample
def test_only_what_talks_to_kubernetes_holds_a_token(values: dict) -> None:
    holders = {one for pod in operator_pods.pods(render(values)).values() for one in restricted.token_holders(pod)}
    assert holders <= {"autoscaler", "preflight", "refresh"}


@each_sample
def test_no_object_stands_twice_and_all_that_is_named_exists(values: dict) -> None:
    rendered = render(values)
    there = [(one["kind"], one["metadata"]["name"]) for one in rendered.objects]
    assert len(there) == len(set(there))
    made = {name for kind, name in there if kind == "ConfigMap"}
    for pod in operator_pods.pods(rendered).values():
        for container in restricted.containers(pod):
            assert {one["configMapRef"]["name"] for one in container.get("envFrom", [])} <= made
            mounted = {one["name"] for one in container["volumeMounts"]}
            assert mounted <= {one["name"] for one in pod["spec"]["volumes"]}


@each_sample
def test_an_image_runs_everywhere_in_the_same_version(values: dict) -> None:
    images = {one["image"] for pod in operator_pods.pods(render(values)).values() for one in restricted.containers(pod)}
    assert len(images) == 1


def test_the_checks_find_what_they_are_for() -> None:
    pod = render(SAMPLES["demo"]).one("Pod")
    assert core_schemas.complaints(pod | {"spec": pod["spec"] | {"restart": "Never"}}, "1.29")
    rayjob = render(SAMPLES["gpu"]).rayjob
    rayjob["spec"].pop("submitterPodTemplate")
    rayjob["spec"]["rayClusterSpec"]["autoscalerOptions"].pop("securityContext")
    found = dict(operator_pods.of_rayjob(rayjob))
    assert any("capabilities" in one for one in restricted.complaints(found["submitter"]))
    assert any(one.startswith("autoscaler: ") for one in restricted.complaints(found["head"]))
    found["head"]["spec"].pop("automountServiceAccountToken")
    assert "ray-head" in restricted.token_holders(found["head"])


@pytest.mark.parametrize(("wrong", "said"), [
    ({"backoffLimit": "2"}, "spec.backoffLimit"),
    ({"submissionMode": "SidecarMode"}, "submitter"),
    ({"deletionStrategy": {"deletionRules": [{"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED"}}]}}, "exclude"),
    ({"shutdownAfterJobFinishes": False}, "ttlSecondsAfterFinished"),
    ({"unheardOf": 1}, "unheardOf"),
    ({"preRunningDeadlineSeconds": 0}, "preRunningDeadlineSeconds"),
])
def test_the_operators_rules_are_known_here(wrong: dict, said: str) -> None:
    rayjob = render(SAMPLES["demo"]).rayjob
    assert any(said in one for one in kuberay.complaints(rayjob | {"spec": rayjob["spec"] | wrong}))
