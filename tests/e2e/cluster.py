"""A real cluster, driven by kubectl and helm as a user would drive it, in one namespace."""

import base64
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from job.ground.store import Store

CHART = Path(__file__).parents[2] / "helm" / "saltworks"
PROFILES = CHART / "profiles"
CANARY = "canary-7f3a1c"   # stands in the secret, and nowhere else
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cluster:
    """One namespace, the image to run there, and the S3 endpoint that pods and tests both reach."""

    namespace: str
    image: str
    endpoint: str

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

    def rayjob(self, name: str) -> dict[str, Any]:
        return json.loads(self.kubectl("get", "rayjob", name, "-o", "json", "--ignore-not-found") or "{}")

    def pods(self, component: str, release: str = "salt") -> list[dict[str, Any]]:
        return self.get("pods", "-l", f"app.kubernetes.io/component={component},app.kubernetes.io/instance={release}")

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
            found = self.rayjob(name).get("status", {})
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

    def everything(self) -> str:
        """Every object but the secrets themselves, every log and every event of the namespace."""
        kinds = ("rayjobs,rayclusters,jobs,cronjobs,pods,configmaps,services,serviceaccounts,roles,rolebindings,events,"
                 "networkpolicies,persistentvolumeclaims")
        logs = [self.kubectl("logs", pod["metadata"]["name"], "--all-containers", "--tail=-1", check=False) for pod in self.get("pods")]
        return "\n".join([self.kubectl("get", kinds, "-o", "yaml"), *logs])

    def install(self, values: dict[str, Any], *flags: str, release: str = "salt", verb: str = "install", check: bool = True) -> str:
        """helm install or upgrade with these values; what it printed."""
        file = Path("/tmp") / f"{self.namespace}-{release}-values.json"
        file.write_text(json.dumps(values))
        return self.helm(verb, release, str(CHART), "-f", str(file), *flags, check=check)

    def launched(self, release: str = "salt") -> str:
        """The name of the only RayJob of a release."""
        (one,) = self.get("rayjobs", "-l", f"app.kubernetes.io/instance={release}")
        return one["metadata"]["name"]

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


@dataclass
class Watch:
    """When pods of some kind were there: polled twice a second until it is left."""

    cluster: Cluster
    selector: str
    seen: dict[str, tuple[float, float]] = field(default_factory=dict)   # pod: first and last sight
    most: int = 0

    def __enter__(self) -> "Watch":
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            names = self.cluster.kubectl("get", "pods", "-l", self.selector, "-o", "name", check=False).split()
            self.most = max(self.most, len(names))
            for name in names:
                self.seen[name] = self.seen.get(name, (time.time(), 0))[0], time.time()


def small(cpu: str, memory: str) -> dict[str, Any]:
    """Requests that several pods of a laptop's cluster can have at once."""
    return {"requests": {"cpu": cpu, "memory": memory, "ephemeral-storage": "1Gi"}, "limits": {"memory": "6Gi", "ephemeral-storage": "8Gi"}}


def fake(cluster: Cluster, bucket: str, *, workers: int, scaling: str = "autoscale", **settings: Any) -> dict[str, Any]:
    """Values of a run without diffusion: two alphas, one seed, ten classes of 24 images in units of four.

    ``workers``: GPU pods, at most or (``scaling`` fixed) at once; 0: all work on the head.
    """
    many = "maxReplicas" if scaling == "autoscale" else "replicas"
    repository, tag = cluster.named
    groups = [
        {"name": "gpu", "role": "generate", "gpus": 1, "rayCpus": 1, many: workers, "resources": small("100m", "1Gi"),
         "shmSize": "512Mi", "tmpSize": "2Gi"},
        {"name": "cpu", "role": "cpu", "rayCpus": 2, many: 1, "resources": small("100m", "1Gi"),
         "shmSize": "512Mi", "tmpSize": "2Gi"},
    ]
    return {
        "image": {"repository": repository, "tag": tag},
        "env": {"AWS_ENDPOINT_URL": cluster.endpoint, "AWS_DEFAULT_REGION": "us-east-1"},
        "secrets": [{"env": "AWS_ACCESS_KEY_ID", "secret": "storage", "key": "id"},
                    {"env": "AWS_SECRET_ACCESS_KEY", "secret": "storage", "key": "key"},
                    {"env": "HF_TOKEN", "secret": "storage", "key": "canary"}],
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
