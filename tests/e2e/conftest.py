"""What the tests on a cluster share. They take any cluster: KUBECONFIG says which.

``E2E_IMAGE``: the image as pods name it. ``E2E_HOST``: an address of this machine that pods reach; an S3 server of the
tests' own answers there. Or ``E2E_S3_ENDPOINT``, with the usual variables for its keys: an S3 store that both reach.
``E2E_OPERATOR``: the operator's version, for the record, where it runs beside the cluster.
"""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs

from job.ground.store import Store
from tests.e2e.cluster import Cluster, namespace
from tests.e2e.record import Record
from tests.e2e.witness import SECRETS

GPUS = 2   # that some tests hold at once
PRETEND = ("kubectl patch node NODE --subresource=status --type=json -p "
           """'[{"op":"add","path":"/status/capacity/nvidia.com~1gpu","value":"8"}]'""")


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    for name, why in {"KUBECONFIG": "no cluster", "E2E_IMAGE": "no image"}.items():
        if not os.environ.get(name):
            pytest.skip(f"{why}: {name} is not set (see On Kubernetes in README.md)")
    if not (shutil.which("kubectl") and shutil.which("helm")):
        pytest.skip("kubectl and helm are not both on PATH")
    if named := os.environ.get("E2E_S3_ENDPOINT"):
        yield named
        return
    if not os.environ.get("E2E_HOST"):
        pytest.skip("no storage: neither E2E_S3_ENDPOINT nor E2E_HOST is set (see On Kubernetes in README.md)")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address=os.environ["E2E_HOST"], port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def facts(request: pytest.FixtureRequest) -> dict[str, str]:
    """What was found out about the cluster, for the record."""
    return request.config.pluginmanager.get_plugin("record").facts


@pytest.fixture(scope="session")
def image(endpoint: str, facts: dict[str, str]) -> str:
    """The image, pulled: no test waits for gigabytes. It is started as the README promises: read-only, nobody's user."""
    one = Cluster("default", os.environ["E2E_IMAGE"], endpoint)
    name = f"pull-{uuid.uuid4().hex[:6]}"
    security = {"readOnlyRootFilesystem": True, "runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False}
    container = {"name": "pull", "image": one.image, "args": ["--help"], "securityContext": security}
    one.kubectl("create", "-f", "-", given=json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"restartPolicy": "Never", "containers": [container]}}))

    def over() -> str:
        phase = one.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")
        return phase if phase in ("Succeeded", "Failed") else ""

    assert one.until(over, 900, "the pull of the image") == "Succeeded"
    facts["image"] = one.kubectl("get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0].imageID}")
    one.kubectl("delete", "pod", name, "--wait=false")
    return one.image


@pytest.fixture(scope="session")
def gpus(image: str, facts: dict[str, str]) -> int:
    """How many GPUs the nodes say that they have. None has to compute: what is drawn is drawn by CPUs."""
    there = sum(int(node["status"]["allocatable"].get("nvidia.com/gpu", 0)) for node in Cluster("default", image, "").get("nodes"))
    if there < GPUS:
        pytest.skip(f"{there} nvidia.com/gpu are allocatable on the nodes, and {GPUS} are needed; pretended ones do: {PRETEND}")
    facts["allocatable GPUs"] = str(there)
    return there


@pytest.fixture(scope="module")
def cluster(endpoint: str, image: str) -> Iterator[Cluster]:
    """A namespace of the module's own, and the secret of the storage in it."""
    with namespace(image, endpoint) as one:
        one.secret("storage", id=SECRETS["AWS_ACCESS_KEY_ID"], key=SECRETS["AWS_SECRET_ACCESS_KEY"], hub=SECRETS["HF_TOKEN"])
        yield one


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket; this process reaches it as the pods do."""
    for name, value in {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1", **SECRETS}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"salt-{uuid.uuid4().hex[:8]}"
    s3fs.S3FileSystem().mkdir(name)
    return name


@pytest.fixture
def store(bucket: str) -> Store:
    return Store(f"s3://{bucket}/root", retry_s=5)


@pytest.fixture
def volume(cluster: Cluster) -> Iterator[Path | None]:
    """A folder of this machine that the demo's claim binds; None where a storage class will provide what it asks for."""
    if subprocess.run(["kubectl", "get", "storageclass", "-o", "name"], capture_output=True, text=True, check=True).stdout.strip():
        yield None
        return
    name = f"{cluster.namespace}-{uuid.uuid4().hex[:4]}"
    folder = Path("/tmp") / name
    folder.mkdir()
    folder.chmod(0o777)
    cluster.kubectl("create", "-f", "-", given=json.dumps({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(folder)},
                 "persistentVolumeReclaimPolicy": "Retain", "claimRef": {"namespace": cluster.namespace, "name": "saltworks-data"}}}))
    yield folder
    cluster.kubectl("delete", "rayjobs", "--all", "--wait=false", check=False)   # a claim goes after the pods that hold it
    cluster.kubectl("delete", "pvc", "saltworks-data", "--ignore-not-found", "--timeout=180s", check=False)
    cluster.kubectl("delete", "pv", name, "--wait=false", check=False)
    shutil.rmtree(folder, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Record(config.getoption("--record"), Path(__file__).parent), "record")
