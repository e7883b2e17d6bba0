"""The demo profile on a cluster that has nothing but the operator: real diffusion, a volume, a version that verifies."""

from pathlib import Path

import pytest

from job import verbs
from job.ground.events import Events
from job.settings import load
from tests.e2e.cluster import Cluster, only

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]
MANIFEST = Path(__file__).parents[2] / "k8s" / "demo" / "all.yaml"


def test_the_demo_profile_ends_in_success_with_a_version_that_verifies_from_outside(cluster: Cluster, volume: Path) -> None:
    text = MANIFEST.read_text()
    named = only({line.split("image:")[1].strip() for line in text.splitlines() if line.strip().startswith(("image:", "- image:"))})
    cluster.kubectl("apply", "-f", "-", given=text.replace(named, cluster.image))
    name = cluster.launched("saltworks")
    cluster.succeeded(name, 1100)
    assert "helped" in cluster.log()
    chosen = load(["--root", str(volume), "--publish.version", "1"], environ={})
    assert "version 1 is whole" in verbs.VERBS["verify"][0](chosen, Events("json"))
    report = only(volume.glob("digits/runs/*/report/report.html")).read_text()
    assert "<html" in report
    assert "helped" in report
    status = cluster.rayjob(name)["status"]
    assert "created" not in cluster.kubectl("apply", "-f", "-", given=text.replace(named, cluster.image))
    assert cluster.rayjob(name)["status"] == status   # a second apply of the finished job
