"""What each profile rents at most, as a table: pods, CPUs, memory, GPUs, and when."""

from tests.chart.engine import PROFILES, Object, profile, render

UNITS = {"Mi": 2**-10, "Gi": 1.0}
HEAD = "| profile | pods at most | CPUs | memory | GPUs | how long |\n|---|---|---|---|---|---|"


def table() -> str:
    """One row for each profile: the sum of what its pods request."""
    return "\n".join([HEAD, *(_row(name) for name in PROFILES)]) + "\n"


def _row(name: str) -> str:
    rendered = render(profile(name))
    spec = rendered.rayjob["spec"]
    cluster = spec["rayClusterSpec"]
    groups = cluster.get("workerGroupSpecs", [])
    held = [(1, _requests(spec["submitterPodTemplate"])), (1, _requests(cluster["headGroupSpec"]["template"]))]
    held += [(group["maxReplicas"], _requests(group["template"])) for group in groups]
    if cluster.get("enableInTreeAutoscaling"):
        held.append((0, cluster["autoscalerOptions"]["resources"]["requests"]))   # beside the head, in its pod
    cpus = sum(max(1, count) * _cpus(one["cpu"]) for count, one in held)
    memory = sum(max(1, count) * _gib(one["memory"]) for count, one in held)
    gpus = sum(count * int(amount) for count, one in held for key, amount in one.items() if key.startswith("nvidia.com/"))
    when = ("while there is work for them; the head throughout" if cluster.get("enableInTreeAutoscaling")
            else "all of it throughout" if groups else "one pod throughout")
    plans = {"CronJob": "; each tick plans first", "Job": ", after a plan in one small pod"}
    when += next((text for kind, text in plans.items() if kind in rendered.kinds()), "")
    return f"| `{name}` | {sum(count for count, _ in held)} | {cpus:g} | {memory:g} GiB | {gpus} | {when} |"


def _requests(template: Object) -> Object:
    return template["spec"]["containers"][0]["resources"]["requests"]


def _cpus(text: str) -> float:
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def _gib(text: str) -> float:
    return float(text[:-2]) * UNITS[text[-2:]]
