"""Alerts and dashboard as they are installed, what they ask for as it is emitted, and the RayJob that a tick makes of the manifest."""

import json
import re
from pathlib import Path

import pytest

from job.kube_jobs import FINISHED, of_tick
from job.watch import RESULTS
from tests.chart import engine
from tests.chart.samples import MONITORED
from tests.monitoring import HOME, asked_of, dashboard, rules

pytestmark = pytest.mark.chart


def test_alerts_name_the_release_and_the_place_of_the_runbooks() -> None:
    monitored = MONITORED | {"rules": {"enabled": True, "runbooks": "https://docs.example/runbooks/"}}
    made = engine.render(engine.profile("demo") | {"monitoring": monitored}, name="digits-nightly").one("PrometheusRule")
    installed = [rule for group in made["spec"]["groups"] for rule in group["rules"]]
    assert [rule["alert"] for rule in installed] == [rule["alert"] for rule in rules()]
    for rule in installed:
        assert rule["annotations"]["runbook_url"] == f"https://docs.example/runbooks/{rule['alert']}.md"
        assert "saltworks-.*" not in rule["expr"]
        assert '=~"digits-nightly-.*"' in rule["expr"]
    assert 'name=~"digits-nightly-.*"' in next(rule["expr"] for rule in installed if rule["alert"] == "JobFailed")
    assert 'cronjob=~"digits-nightly-.*"' in next(rule["expr"] for rule in installed if rule["alert"] == "RefreshMissed")


def test_the_dashboard_is_installed_as_it_is() -> None:
    made = engine.render(engine.profile("demo") | {"monitoring": MONITORED}).one("ConfigMap", "-dashboard")
    assert json.loads(made["data"]["saltworks.json"]) == dashboard()


def test_label_values_that_are_asked_for_are_those_that_ray_and_the_operator_emit() -> None:
    import ray
    from ray.core.generated.gcs_pb2 import ActorTableData

    home = Path(ray.__file__).parent
    raylet = (home / "core" / "src" / "ray" / "raylet" / "raylet").read_bytes()
    (states,) = set(re.findall(rb"Logical Ray resources broken per state \{([A-Z, ]+)\}", raylet))
    assert asked_of("ray_resources", "State") == {"AVAILABLE"}
    assert asked_of("ray_resources", "State") <= set(states.decode().split(", "))
    assert asked_of("ray_actors", "State") == {"RESTARTING"}
    assert asked_of("ray_actors", "State") <= set(ActorTableData.ActorState.keys())
    panels = (home / "dashboard" / "modules" / "metrics" / "dashboards" / "default_dashboard_panels.py").read_text()
    assert 'ray_resources{{Name="GPU"' in panels          # as Ray's own dashboard has them
    assert 'ray_tasks{{IsRetry="0"' in panels
    assert asked_of("ray_tasks", "IsRetry") == {"1"}
    assert asked_of("kuberay_job_deployment_status", "deployment_status") == set(FINISHED) - {"Complete"}


def test_label_values_of_our_own_metrics_are_those_that_the_table_names() -> None:
    table = {name: set(re.findall(r"`([a-z]+)`", row)) for name, row in re.findall(
        r"^\| `(ray_saltworks_\w+)` (.*)$", (HOME / "docs" / "metrics.md").read_text(), re.MULTILINE)}
    assert asked_of("ray_saltworks_images_total", "result") == {"made", "failed"} <= table["ray_saltworks_images_total"]
    assert asked_of("ray_saltworks_images_total", "result") <= set(RESULTS)
    assert asked_of("ray_saltworks_seconds_total", "kind") == {"draw", "idle"} <= table["ray_saltworks_seconds_total"]


def test_a_panel_that_counts_states_says_that_a_stopped_job_is_complete_too() -> None:
    (panel,) = [one for one in dashboard()["panels"] if "kuberay_job_deployment_status" in one["targets"][0]["expr"]]
    assert "stopped" in panel["description"]
    assert "jobStatus" in panel["description"]


def test_the_label_that_names_the_cluster_is_made_of_the_operators_and_its_value_begins_with_the_rayjobs_name() -> None:
    values = engine.profile("demo") | {"monitoring": MONITORED}
    rendered = engine.render(values, name="digits-nightly")
    (endpoint,) = rendered.one("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"] == [   # KubeRay's pod label ray.io/cluster, as Prometheus spells it
        {"sourceLabels": ["__meta_kubernetes_pod_label_ray_io_cluster"], "targetLabel": "ray_io_cluster"}]
    cluster = f"{rendered.rayjob['metadata']['name']}-x7k2p"   # as the operator calls it
    asked = [pattern for group in rendered.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]
             for pattern in re.findall(r'ray_io_cluster=~"([^"]+)"', rule["expr"])]
    assert asked
    assert all(re.fullmatch(one, cluster) for one in asked)
    assert not any(re.fullmatch(one, "digits-x7k2p") for one in asked)


def test_a_tick_makes_a_rayjob_of_its_own_from_the_manifest() -> None:
    rayjob = engine.render(engine.profile("refresh")).rayjob
    made = of_tick(rayjob, "saltworks-refresh-29381760")
    assert made["metadata"]["name"] == f"{rayjob['metadata']['name']}-29381760"
    assert made["metadata"]["labels"] == rayjob["metadata"]["labels"]
    cluster = made["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        container = group["template"]["spec"]["containers"][0]
        assert container["name"].startswith("ray-")
        told = [(one["name"], one.get("value")) for one in container["env"] if one["name"] in ("SALTWORKS_EDITION", "SALTWORKS_SUBMISSION")]
        assert sorted(told) == [("SALTWORKS_EDITION", "saltworks-refresh-29381760"), ("SALTWORKS_SUBMISSION", made["metadata"]["name"])]
