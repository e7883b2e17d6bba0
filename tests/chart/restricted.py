"""Pod Security Standard ``restricted``, as admission checks it, and what the product promises beyond it."""

from collections.abc import Iterator
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret", "image"}
TOKENS = "/var/run/secrets/kubernetes.io/serviceaccount"


def complaints(pod: dict[str, Any]) -> list[str]:
    """Why admission would refuse the pod in a namespace that enforces ``restricted``."""
    spec = pod["spec"]
    return [*_pod(spec), *(f"{one['name']}: {why}" for one in containers(pod) for why in _container(one, spec.get("securityContext", {})))]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """All of a pod, those that run first among them."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"], *pod["spec"].get("ephemeralContainers", [])]


def _pod(spec: dict[str, Any]) -> Iterator[str]:
    context = spec.get("securityContext", {})
    for shared in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(shared):
            yield shared
    for volume in spec.get("volumes", []):
        if kinds := set(volume) - {"name"} - VOLUMES:
            yield f"volume {volume['name']}: {', '.join(kinds)}"
    if context.get("sysctls"):
        yield "sysctls"
    if context.get("runAsUser") == 0:
        yield "runAsUser 0"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"


def _container(one: dict[str, Any], pod: dict[str, Any]) -> Iterator[str]:
    own = one.get("securityContext", {})
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true"
    if own.get("runAsUser", pod.get("runAsUser")) == 0:
        yield "runAsUser 0"
    if own.get("seccompProfile", pod.get("seccompProfile", {})).get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile is neither RuntimeDefault nor Localhost"
    capabilities = own.get("capabilities", {})
    if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities"
    if own.get("procMount", "Default") != "Default" or {"role", "user"} & set(own.get("seLinuxOptions", {})):
        yield "procMount or seLinuxOptions"
    if any(port.get("hostPort") for port in one.get("ports", [])):
        yield "hostPort"
    hooks = [one.get(name, {}) for name in ("livenessProbe", "readinessProbe", "startupProbe")] + list(one.get("lifecycle", {}).values())
    if any(hook.get(kind, {}).get("host") for hook in hooks for kind in ("httpGet", "tcpSocket")):
        yield "a probe or hook of another host"


def beyond(pod: dict[str, Any]) -> list[str]:
    """What the product promises of every pod, and admission does not ask."""
    spec, found = pod["spec"], []
    if spec.get("enableServiceLinks") is not False:
        found.append("service links")
    if spec.get("automountServiceAccountToken") is None:
        found.append("automountServiceAccountToken is left to the account")
    for one in containers(pod):
        name = one["name"]
        mounts = {mount["mountPath"] for mount in one.get("volumeMounts", [])}
        if not one.get("securityContext", {}).get("readOnlyRootFilesystem"):
            found.append(f"{name}: writable root")
        if "/tmp" not in mounts:
            found.append(f"{name}: no /tmp")
        if {"name": "HOME", "value": "/tmp"} not in one.get("env", []):
            found.append(f"{name}: HOME")
        for kind in ("requests", "limits"):
            if "memory" not in one.get("resources", {}).get(kind, {}):
                found.append(f"{name}: no {kind} for memory")
    return found


def token_holders(pod: dict[str, Any]) -> set[str]:
    """The containers that hold a token for the Kubernetes API."""
    if pod["spec"].get("automountServiceAccountToken", True):
        return {one["name"] for one in containers(pod)}
    return {one["name"] for one in containers(pod) if TOKENS in (mount["mountPath"] for mount in one.get("volumeMounts", []))}
