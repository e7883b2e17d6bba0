"""The demo profile on a cluster that has nothing but the operator: real diffusion, a volume, a version that verifies."""

import json
import shutil
from pathlib import Path

import pytest

from job import verbs
from job.ground.events import Events
from job.settings import load
from tests.e2e.cluster import CHART, PROFILES, Cluster, only

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
PLAIN = CHART.parents[1] / "k8s" / "demo"


def by_file(cluster: Cluster, folder: Path) -> None:
    text = (PLAIN / "all.yaml").read_text()
    named = only({line.split("image:")[1].strip().strip('"') for line in text.splitlines() if " image:" in line})
    (folder / "all.yaml").write_text(text.replace(named, cluster.image))
    cluster.kubectl("apply", "-f", str(folder / "all.yaml"))


def by_kustomize(cluster: Cluster, folder: Path) -> None:
    for file in PLAIN.iterdir():
        shutil.copy(file, folder)
    repository, tag = cluster.named
    images = json.dumps([{"name": "saltworks", "newName": repository, "newTag": tag}])
    file = folder / "kustomization.yaml"
    file.write_text(f"{file.read_text()}\nimages: {images}\n")
    cluster.kubectl("apply", "-k", str(folder))


def by_helm(cluster: Cluster, folder: Path) -> None:
    repository, tag = cluster.named
    cluster.helm("upgrade", "--install", "saltworks", str(CHART), "-f", str(PROFILES / "demo.yaml"),
                 "--set", f"image.repository={repository},image.tag={tag}")


@pytest.mark.parametrize("applied", [by_file, pytest.param(by_kustomize, marks=pytest.mark.long),
                                     pytest.param(by_helm, marks=pytest.mark.long)])
def test_the_demo_profile_ends_in_success_with_a_version_that_verifies_from_outside(
    cluster: Cluster, volume: Path | None, tmp_path: Path, applied
) -> None:
    applied(cluster, tmp_path)
    name = cluster.launched("saltworks")
    status = cluster.succeeded(name, 1300)
    assert "helped" in cluster.log(name)
    if volume:
        chosen = load(["--root", str(volume), "--publish.version", "1"], environ={})
        assert "version 1 is whole" in verbs.VERBS["verify"][0](chosen, Events("json"))
        report = only(volume.glob("digits/runs/*/report/report.html")).read_text()
        assert "<html" in report
        assert "helped" in report
    else:
        assert "version 1 is whole" in cluster.in_pod("saltworks-data", "verify", "1")
    applied(cluster, tmp_path)   # once more: a finished job is left alone
    assert cluster.launched("saltworks") == name
    assert cluster.rayjob(name)["status"] == status
    cluster.kubectl("delete", "rayjobs", "--all")
    cluster.helm("uninstall", "saltworks", "--ignore-not-found")
