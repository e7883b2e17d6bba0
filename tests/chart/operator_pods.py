"""The pods that the KubeRay operator 1.6 would make of a RayJob, and those of Jobs and CronJobs: what is checked is what runs."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from tests.chart.engine import Object, Rendered

SHELL = ["/bin/bash", "-c", "--"]
SMALL = {"limits": {"cpu": "200m", "memory": "256Mi"}, "requests": {"cpu": "200m", "memory": "256Mi"}}


def pods(rendered: Rendered) -> dict[str, Object]:
    """Every pod of a release by its part: head, worker-<group>, submitter, and the chart's own."""
    found = dict(of_rayjob(rendered.rayjob))
    for one in rendered.objects:
        if one["kind"] == "Pod":
            found[one["metadata"]["labels"]["app.kubernetes.io/component"]] = one
        if one["kind"] in ("Job", "CronJob"):
            spec = one["spec"] if one["kind"] == "Job" else one["spec"]["jobTemplate"]["spec"]
            part = spec["template"]["metadata"]["labels"]["app.kubernetes.io/component"]
            found[part] = _pod(spec["template"], part)
    return found


def of_rayjob(rayjob: Object) -> Iterator[tuple[str, Object]]:
    """Head, workers and submitter, with what the operator adds to them."""
    cluster = rayjob["spec"]["rayClusterSpec"]
    token = {"name": "RAY_AUTH_TOKEN", "valueFrom": {"secretKeyRef": {"name": "cluster", "key": "auth_token"}}}
    head = _ray(_pod(cluster["headGroupSpec"]["template"], "head"), token)
    if cluster.get("enableInTreeAutoscaling"):
        head["spec"]["containers"].append(_autoscaler(cluster, head, token))
        head["spec"]["containers"][0]["volumeMounts"].append({"name": "ray-logs", "mountPath": "/tmp/ray"})
        head["spec"]["volumes"].append({"name": "ray-logs", "emptyDir": {}})
    yield "head", head
    for group in cluster.get("workerGroupSpecs", []):
        yield f"worker-{group['groupName']}", _worker(group, token)
    submitter = _pod(rayjob["spec"].get("submitterPodTemplate") or _default_submitter(cluster), "submitter")
    container = submitter["spec"]["containers"][0]
    container |= {"command": SHELL, "args": ["ray job submit"], "env": [*container.get("env", []), token]}
    yield "submitter", submitter


def _pod(template: Object, part: str) -> Object:
    made = deepcopy(template)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made.get("metadata", {}) | {"name": part}, "spec": made["spec"]}


def _ray(pod: Object, token: Object) -> Object:
    """The Ray container with its command, token, probes and shared memory."""
    container = pod["spec"]["containers"][0]
    probe = {"httpGet": {"path": "/api/healthz", "port": 52365}, "timeoutSeconds": 5}
    container |= {"command": SHELL, "args": ["ulimit -n 65536; ray start --block"], "livenessProbe": probe, "readinessProbe": probe,
                  "env": [*container.get("env", []), token]}
    if "/dev/shm" not in (one["mountPath"] for one in container.setdefault("volumeMounts", [])):
        container["volumeMounts"].append({"name": "shared-mem", "mountPath": "/dev/shm"})
        pod["spec"].setdefault("volumes", []).append({"name": "shared-mem", "emptyDir": {"medium": "Memory"}})
    return pod


def _worker(group: Object, token: Object) -> Object:
    """A worker waits for the head in a container that copies the Ray container's context, environment and mounts."""
    pod = _pod(group["template"], "worker")
    ray = pod["spec"]["containers"][0]
    waits: dict[str, Any] = {"name": "wait-gcs-ready", "image": ray["image"], "command": SHELL, "args": ["ray health-check"],
                             "env": [*deepcopy(ray.get("env", [])), token], "resources": SMALL}
    for copied in ("imagePullPolicy", "securityContext", "volumeMounts"):
        if copied in ray:
            waits[copied] = deepcopy(ray[copied])
    pod["spec"].setdefault("initContainers", []).append(waits)
    return _ray(pod, token)


def _autoscaler(cluster: Object, head: Object, token: Object) -> Object:
    options = cluster.get("autoscalerOptions", {})
    made: dict[str, Any] = {
        "name": "autoscaler", "image": options.get("image", head["spec"]["containers"][0]["image"]), "imagePullPolicy": "IfNotPresent",
        "command": SHELL, "args": ["ray kuberay-autoscaler"],
        "env": [token, *options.get("env", [])],
        "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "500m", "memory": "512Mi"}},
        "volumeMounts": [*options.get("volumeMounts", []), {"name": "ray-logs", "mountPath": "/tmp/ray"}],
    }
    return made | {name: options[name] for name in ("resources", "securityContext", "imagePullPolicy") if name in options}


def _default_submitter(cluster: Object) -> Object:
    """The operator's own: no security context."""
    image = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]["image"]
    return {"spec": {"restartPolicy": "Never", "containers": [{"name": "ray-job-submitter", "image": image}]}}
