"""What the tests on a cluster share. They take any cluster: KUBECONFIG says which.

``E2E_IMAGE``: the image as pods name it. ``E2E_HOST``: an address of this machine that pods reach; an S3 server of the
tests' own answers there. Or ``E2E_S3_ENDPOINT``, with the usual variables for its keys: an S3 store that both reach.
"""

import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import s3fs

from job.ground.store import Store
from tests.e2e.cluster import CANARY, Cluster


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
def image(endpoint: str) -> str:
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
    one.kubectl("delete", "pod", name, "--wait=false")
    return one.image


@pytest.fixture(scope="module")
def cluster(endpoint: str, image: str) -> Iterator[Cluster]:
    """A namespace of its own that enforces Pod Security `restricted`, and the secret of the storage in it."""
    one = Cluster(f"salt-{uuid.uuid4().hex[:6]}", image, endpoint)
    one.kubectl("create", "-f", "-", given=json.dumps({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": one.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}))
    one.secret("storage", id=os.environ.get("AWS_ACCESS_KEY_ID", "key"), key=os.environ.get("AWS_SECRET_ACCESS_KEY", "secret"),
               canary=CANARY)
    yield one
    one.kubectl("delete", "rayjobs", "--all", "--wait=false", check=False)
    one.kubectl("delete", "namespace", one.namespace, "--wait=false")


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new bucket; this process reaches it as the pods do."""
    for name, value in {"AWS_ENDPOINT_URL": endpoint, "AWS_DEFAULT_REGION": "us-east-1",
                        "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID", "key"),
                        "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY", "secret")}.items():
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
    cluster.kubectl("delete", "pvc", "saltworks-data", "--ignore-not-found")
    cluster.kubectl("delete", "pv", name, "--wait=false", check=False)
    shutil.rmtree(folder, ignore_errors=True)


class Record:
    """What each test on the cluster took, for a file that is committed."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, float]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "tests/e2e" in report.nodeid and (report.when == "call" or report.outcome != "passed"):
            name = report.nodeid.rsplit("::", 1)[1].removeprefix("test_").replace("_", " ")
            self.rows.append((name, report.outcome, report.duration))

    def text(self) -> str:
        """A page of Markdown."""
        version = json.loads(subprocess.run(["kubectl", "version", "-o", "json"], capture_output=True, text=True, check=True).stdout)
        helm = subprocess.run(["helm", "version", "--short"], capture_output=True, text=True, check=True).stdout.strip()
        crd = subprocess.run(["kubectl", "get", "crd", "rayjobs.ray.io", "-o", "json"], capture_output=True, text=True, check=True).stdout
        versions = {
            "date": time.strftime("%Y-%m-%d"), "Kubernetes": version["serverVersion"]["gitVersion"], "Helm": helm,
            "RayJob API": ", ".join(one["name"] for one in json.loads(crd)["spec"]["versions"]),
            "Ray": metadata.version("ray"), "torch": metadata.version("torch"),
            "machine": f"{os.cpu_count()} CPUs, no GPU that computes",
        }
        lines = [f"- {name}: {one}" for name, one in versions.items()]
        head = ["# What ran on a real cluster", "", "Written by `make e2e-full`.", "", *lines]
        rows = [f"| {name} | {outcome} | {seconds:.0f} |" for name, outcome, seconds in self.rows]
        return "\n".join([*head, "", "| test | outcome | seconds |", "|---|---|---|", *rows, ""])


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--record"):
        config.pluginmanager.register(Record(), "record")


def pytest_sessionfinish(session: pytest.Session) -> None:
    record = session.config.pluginmanager.get_plugin("record")
    if record and record.rows:
        Path(session.config.getoption("--record")).write_text(record.text())
