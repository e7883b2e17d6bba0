"""Alerts and dashboard as they are installed, and the RayJob of a refresh as a tick would create it from the chart's manifest."""

import json

import pytest

from job.kube_jobs import of_tick
from tests.chart import engine
from tests.chart.samples import MONITORED
from tests.monitoring import dashboard, rules

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
