"""Values files that cannot work, each with the words that its refusal has to contain: the path, and where a rule speaks the cure."""

from copy import deepcopy
from typing import Any

from tests.chart.engine import Object

GOOD: Object = {
    "settings": {"SALTWORKS_ROOT": "s3://bucket/salt", "SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 1},
    "workerGroups": [{"name": "draw", "gpus": 1, "maxReplicas": 2}, {"name": "tasks", "role": "cpu"}],
}
FIXED = {"scaling": "fixed", "workerGroups": [{"name": "draw", "gpus": 1, "replicas": 2}]}


def group(**fields: Any) -> Object:
    """The good values with another first group."""
    return {"workerGroups": [{"name": "draw", "gpus": 1} | fields, {"name": "tasks", "role": "cpu"}]}


def setting(name: str, value: Any) -> Object:
    return {"settings": {f"SALTWORKS_{name}": value}}


SCHEMA: list[tuple[Object, list[str]]] = [   # what one value alone can tell
    ({"imag": {}}, ["at ''", "'imag'"]),
    ({"image": {"name": "x"}}, ["at '/image'", "'name'"]),
    ({"image": {"repository": ""}}, ["/image/repository"]),
    ({"image": {"repository": "x@sha256:1"}}, ["/image/repository"]),
    ({"image": {"digest": "latest"}}, ["/image/digest"]),
    ({"image": {"pullPolicy": "Sometimes"}}, ["/image/pullPolicy"]),
    ({"image": {"pullSecrets": ["Not A Name"]}}, ["/image/pullSecrets/0"]),
    (setting("STPES", 3), ["at '/settings'", "'SALTWORKS_STPES'"]),
    ({"settings": {"sweep": {"seeds": 3}}}, ["at '/settings'", "'sweep'"]),
    (setting("SWEEP__SEEDS", "five"), ["/settings/SALTWORKS_SWEEP__SEEDS"]),
    (setting("SWEEP__SEEDS", 0), ["/settings/SALTWORKS_SWEEP__SEEDS"]),
    (setting("SWEEP__ALPHAS", [0, 1.5]), ["/settings/SALTWORKS_SWEEP__ALPHAS"]),
    (setting("FILTER__KIND", "best"), ["/settings/SALTWORKS_FILTER__KIND"]),
    (setting("GENERATOR__NAME", "dall-e"), ["/settings/SALTWORKS_GENERATOR__NAME"]),
    (setting("REAL__NAME", "folder"), ["/settings/SALTWORKS_REAL__NAME"]),
    (setting("GENERATOR__OPTIONS__STPES", 3), ["at '/settings'", "'SALTWORKS_GENERATOR__OPTIONS__STPES'"]),
    (setting("GENERATOR__OPTIONS", {"stpes": 3}), ["/settings/SALTWORKS_GENERATOR__OPTIONS"]),
    (setting("MEASURE__METRICS", {"clipscroe": {}}), ["/settings/SALTWORKS_MEASURE__METRICS", "clipscroe"]),
    (setting("MEASURE__METRICS__CLIPSCORE__BATCH_SIZE", 0), ["/settings/SALTWORKS_MEASURE__METRICS__CLIPSCORE__BATCH_SIZE"]),
    (setting("PRICE__CURRENCY", "euro"), ["/settings/SALTWORKS_PRICE__CURRENCY"]),
    (setting("PRIVACY", "yes"), ["/settings/SALTWORKS_PRIVACY"]),
    (setting("GENERATOR__SEED", 2**60), ["/settings/SALTWORKS_GENERATOR__SEED"]),
    (setting("BUDGET_USD", -1), ["/settings/SALTWORKS_BUDGET_USD"]),
    ({"env": {"1X": "a"}}, ["/env"]),
    ({"env": {"AWS_REGION": 3}}, ["/env/AWS_REGION"]),
    ({"secrets": [{"env": "HF_TOKEN", "secret": "hub"}]}, ["/secrets/0", "key"]),
    ({"secrets": [{"env": "HF_TOKEN", "value": "hf_abc", "secret": "hub", "key": "t"}]}, ["/secrets/0", "'value'"]),
    ({"rayVersion": "latest"}, ["/rayVersion"]),
    ({"retries": -1}, ["/retries"]),
    ({"scaling": "auto"}, ["/scaling"]),
    ({"head": {"rayCpus": -1}}, ["/head/rayCpus"]),
    ({"head": {"shmSize": "2 gigabytes"}}, ["/head/shmSize"]),
    ({"head": {"tolerations": [{"key": "a", "effect": "NoScheduling"}]}}, ["/head/tolerations/0/effect"]),
    ({"head": {"affinity": {"nodeAfinity": {}}}}, ["/head/affinity", "'nodeAfinity'"]),
    (group(name="GPU"), ["/workerGroups/0/name"]),
    (group(role="draw"), ["/workerGroups/0/role"]),
    (group(gpu=1), ["/workerGroups/0", "'gpu'"]),
    (group(gpus=-1), ["/workerGroups/0/gpus"]),
    (group(rayGpus=0.5), ["/workerGroups/0/rayGpus"]),
    (group(maxReplicas=0), ["/workerGroups/0/maxReplicas"]),
    (group(gpuResource="gpu"), ["/workerGroups/0/gpuResource"]),
    (group(resources={"limits": {"memory": "16 GB"}}), ["/workerGroups/0/resources/limits/memory"]),
    ({"deadlines": {"ttl": "1h"}}, ["/deadlines/ttl"]),
    ({"deadlines": {"stopGrace": 0}}, ["/deadlines/stopGrace"]),
    ({"refresh": {"schedule": "every monday"}}, ["/refresh/schedule"]),
    ({"storage": {"modelCache": {"size": "big"}}}, ["/storage/modelCache/size"]),
    ({"storage": {"claim": {"size": "big"}}}, ["/storage/claim/size"]),
    ({"storage": {"weights": {"mountPath": "weights"}}}, ["/storage/weights/mountPath"]),
    ({"networkPolicy": {"storage": [{"cidr": "10.0.0.1", "ports": [9000]}]}}, ["/networkPolicy/storage/0/cidr"]),
    ({"networkPolicy": {"metadata": [{"cidr": "169.254.169.254/32", "ports": [0]}]}}, ["/networkPolicy/metadata/0/ports/0"]),
    ({"monitoring": {"podMonitor": {"interval": "often"}}}, ["/monitoring/podMonitor/interval"]),
    ({"labels": {"team": "a b"}}, ["/labels/team"]),
    ({"serviceAccounts": {"driver": {}}}, ["/serviceAccounts", "'driver'"]),
    ({"replaceRunning": "yes"}, ["/replaceRunning"]),
]
RULES: list[tuple[Object, list[str]]] = [   # what several tell together: the path, the value, and after it the cure
    ({"settings": {"SALTWORKS_ROOT": None}}, ["settings.SALTWORKS_ROOT", '""', "use a bucket"]),
    (setting("ROOT", "/data"), ["settings.SALTWORKS_ROOT", "/data", "storage.claim"]),
    (setting("ROOT", "memory://x"), ["settings.SALTWORKS_ROOT", "memory://x", "use a bucket"]),
    (setting("ROOT", "s3://user:word@host/x"), ["settings.SALTWORKS_ROOT", "secrets"]),
    (setting("ROOT", "file:///data"), ["settings.SALTWORKS_ROOT", "file:///data", "storage.claim"]),
    (setting("REAL__OPTIONS", {"url": "https://me:word@host/x"}), ["settings.SALTWORKS_REAL__OPTIONS", "secrets"]),
    (setting("REAL__OPTIONS__URL", "https://host/x?a=b&X-Amz-Signature=abc"), ["settings.SALTWORKS_REAL__OPTIONS__URL", "secrets"]),
    (setting("REAL__OPTIONS", {"url": "https://host/x?sv=1&sig=abc"}), ["settings.SALTWORKS_REAL__OPTIONS", "secrets"]),
    (setting("ROOT", "/elsewhere") | {"storage": {"claim": {"existing": "mine"}}}, ["settings.SALTWORKS_ROOT", "/elsewhere", "/data"]),
    (setting("DATASET", "a" * 64), ["settings.SALTWORKS_DATASET", "a" * 64, "63"]),
    (setting("GENERATOR__ACTORS", 4), ["settings.SALTWORKS_GENERATOR__ACTORS", "4", "2", "leave it out"]),
    (setting("SWEEP__PARALLEL_TRIALS", 9), ["settings.SALTWORKS_SWEEP__PARALLEL_TRIALS", "9", "leave it out"]),
    (setting("RETRIES", 1), ["settings.SALTWORKS_RETRIES", "set retries"]),
    (setting("SUBMISSION", "me"), ["settings.SALTWORKS_SUBMISSION", "leave it out"]),
    (setting("IMAGE_DIGEST", "sha256:1"), ["settings.SALTWORKS_IMAGE_DIGEST", "set image.digest"]),
    (setting("GENERATOR__GPUS_PER_ACTOR", 0), ["settings.SALTWORKS_GENERATOR__GPUS_PER_ACTOR", "workerGroups[0]", "set it"]),
    (setting("GENERATOR__GPUS_PER_ACTOR", 2), ["settings.SALTWORKS_GENERATOR__GPUS_PER_ACTOR", "2", "larger pods"]),
    (setting("SWEEP__CPUS_PER_TRIAL", 64), ["SALTWORKS_SWEEP__CPUS_PER_TRIAL", "64", "larger pods"]),
    ({"workerGroups": [], "head": {"rayCpus": 2}}, ["settings.SALTWORKS_GENERATOR__GPUS_PER_ACTOR", "1", "add one"]),
    ({"workerGroups": [], "settings": {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 0}}, ["head.rayCpus", "0", "raise it"]),
    ({"workerGroups": [{"name": "draw", "gpus": 1}]}, ["workerGroups", "role cpu"]),
    ({"workerGroups": [*GOOD["workerGroups"], {"name": "draw"}]}, ["workerGroups[2].name", "draw", "use another"]),
    (group(gpus=0, minReplicas=3, maxReplicas=2), ["workerGroups[0].minReplicas", "3", "2"]),
    (group(minReplicas=1), ["workerGroups[0].minReplicas", "1", "start from zero", "scaling: fixed"]),
    (group(replicas=3), ["workerGroups[0].replicas", "maxReplicas"]),
    (group(role="cpu"), ["workerGroups[0].gpus", "1", "role generate"]),
    (group(rayGpus=0), ["workerGroups[0].rayGpus", "0", "1 GPUs"]),
    (group(resources={"limits": {"nvidia.com/gpu": 1}}), ["workerGroups[0].resources.limits", "nvidia.com/gpu", "set those"]),
    (group(shmSize="32Gi"), ["workerGroups[0].shmSize", "32Gi", "raise the limit"]),
    (group(shmSize="83Mi"), ["workerGroups[0].shmSize", "83Mi", "75 MiB", "84Mi"]),
    (group(tmpSize="60Gi"), ["workerGroups[0].tmpSize", "60Gi", "storage.modelCache.size", "raise the limit"]),
    (group(resources={"requests": {"memory": "16.5Gi"}}), ["workerGroups[0].resources.requests.memory", "16.5Gi", "16Gi", "ask for less"]),
    ({"head": {"resources": {"limits": {"cpu": "1900m"}}}}, ["head.resources.requests.cpu", "2", "1900m", "raise the limit"]),
    ({"preflight": {"resources": {"requests": {"ephemeral-storage": "60G"}}}}, ["preflight.resources.requests.ephemeral-storage", "60G"]),
    ({"submitter": {"resources": {"requests": {"memory": "2Gi"}}}}, ["submitter.resources.requests.memory", "2Gi", "1Gi"]),
    ({"autoscaler": {"resources": {"limits": {"cpu": "0.1"}}}}, ["autoscaler.resources.requests.cpu", "200m", "0.1"]),
    ({"preflight": {"tmpSize": "51Gi"}}, ["preflight.tmpSize", "51Gi", "50Gi", "raise the limit"]),
    ({"storage": {"modelCache": {"size": "45Gi"}}}, ["head.tmpSize", "10Gi", "45Gi", "50Gi", "raise the limit"]),
    ({"head": {"shmSize": "8Gi"}}, ["head.shmSize", "8Gi", "raise the limit"]),
    ({"scaling": "fixed", "workerGroups": [{"name": "a", "gpus": 1, "maxReplicas": 2}]}, ["workerGroups[0].maxReplicas", "set replicas"]),
    ({"scaling": "fixed", "workerDefaults": {"minReplicas": 1}}, ["workerDefaults", "minReplicas 1", "set replicas"]),
    ({"workerDefaults": {"replicas": 2}}, ["workerDefaults.replicas", "2", "maxReplicas"]),
    (FIXED | {"kueue": {"queueName": "lq"}, "workerGroups": [{"name": f"g{at}"} for at in range(7)]},
     ["workerGroups: 7", "before 0.18", "admits 6", "join"]),
    ({"kueue": {"queueName": "lq"}}, ["kueue.queueName", "lq", "scaling: fixed"]),
    (FIXED | {"kueue": {"priorityClass": "p"}}, ["kueue.priorityClass", "p", "set kueue.queueName"]),
    ({"env": {"SALTWORKS_PRIVACY": "true"}}, ["env.SALTWORKS_PRIVACY", "settings"]),
    ({"env": {"AWS_SECRET_ACCESS_KEY": "abc"}}, ["env.AWS_SECRET_ACCESS_KEY", "secrets"]),
    ({"env": {"HTTPS_PROXY": "http://me:word@proxy"}}, ["env.HTTPS_PROXY", "secrets"]),
    ({"env": {"STORE_URL": "https://host/x?x-amz-signature=abc"}}, ["env.STORE_URL", "secrets"]),
    ({"env": {"PGPASSWORD": "abc"}}, ["env.PGPASSWORD", "secrets"]),
    ({"env": {"PYTHONPATH": "/x"}}, ["env.PYTHONPATH", "leave it out"]),
    ({"env": {"HOME": "/root"}}, ["env.HOME", "leave it out"]),
    ({"secrets": [{"env": "SALTWORKS_ROOT", "secret": "s", "key": "k"}]}, ["secrets[0].env", "SALTWORKS_ROOT", "settings"]),
    ({"secrets": [{"env": "X", "secret": "s", "key": "k"}] * 2}, ["secrets[1].env", "X", "leave one out"]),
    ({"rayVersion": "2.51.0"}, ["rayVersion", "2.51.0", "2.52"]),
    ({"deadlines": {"active": 600, "preRunning": 600}}, ["deadlines.preRunning", "600", "lower it"]),
    ({"refresh": {"schedule": "@daily"}} | setting("EDITION", "may"), ["settings.SALTWORKS_EDITION", "may", "leave it out"]),
    ({"storage": {"claim": {"create": True}}}, ["storage.claim.accessMode", "ReadWriteOnce", "ReadWriteMany"]),
    ({"refresh": {"schedule": "@daily"}, "workerGroups": [], "head": {"rayCpus": 2}, "storage": {"claim": {"create": True}}}
     | {"settings": {"SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 0}}, ["storage.claim.accessMode", "ReadWriteOnce", "a tick", "a bucket"]),
    ({"storage": {"claim": {"create": True, "existing": "mine"}}}, ["storage.claim.existing", "mine", "choose one"]),
    ({"storage": {"weights": {"claim": "w", "mountPath": "/tmp"}}}, ["storage.weights.mountPath", "/tmp", "elsewhere"]),
    ({"storage": {"modelCache": {"mountPath": "/opt/saltworks"}}}, ["storage.modelCache.mountPath", "elsewhere"]),
    ({"serviceAccounts": {"worker": {"create": False}}}, ["serviceAccounts.worker.name", "name one"]),
    ({"labels": {"saltworks/dataset": "x"}}, ["labels.saltworks/dataset", "another key"]),
    ({"annotations": {"ray.io/x": "y"}}, ["annotations.ray.io/x", "another key"]),
]


def merged(change: Object) -> Object:
    """The good values with the change, as Helm would lay one file over another."""
    return _over(deepcopy(GOOD), change)


def _over(below: Object, above: Object) -> Object:
    for name, value in above.items():
        below[name] = _over(below.get(name) or {}, value) if isinstance(value, dict) else value
    return below
