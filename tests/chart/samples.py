"""Values files that between them turn everything on: what holds for them holds for what users write."""

from copy import deepcopy
from typing import Any

from tests.chart.engine import PROFILES, Object, profile

BUCKET: Object = {"settings": {"SALTWORKS_ROOT": "s3://bucket/salt"}}
MONITORED: Object = {"podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}, "rules": {"enabled": True},
                     "dashboard": {"enabled": True}}
RICH: Object = {
    "image": {"repository": "registry.example.com/team/saltworks", "digest": "sha256:" + "5a" * 32, "pullSecrets": ["pull"]},
    "settings": {"SALTWORKS_ROOT": "s3://bucket/salt", "SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 0.5, "SALTWORKS_SWEEP__GPUS_PER_TRIAL": 1},
    "env": {"AWS_ENDPOINT_URL": "http://store.example.com:9000", "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token"},
    "secrets": [{"env": "AWS_ACCESS_KEY_ID", "secret": "bucket", "key": "id"}, {"env": "HF_TOKEN", "secret": "hub", "key": "token"}],
    "head": {"tolerations": [{"key": "system", "operator": "Exists"}], "nodeSelector": {"pool": "small"}, "pricePerPodHour": 0.4},
    "workerDefaults": {"nodeSelector": {"pool": "big"}, "resources": {"limits": {"cpu": "6500m"}}},
    "workerGroups": [
        {"name": "draw", "gpus": 2, "spot": True, "pricePerPodHour": 1.5, "runtimeClassName": "nvidia",
         "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "example.com/zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
        {"name": "slices", "gpus": 1, "gpuResource": "nvidia.com/mig-1g.10gb", "pricePerPodHour": 0.25},
        {"name": "fit", "role": "train", "gpus": 1, "gpuResource": "nvidia.com/gpu.shared", "pricePerPodHour": 0.5, "shmSize": "512Mi",
         "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
             "nodeSelectorTerms": [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]}}}},
        {"name": "tasks", "role": "cpu", "tolerations": [{"key": "batch", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
         "pricePerPodHour": 0.1, "priorityClassName": "low"},
    ],
    "storage": {"claim": {"create": True, "accessMode": "ReadWriteMany", "storageClass": "files"},
                "modelCache": {"claim": "models"}, "weights": {"claim": "weights"}},
    "networkPolicy": {"operatorNamespace": "kuberay", "prometheusNamespace": "monitoring",
                      "metadata": [{"cidr": "169.254.169.254/32", "ports": [80]}]},
    "serviceAccounts": {"head": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/x"}}, "worker": {"name": "workers"}},
    "monitoring": MONITORED,
    "labels": {"team": "vision"}, "annotations": {"example.com/owner": "me"}, "priorityClassName": "batch",
}
COUNTS = {"autoscale": {"maxReplicas": 3}, "fixed": {"replicas": 3}}


def rich(scaling: str, **more: Any) -> Object:
    """Nearly every value set."""
    values = deepcopy(RICH) | {"scaling": scaling} | more
    for group in values["workerGroups"]:
        group |= COUNTS[scaling]
    return values


SAMPLES: dict[str, Object] = {name: profile(name) for name in PROFILES} | {
    "bucket and head alone": BUCKET | {"head": {"rayCpus": 4}},
    "all autoscaled": rich("autoscale"),
    "all fixed": rich("fixed"),
    "all queued": rich("fixed", kueue={"queueName": "lq", "priorityClass": "low"}),
    "all refreshed": rich("autoscale", refresh={"schedule": "*/5 * * * *", "suspend": True}),
    "fixed and refreshed": rich("fixed", refresh={"schedule": "@daily"}),
    "open network": BUCKET | {"head": {"rayCpus": 1}, "networkPolicy": {"enabled": False}},
    "an existing claim": {"settings": {"SALTWORKS_ROOT": "/shared/salt"}, "head": {"rayCpus": 1},
                          "storage": {"claim": {"existing": "mine", "mountPath": "/shared"}}},
}
