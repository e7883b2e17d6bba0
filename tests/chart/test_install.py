"""Helm against a server that answers as a cluster would: what it refuses before anything is made, in the words that the docs give."""

import pytest

from tests.chart.annotated import CHART
from tests.chart.api_server import KINDS, cluster, try_install
from tests.chart.engine import Object, Refused, profile, render

pytestmark = pytest.mark.chart
DEMO = profile("demo")
DEPLOY = (CHART.parents[1] / "docs" / "deploy.md").read_text()


def told(version: str, values: Object = DEMO, **there: object) -> str:
    """How Helm refuses; empty: it does not."""
    with cluster(version, **there) as kubeconfig:
        try:
            try_install(kubeconfig, values)
        except Refused as refused:
            return str(refused)
    return ""


@pytest.mark.parametrize("version", ["1.27.3", "1.28.0", "1.28.15-eks-5"])
def test_a_kubernetes_that_is_too_old_is_refused(version: str) -> None:
    assert told(version) == f"chart requires kubeVersion: >=1.29.0-0 which is incompatible with Kubernetes v{version}"


@pytest.mark.parametrize("version", ["1.29.0", "1.29.1-gke.1589018", "1.35.4", "1.37.0"])
def test_a_kubernetes_that_is_new_enough_is_not_whatever_its_vendor_appends(version: str) -> None:
    assert told(version) == ""


def test_a_cluster_without_the_operator_is_told_in_the_words_of_the_page() -> None:
    words = "unable to get apiresource from unstructured: ray.io/v1, Kind=RayJob"
    assert words in told("1.35.4", groups=[one for one in KINDS if one != "ray.io/v1"])
    assert f"`{words}`" in DEPLOY


def test_what_kubectl_applied_is_not_taken_over_and_the_page_has_helms_words() -> None:
    words = "exists and cannot be imported into the current release: invalid ownership metadata"
    applied = [one for one in render(DEMO).objects if one["kind"] == "ServiceAccount"]
    assert f'ServiceAccount "saltworks-head" in namespace "saltworks" {words}' in told("1.35.4", there=applied)
    assert words in DEPLOY


@pytest.mark.parametrize(("state", "refused"), [("Running", True), ("Suspended", True), ("", True), ("Complete", False), ("Failed", False)])
def test_another_run_of_the_release_is_not_ended_by_chance(state: str, refused: bool) -> None:
    other = render(DEMO | {"retries": 7}).rayjob | {"status": {"jobDeploymentStatus": state}}
    other["metadata"] |= {"labels": other["metadata"]["labels"] | {"app.kubernetes.io/managed-by": "Helm"}}
    said = told("1.35.4", there=[other])
    assert (f"RayJob {other['metadata']['name']} is active ({state or 'new'}) and differs from these values" in said) is refused
    assert "is active" not in told("1.35.4", DEMO | {"replaceRunning": True}, there=[other])
