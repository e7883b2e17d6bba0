"""What follows from the worker groups: sizes that no user sets twice, and what Ray counts in each pod."""

import json

import pytest

from job.generators.text_to_image import TextToImage
from tests.chart.engine import PROFILES, Object, profile, render
from tests.chart.samples import SAMPLES, rich

pytestmark = pytest.mark.chart
ACTORS, TRIALS = "SALTWORKS_GENERATOR__ACTORS", "SALTWORKS_SWEEP__PARALLEL_TRIALS"
CPUS: Object = {"name": "tasks", "role": "cpu", "maxReplicas": 2}


def derived(groups: list[Object], settings: Object | None = None, **more: object) -> dict[str, str]:
    return render({"settings": {"SALTWORKS_ROOT": "s3://b/x"} | (settings or {}), "workerGroups": groups} | more).settings


def group_of(values: Object, name: str) -> Object:
    return next(one for one in render(values).rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"] if one["groupName"] == name)


def test_actors_are_what_the_gpus_of_the_generating_groups_hold() -> None:
    groups = [{"name": "a", "gpus": 2, "maxReplicas": 3}, {"name": "b", "gpus": 1, "maxReplicas": 2}, CPUS]
    assert derived(groups, {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 1})[ACTORS] == "8"
    assert derived(groups, {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 0.5})[ACTORS] == "16"
    assert derived(groups, {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 2})[ACTORS] == "3"


def test_actors_are_no_more_than_the_cpus_hold() -> None:
    group = {"name": "a", "gpus": 1, "maxReplicas": 3, "resources": {"requests": {"cpu": 1}, "limits": {"cpu": "1500m"}}}
    assert derived([group, CPUS], {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 0.1})[ACTORS] == "6"   # 1.5 CPUs are 2 to Ray


def test_fixed_groups_count_their_replicas() -> None:
    values = derived([{"name": "a", "gpus": 1, "replicas": 5}], {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 1}, scaling="fixed")
    assert values[ACTORS] == "5"


def test_trials_go_to_the_training_groups_and_else_to_what_can_hold_them() -> None:
    draw, fit = {"name": "a", "gpus": 1, "maxReplicas": 3}, {"name": "b", "role": "train", "gpus": 1, "maxReplicas": 2}
    gpu = {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 1, "SALTWORKS_SWEEP__GPUS_PER_TRIAL": 0.25}
    assert derived([draw, fit, CPUS], gpu)[TRIALS] == "8"
    assert derived([draw, CPUS], gpu)[TRIALS] == "12"
    assert derived([draw, CPUS], gpu | {"SALTWORKS_SWEEP__GPUS_PER_TRIAL": 0})[TRIALS] == "8"


def test_a_head_alone_counts_for_itself() -> None:
    values = render(SAMPLES["demo"]).settings
    assert not {ACTORS, TRIALS} & set(values)


def test_nodes_are_told_apart_only_where_there_are_two_kinds() -> None:
    assert render(SAMPLES["gpu"]).settings["SALTWORKS_GENERATOR__RESOURCE"] == "saltworks_generate"
    assert render(SAMPLES["gpu"]).settings["SALTWORKS_SWEEP__RESOURCE"] == "saltworks_train"
    assert "SALTWORKS_GENERATOR__RESOURCE" not in render(SAMPLES["refresh"]).settings
    for name, resource in (("draw", "saltworks_generate"), ("fit", "saltworks_train"), ("tasks", "saltworks_cpu")):
        params = group_of(SAMPLES["gpu"], name)["rayStartParams"]
        assert json.loads(params["resources"].strip("'")) == {resource: 1}


def test_trials_without_gpus_keep_no_gpu_pod_from_being_given_back() -> None:
    draw = {"name": "a", "gpus": 1, "maxReplicas": 3}
    gpu = {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 1}
    assert derived([draw, CPUS], gpu)["SALTWORKS_SWEEP__RESOURCE"] == "saltworks_cpu"
    assert "SALTWORKS_SWEEP__RESOURCE" not in derived([draw, CPUS], gpu | {"SALTWORKS_SWEEP__GPUS_PER_TRIAL": 0.5})


def test_gpus_are_counted_for_ray_under_whatever_name_kubernetes_knows_them() -> None:
    known = (("draw", "2", "nvidia.com/gpu"), ("slices", "1", "nvidia.com/mig-1g.10gb"), ("fit", "1", "nvidia.com/gpu.shared"))
    for name, count, resource in known:
        group = group_of(rich("autoscale"), name)
        assert group["rayStartParams"]["num-gpus"] == count
        container = group["template"]["spec"]["containers"][0]
        assert container["resources"]["limits"][resource] == container["resources"]["requests"][resource] == count
    assert group_of(rich("autoscale"), "tasks")["rayStartParams"]["num-gpus"] == "0"


def test_gpu_groups_start_from_zero_and_fixed_groups_stand() -> None:
    for one in render(rich("autoscale")).rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        assert (one["replicas"], one["minReplicas"], one["maxReplicas"]) == (0, 0, 3)
    fixed = render(rich("fixed")).rayjob["spec"]["rayClusterSpec"]
    assert "enableInTreeAutoscaling" not in fixed
    assert {(one["replicas"], one["minReplicas"], one["maxReplicas"]) for one in fixed["workerGroupSpecs"]} == {(3, 3, 3)}


def test_the_head_runs_no_tasks_beside_workers_and_stands_on_no_spot_node() -> None:
    head = render(SAMPLES["gpu"]).rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    (term,) = head["template"]["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert {one["operator"] for one in term["matchExpressions"]} == {"NotIn"}
    assert head["template"]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"


def test_spot_groups_look_for_spot_nodes_of_any_cloud_and_bear_their_taints() -> None:
    spec = group_of(rich("autoscale"), "draw")["template"]["spec"]
    terms = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert len(terms) == 4
    borne = {one["key"] for one in spec["tolerations"]}
    assert borne == {"nvidia.com/gpu", "cloud.google.com/gke-spot", "kubernetes.azure.com/scalesetpriority"}
    assert group_of(rich("autoscale"), "draw")["template"]["metadata"]["labels"]["saltworks/spot"] == "true"


def test_slices_and_shares_bear_the_taint_of_whole_gpus_too() -> None:
    for name, resource in (("slices", "nvidia.com/mig-1g.10gb"), ("fit", "nvidia.com/gpu.shared")):
        borne = {one["key"] for one in group_of(rich("autoscale"), name)["template"]["spec"]["tolerations"]}
        assert {resource, "nvidia.com/gpu"} <= borne


def test_pods_are_spread_over_their_own_group_unless_another_is_named() -> None:
    (spread,) = group_of(rich("autoscale"), "draw")["template"]["spec"]["topologySpreadConstraints"]
    assert spread["labelSelector"]["matchLabels"] == {
        "app.kubernetes.io/name": "saltworks", "app.kubernetes.io/instance": "saltworks", "ray.io/group": "draw"}


def test_the_object_store_fits_into_shared_memory() -> None:
    assert group_of(rich("autoscale"), "fit")["rayStartParams"]["object-store-memory"] == str(int(512 * 2**20 * 0.9))


@pytest.mark.parametrize("name", [one for one in PROFILES if "SALTWORKS_GENERATOR__GPUS_PER_ACTOR" in profile(one)["settings"]])
def test_a_profile_that_draws_on_gpus_does_it_compiled_in_16_bits_and_compiles_on_no_more_cpus_than_a_pod_asks_for(name: str) -> None:
    options = TextToImage.Options(**profile(name)["settings"]["SALTWORKS_GENERATOR__OPTIONS"])
    assert (options.dtype, options.compile) == ("bf16", "whole")
    for group in render(profile(name)).rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]:
        (container,) = group["template"]["spec"]["containers"]
        told = {one["name"]: one.get("value") for one in container["env"]}
        assert told["TORCHINDUCTOR_COMPILE_THREADS"] == container["resources"]["requests"]["cpu"]
