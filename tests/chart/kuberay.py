"""What a cluster with the KubeRay operator 1.6 would refuse of an object: the schema, its CEL rules, the operator's own checks."""

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema

CRDS = Path(__file__).parent / "crds"
LONGEST_RAYJOB, LONGEST_TICK = 47, 8
DNS_1035 = r"[a-z]([-a-z0-9]*[a-z0-9])?"


def complaints(thing: dict[str, Any]) -> list[str]:
    """What is wrong with a custom resource, with the path: its shape, or, where that is right, what its fields say together."""
    found = [f"{'.'.join(map(str, one.absolute_path))}: {one.message[:200]}" for one in _validator(thing["kind"]).iter_errors(thing)]
    return found if found or thing["kind"] != "RayJob" else list(_rayjob(thing))


@cache
def _validator(kind: str) -> Any:
    schema = json.loads(gzip.decompress((CRDS / f"{kind}.json.gz").read_bytes()))
    _close(schema)
    schema["properties"]["metadata"] = {"type": "object"}   # a CRD says nothing of it
    return jsonschema.Draft202012Validator(schema)


def _close(node: Any) -> None:
    """As the API server's strict field validation reads it: no unknown fields, and numbers where numbers or text may be."""
    if isinstance(node, list):
        for one in node:
            _close(one)
    if not isinstance(node, dict):
        return
    if node.get("x-kubernetes-int-or-string"):
        node.pop("type", None)
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    if "properties" in node and "additionalProperties" not in node and not node.get("x-kubernetes-preserve-unknown-fields"):
        node["additionalProperties"] = False
    for one in list(node.values()):
        _close(one)


def _rayjob(thing: dict[str, Any]) -> Iterator[str]:
    """CEL rules of the CRD and ``ValidateRayJob*`` of the operator."""
    spec, name = thing["spec"], thing["metadata"]["name"]
    if len(name) > LONGEST_RAYJOB or not re.fullmatch(DNS_1035, name):
        yield f"metadata.name: {name} is no DNS-1035 label of at most {LONGEST_RAYJOB} characters"
    shuts, strategy = spec.get("shutdownAfterJobFinishes", False), spec.get("deletionStrategy")
    if spec.get("suspend") and not shuts:
        yield "spec.suspend: needs shutdownAfterJobFinishes"
    if spec.get("ttlSecondsAfterFinished", 0) > 0 and not shuts:
        yield "spec.ttlSecondsAfterFinished: needs shutdownAfterJobFinishes"
    if strategy is not None:
        legacy = [one for one in ("onSuccess", "onFailure") if one in strategy]
        rules = strategy.get("deletionRules")
        if (legacy and rules is not None) or (len(legacy) != 2 and not rules):
            yield "spec.deletionStrategy: either both legacy policies or rules"
        if rules and shuts:
            yield "spec.deletionStrategy.deletionRules: exclude shutdownAfterJobFinishes"
    if spec.get("submissionMode") == "SidecarMode" and ("submitterPodTemplate" in spec or "submitterConfig" in spec):
        yield "spec.submissionMode: SidecarMode takes no submitter"
    if spec.get("backoffLimit", 0) < 0 or (spec.get("backoffLimit", 0) > 0 and (spec.get("submissionMode") == "InteractiveMode"
                                                                               or spec.get("clusterSelector"))):
        yield "spec.backoffLimit: negative, or in a mode that has none"
    for one in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if one in spec and spec[one] <= 0:
            yield f"spec.{one}: not positive"
    if "rayClusterSpec" not in spec and not spec.get("clusterSelector"):
        yield "spec.rayClusterSpec: missing"
    else:
        yield from _cluster(spec["rayClusterSpec"])


def _cluster(spec: dict[str, Any]) -> Iterator[str]:
    scales = spec.get("enableInTreeAutoscaling", False)
    head, groups = spec["headGroupSpec"], spec.get("workerGroupSpecs", [])
    for path, group in (("headGroupSpec", head), *((f"workerGroupSpecs[{at}]", one) for at, one in enumerate(groups))):
        params = group.get("rayStartParams", {})
        if group.get("resources") and {"num-cpus", "num-gpus", "memory", "resources"} & set(params):
            yield f"{path}: resources twice"
        if "labels" in params:
            yield f"{path}.rayStartParams.labels: not supported"
        if scales and group["template"]["spec"].get("restartPolicy", "Never") != "Never":
            yield f"{path}: the autoscaler needs restartPolicy Never"
    env = {one["name"]: one.get("value") for one in head["template"]["spec"]["containers"][0].get("env", [])}
    for name in ("RAY_REDIS_ADDRESS", "REDIS_USERNAME", "RAY_enable_autoscaler_v2"):
        if name in env:
            yield f"headGroupSpec: {name} in the environment"
    for at, group in enumerate(groups):
        low, high = group.get("minReplicas"), group.get("maxReplicas")
        if not scales and (low is None or high is None):
            yield f"workerGroupSpecs[{at}]: a fixed group needs minReplicas and maxReplicas"
        if (low or 0) < 0 or (high is not None and (low or 0) > high):
            yield f"workerGroupSpecs[{at}]: minReplicas {low}, maxReplicas {high}"
        if group.get("suspend"):
            yield f"workerGroupSpecs[{at}].suspend: not with autoscaling"
    if spec.get("authOptions", {}).get("mode") == "token":
        version = tuple(int(one) for one in str(spec.get("rayVersion") or "0.0").split(".")[:2])
        if version < (2, 52):
            yield f"rayVersion: token authentication needs 2.52, not {spec.get('rayVersion')}"
    if spec.get("autoscalerOptions", {}).get("idleTimeoutSeconds", 0) < 0:
        yield "autoscalerOptions.idleTimeoutSeconds: negative"
