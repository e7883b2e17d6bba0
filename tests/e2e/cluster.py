"""A real cluster, driven by kubectl and helm as a user would drive it, in one namespace."""

import base64
import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from job.ground.store import Store
from tests.e2e.witness import Witness

CHART = Path(__file__).parents[2] / "helm" / "saltworks"
PROFILES = CHART / "profiles"
KINDS = ("rayjobs,rayclusters,jobs,cronjobs,pods,configmaps,secrets,services,serviceaccounts,roles,rolebindings,networkpolicies,"
         "persistentvolumeclaims")   # what a release may make, or what it makes may
T = TypeVar("T")


@dataclass
class Cluster:
    """One namespace, the image to run there, and the S3 endpoint that pods and tests both reach."""

    namespace: str
    image: str
    endpoint: str
    witness: Witness = field(init=False)

    def __post_init__(self) -> None:
        self.witness = Witness(self.namespace, self.kubectl)

    @property
    def named(self) -> tuple[str, str]:
        """Repository and tag of the image."""
        repository, _, tag = self.image.rpartition(":")
        return repository, tag

    def kubectl(self, *arguments: str, given: str = "", check: bool = True) -> str:
        done = subprocess.run(["kubectl", "-n", self.namespace, *arguments], input=given, text=True, capture_output=True, check=False)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def helm(self, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(["helm", "-n", self.namespace, *arguments], text=True, capture_output=True, check=False)
        assert not check or done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout + done.stderr

    def get(self, kind: str, *arguments: str) -> list[dict[str, Any]]:
        """Objects of a kind, narrowed by further arguments."""
        return json.loads(self.kubectl("get", kind, "-o", "json", *arguments))["items"]

    def holds(self) -> set[str]:
        """Everything of ours that is in the namespace, and what was there before."""
        return set(self.kubectl("get", KINDS, "-o", "name").split())

    def rayjob(self, name: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", "rayjob", name, "-o", "json", "--ignore-not-found") or "{}")

    def status(self, name: str) -> dict[str, Any]:
        """What the operator says of a RayJob; empty until it says anything."""
        return self.rayjob(name).get("status", {})

    def pods(self, component: str, release: str) -> list[str]:
        """Names of the pods that are there now."""
        label = f"app.kubernetes.io/component={component},app.kubernetes.io/instance={release}"
        return [one["metadata"]["name"] for one in self.get("pods", "-l", label)]

    def gpu_pods(self, release: str) -> list[str]:
        """Names of the pods that hold a GPU now."""
        label = f"saltworks/role=generate,app.kubernetes.io/instance={release}"
        return [one["metadata"]["name"] for one in self.get("pods", "-l", label)]

    def warm(self) -> bool:
        """Whether every node has the image, so that no pod waits for it."""
        return all(any(name.endswith(self.image) for image in node["status"].get("images", ()) for name in image.get("names") or ())
                   for node in self.get("nodes"))

    def until(self, what: Callable[[], T], seconds: float, told: str) -> T:
        """The first true answer. Fails with the state of the namespace when there is none in time."""
        end = time.monotonic() + seconds
        while not (found := what()):
            assert time.monotonic() < end, f"{told}: not within {seconds:g} s\n{self.state()}"
            time.sleep(0.5)
        return found

    def ended(self, name: str, seconds: float) -> dict[str, Any]:
        """The status of a RayJob whose last attempt is over."""
        def status() -> dict[str, Any]:
            found = self.status(name)
            return found if found.get("jobDeploymentStatus") in ("Complete", "Failed") else {}

        return self.until(status, seconds, f"the end of {name}")

    def succeeded(self, name: str, seconds: float) -> dict[str, Any]:
        status = self.ended(name, seconds)
        assert status["jobStatus"] == "SUCCEEDED", f"{status.get('message')}\n{self.state()}"
        return status

    def log(self, name: str) -> str:
        """What the driver of a RayJob's last attempt said."""
        return self.kubectl("logs", f"job/{name}", "--tail=-1", check=False)

    def events(self, name: str, kind: str) -> list[dict[str, Any]]:
        """The events of one kind in that log."""
        lines = [line[line.index("{"):] for line in self.log(name).splitlines() if f'"event": "{kind}"' in line]
        return [json.loads(line) for line in lines]

    def state(self) -> str:
        return "\n".join(self.kubectl(*words, check=False)[-6000:] for words in (
            ("get", "rayjobs,rayclusters,jobs,pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "-l", "app.kubernetes.io/component=submitter", "--tail=60"),
            ("logs", "-l", "app.kubernetes.io/component=head", "-c", "ray-head", "--tail=30")))

    def install(self, values: dict[str, Any], *flags: str, release: str, verb: str = "install", check: bool = True) -> str:
        """helm install or upgrade with these values; what it printed."""
        file = Path("/tmp") / f"{self.namespace}-{release}-values.json"
        file.write_text(json.dumps(values))
        return self.helm(verb, release, str(CHART), "-f", str(file), *flags, check=check)

    def uninstall(self, release: str) -> None:
        """helm uninstall, once all that it takes away was searched for secrets."""
        self.witness.search()
        self.helm("uninstall", release, "--ignore-not-found")

    def launched(self, release: str) -> str:
        """The name of the only RayJob of a release that is there to stay."""
        found = [one["metadata"] for one in self.get("rayjobs", "-l", f"app.kubernetes.io/instance={release}")]
        (name,) = (one["name"] for one in found if "deletionTimestamp" not in one)
        return name

    def as_it_is(self, name: str) -> tuple[str, int]:
        """What changes with a RayJob when it is replaced, or changed."""
        meta = self.rayjob(name)["metadata"]
        return meta["uid"], meta["generation"]

    def in_pod(self, claim: str, *arguments: str) -> str:
        """What a verb prints in a pod of its own that mounts a claim at /data."""
        security = {"runAsNonRoot": True, "runAsUser": 1000, "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}
        name = f"verb-{arguments[0]}"
        self.kubectl("create", "-f", "-", given=json.dumps({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
                "restartPolicy": "Never", "automountServiceAccountToken": False, "securityContext": {"fsGroup": 1000},
                "containers": [{"name": "verb", "image": self.image, "args": list(arguments), "securityContext": security,
                                "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}]}],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}, {"name": "tmp", "emptyDir": {}}]}}))
        self.until(lambda: self.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}") in ("Succeeded", "Failed"), 300, name)
        told = self.kubectl("logs", name)
        self.kubectl("delete", "pod", name)
        return told

    def secret(self, name: str, **values: str) -> None:
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        self.kubectl("apply", "-f", "-", given=json.dumps(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}))


@contextmanager
def namespace(image: str, endpoint: str) -> Iterator[Cluster]:
    """An empty one that enforces Pod Security `restricted`. At its end no secret was told, and no token was where none belongs."""
    one = Cluster(f"salt-{uuid.uuid4().hex[:6]}", image, endpoint)
    one.kubectl("create", "-f", "-", given=json.dumps({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": one.namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}))
    try:
        with one.witness:
            yield one
    finally:
        one.kubectl("delete", "rayjobs", "--all", "--wait=false", check=False)
        one.kubectl("delete", "namespace", one.namespace, "--wait=false")


@cache
def api_ports() -> list[int]:
    """Where the API server answers: at its Service, and behind it."""
    words = ["kubectl", "get", "endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes", "-o", "json"]
    slices = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)["items"]
    return sorted({443, *(port["port"] for one in slices for port in one["ports"])})


def peers(*ports: int) -> list[dict[str, Any]]:
    """Anybody at these ports, as a NetworkPolicy of the chart has it."""
    return [{"cidr": cidr, "ports": list(ports)} for cidr in ("0.0.0.0/0", "::/0")]


def small(cpu: str, memory: str) -> dict[str, Any]:
    """Requests that several pods of a laptop's cluster can have at once."""
    return {"requests": {"cpu": cpu, "memory": memory, "ephemeral-storage": "1Gi"}, "limits": {"memory": "6Gi", "ephemeral-storage": "8Gi"}}


def fake(cluster: Cluster, bucket: str, *, workers: int, scaling: str = "autoscale", **settings: Any) -> dict[str, Any]:
    """Values of a run without diffusion: two alphas, one seed, ten classes of 24 images in units of four.

    ``workers``: GPU pods, at most or (``scaling`` fixed) at once; 0: all work on the head.
    """
    many = "maxReplicas" if scaling == "autoscale" else "replicas"
    repository, tag = cluster.named
    storage = urlsplit(cluster.endpoint)
    groups = [
        {"name": "gpu", "role": "generate", "gpus": 1, "rayCpus": 1, many: workers, "resources": small("100m", "1Gi"),
         "shmSize": "512Mi", "tmpSize": "2Gi"},
        {"name": "cpu", "role": "cpu", "rayCpus": 2, many: 1, "resources": small("100m", "1Gi"),
         "shmSize": "512Mi", "tmpSize": "2Gi"},
    ]
    return {
        "image": {"repository": repository, "tag": tag},
        "networkPolicy": {"storage": peers(storage.port or (443 if storage.scheme == "https" else 80)), "apiServer": peers(*api_ports())},
        "env": {"AWS_ENDPOINT_URL": cluster.endpoint, "AWS_DEFAULT_REGION": "us-east-1"},
        "secrets": [{"env": "AWS_ACCESS_KEY_ID", "secret": "storage", "key": "id"},
                    {"env": "AWS_SECRET_ACCESS_KEY", "secret": "storage", "key": "key"},
                    {"env": "HF_TOKEN", "secret": "storage", "key": "hub"}],
        "head": {"rayCpus": 0 if workers else 2, "resources": small("200m", "2Gi"), "shmSize": "1Gi", "tmpSize": "2Gi"},
        "workerGroups": groups if workers else [],
        "scaling": scaling,
        "autoscaler": {"idleTimeoutSeconds": 5, "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}},
        "submitter": {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}},
        "preflight": {"resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "4Gi"}}},
        "deadlines": {"ttl": 600, "stopGrace": 30},
        "settings": {
            "SALTWORKS_ROOT": f"s3://{bucket}/root", "SALTWORKS_DATASET": "digits", "SALTWORKS_GENERATOR__NAME": "fake",
            "SALTWORKS_GENERATOR__IMAGES_PER_CLASS": 24, "SALTWORKS_GENERATOR__UNIT_SIZE": 4, "SALTWORKS_GENERATOR__BATCH_SIZE": 2,
            "SALTWORKS_GENERATOR__OPTIONS": {"seconds_per_image": 0.2}, "SALTWORKS_GENERATOR__CPUS_PER_ACTOR": 0.5,
            "SALTWORKS_MEASURE__METRICS": {}, "SALTWORKS_FILTER__KIND": "none", "SALTWORKS_SWEEP__ALPHAS": [0, 0.5],
            "SALTWORKS_SWEEP__ARMS": [],
            "SALTWORKS_SWEEP__SEEDS": 1, "SALTWORKS_SWEEP__CONFIRM_SEEDS": 2, "SALTWORKS_SWEEP__CPUS_PER_TRIAL": 0.5,
            "SALTWORKS_TRAIN__STEPS": 20, "SALTWORKS_PRICE__PER_CPU_HOUR": 1, "SALTWORKS_PRICE__PER_GPU_HOUR": 10,
            **({"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 1, "SALTWORKS_GENERATOR__DEVICE": "cpu"} if workers else
               {"SALTWORKS_GENERATOR__ACTORS": 2, "SALTWORKS_SWEEP__PARALLEL_TRIALS": 2}),
            **settings,
        },
    }


def keys(store: Store, what: str) -> list[str]:
    """Keys below the root that hold the words."""
    return [key for key, _ in store.list("") if what in key]


def only(found: Iterable[T]) -> T:
    (one,) = found
    return one
