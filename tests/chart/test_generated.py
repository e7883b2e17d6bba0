"""What is generated stands in the repository as it would be generated now; the plain files apply, and follow edits."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart import kuberay, operator_pods, restricted
from tests.chart.annotated import CHART, values
from tests.chart.engine import PROFILES, Object, Rendered, profile, render
from tests.chart.static import objects
from tests.chart_files import HOME, files

pytestmark = pytest.mark.chart
KUBECTL = shutil.which("kubectl")
needs_kubectl = pytest.mark.skipif(not KUBECTL, reason="kubectl is not here: kustomizations cannot be built")


def built(folder: Path, name: str, **edits: object) -> Rendered:
    """A profile's kustomization, edited, as kubectl builds it."""
    shutil.copytree(HOME / "k8s" / name, folder / name)
    path = folder / name / "kustomization.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | edits))
    text = subprocess.run([str(KUBECTL), "kustomize", folder / name], capture_output=True, text=True, check=True).stdout
    return Rendered([one for one in yaml.safe_load_all(text) if one], "")


def in_order(found: list[Object]) -> list[Object]:
    return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))


def test_every_generated_file_is_what_the_repository_holds() -> None:
    stale = [str(path.relative_to(HOME)) for path, text in files() if not path.exists() or path.read_text() != text]
    assert stale == [], "run `make chart`"


def test_the_readme_tells_every_value() -> None:
    told = (CHART / "README.md").read_text()
    assert not [".".join(one.path) for one in values() if f"`{'.'.join(one.path)}`" not in told]


@pytest.mark.parametrize("name", PROFILES)
def test_the_plain_files_are_what_helm_would_install(name: str) -> None:
    plain = [one for one in yaml.safe_load_all((HOME / "k8s" / name / "all.yaml").read_text()) if one]
    assert plain == [one for one in render(profile(name)).objects if one["kind"] != "Pod"]


@needs_kubectl
@pytest.mark.parametrize("name", PROFILES)
def test_the_kustomization_builds_what_the_plain_file_holds(name: str, tmp_path: Path) -> None:
    assert in_order(built(tmp_path, name).objects) == in_order(objects(name))


@needs_kubectl
@pytest.mark.parametrize("name", PROFILES)
def test_a_name_suffix_and_an_image_reach_every_pod(name: str, tmp_path: Path) -> None:
    made = built(tmp_path, name, nameSuffix="-2", images=[{"name": "saltworks", "newName": "r.example.com/s", "newTag": "v9"}])
    there = {(one["kind"], one["metadata"]["name"]) for one in made.objects}
    assert all(one.endswith("-2") for _, one in there)
    rayjob = made.rayjob
    assert rayjob["metadata"]["name"] == render(profile(name)).rayjob["metadata"]["name"] + "-2"
    assert kuberay.complaints(rayjob) == []
    for part, pod in operator_pods.pods(made).items():
        spec = pod["spec"]
        assert ("ServiceAccount", spec.get("serviceAccountName", "")) in there or part == "submitter"
        claims = {one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one}
        assert {("PersistentVolumeClaim", one) for one in claims} <= there
        for container in restricted.containers(pod):
            assert container["image"] == "r.example.com/s:v9"
            assert {("ConfigMap", one["configMapRef"]["name"]) for one in container.get("envFrom", [])} <= there
            submission = {one["value"] for one in container.get("env", []) if one["name"] == "SALTWORKS_SUBMISSION"}
            assert submission <= {rayjob["metadata"]["name"]}


@needs_kubectl
def test_a_replacement_of_the_users_own_reaches_the_settings(tmp_path: Path) -> None:
    place = next(one for one in objects("gpu") if "-settings-" in one["metadata"]["name"])["metadata"]["name"]
    patch = json.dumps([{"op": "replace", "path": "/data/SALTWORKS_ROOT", "value": "gs://mine/salt"}])
    made = built(tmp_path, "gpu", patches=[{"target": {"kind": "ConfigMap", "name": place}, "patch": patch}])
    assert made.settings["SALTWORKS_ROOT"] == "gs://mine/salt"
