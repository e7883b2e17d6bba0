"""The demo profile on a cluster that has nothing but the operator: real diffusion, a volume, a version that verifies."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from job import verbs
from job.ground.events import Events
from job.settings import load
from tests.e2e.cluster import CHART, PROFILES, Cluster, namespace, only

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]
PLAIN = CHART.parents[1] / "k8s" / "demo"
CLAIM = "persistentvolumeclaim/saltworks-data"
Way = Callable[[Cluster, Path, str], object]   # the word: apply or delete


@pytest.fixture
def cluster(endpoint: str, image: str) -> Iterator[Cluster]:
    """A namespace of each case's own: one way's objects are in another's way."""
    with namespace(image, endpoint) as one:
        yield one


def by_file(cluster: Cluster, folder: Path, word: str) -> None:
    text = (PLAIN / "all.yaml").read_text()
    named = only({line.split("image:")[1].strip().strip('"') for line in text.splitlines() if " image:" in line})
    (folder / "all.yaml").write_text(text.replace(named, cluster.image))
    cluster.kubectl(word, "-f", str(folder / "all.yaml"))


def by_kustomize(cluster: Cluster, folder: Path, word: str) -> None:
    for file in PLAIN.iterdir():
        shutil.copy(file, folder)
    repository, tag = cluster.named
    images = json.dumps([{"name": "saltworks", "newName": repository, "newTag": tag}])
    file = folder / "kustomization.yaml"
    file.write_text(f"{file.read_text()}\nimages: {images}\n")
    cluster.kubectl(word, "-k", str(folder))


def by_helm(cluster: Cluster, folder: Path, word: str) -> None:
    del folder
    if word == "delete":
        cluster.helm("uninstall", "saltworks")
        return
    repository, tag = cluster.named
    cluster.helm("upgrade", "--install", "saltworks", str(CHART), "-f", str(PROFILES / "demo.yaml"),
                 "--set", f"image.repository={repository},image.tag={tag}")


@pytest.mark.parametrize("way", [by_file, pytest.param(by_kustomize, marks=pytest.mark.long),
                                 pytest.param(by_helm, marks=pytest.mark.long)])
def test_from_an_empty_namespace_the_demo_ends_in_success_with_a_version_that_verifies_from_outside(
    cluster: Cluster, volume: Path | None, tmp_path: Path, way: Way
) -> None:
    empty = cluster.holds()
    way(cluster, tmp_path, "apply")
    name = cluster.launched("saltworks")
    cluster.until(lambda: cluster.status(name).get("jobDeploymentStatus") == "Running", 300, f"the begin of {name}")
    running = cluster.as_it_is(name)
    way(cluster, tmp_path, "apply")   # once more while it runs: it is left alone
    assert cluster.launched("saltworks") == name
    assert cluster.as_it_is(name) == running
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
    way(cluster, tmp_path, "apply")   # and once more: a finished job is left alone, too
    assert cluster.launched("saltworks") == name
    assert (cluster.as_it_is(name), cluster.status(name)) == (running, status)
    cluster.witness.search()
    way(cluster, tmp_path, "delete")
    kept = {CLAIM} if way is by_helm else set()   # Helm leaves the data
    cluster.until(lambda: cluster.holds() - empty == kept, 180, f"a namespace that holds {kept or 'nothing'}")
