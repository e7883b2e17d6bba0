"""EDGE. The few calls to the Kubernetes API: RayJobs of one namespace and events, through the official client.

The only file that knows that client. It needs get, list, create and delete on rayjobs.ray.io, and create on events.
What passes (an API server that is away or busy) is waited out; every other answer ends in an exit code with a cure.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential
from yaml import YAMLError

from job.errors import AccessError, DataError, JobError, SettingsError, TemporaryError, redact
from job.settings import kubeconfig

GROUP, VERSION, PLURAL = "ray.io", "v1", "rayjobs"
PATIENCE_S = 45.0          # below the minute in which a start that cannot go on has to say so
TIMEOUT_S = (5.0, 20.0)    # to connect, to answer
BUSY = (408, 429, 500, 502, 503, 504)
NOTHING: Mapping[str, Any] = {}


class RayJobs:
    """The RayJobs of one namespace. Names the verb and the namespace in every error."""

    def __init__(self, namespace: str, patience_s: float = PATIENCE_S) -> None:
        """Raise ``AccessError`` where nothing says how to reach a cluster."""
        from kubernetes import client

        self.namespace, self._patience_s = namespace, patience_s
        api = client.ApiClient(_configuration())
        self._objects, self._events, self._client = client.CustomObjectsApi(api), client.CoreV1Api(api), client

    def get(self, name: str) -> dict[str, Any] | None:
        """The RayJob, or None."""
        return self._ask("get", lambda: self._objects.get_namespaced_custom_object(*self._place, name, _request_timeout=TIMEOUT_S),
                         fine={"NotFound": None})

    def create(self, rayjob: Mapping[str, Any]) -> bool:
        """Make the RayJob. False if one of its name is there, perhaps made by ourselves when the answer got lost."""
        def make() -> bool:
            self._objects.create_namespaced_custom_object(*self._place, dict(rayjob), _request_timeout=TIMEOUT_S)
            return True

        return self._ask("create", make, fine={"AlreadyExists": False})

    def list(self, selector: str) -> list[dict[str, Any]]:
        """All RayJobs with these labels, oldest first."""
        found = self._ask("list", lambda: self._objects.list_namespaced_custom_object(
            *self._place, label_selector=selector, _request_timeout=TIMEOUT_S))
        return sorted(found["items"], key=lambda one: (one["metadata"].get("creationTimestamp", ""), one["metadata"]["name"]))

    def delete(self, rayjob: Mapping[str, Any]) -> bool:
        """Remove exactly this RayJob, with all it owns. False if it is gone, or has changed since it was listed."""
        seen = rayjob["metadata"]
        options = self._client.V1DeleteOptions(
            propagation_policy="Background",
            preconditions=self._client.V1Preconditions(uid=seen.get("uid"), resource_version=seen.get("resourceVersion")))

        def remove() -> bool:
            self._objects.delete_namespaced_custom_object(*self._place, seen["name"], body=options, _request_timeout=TIMEOUT_S)
            return True

        return self._ask("delete", remove, fine={"NotFound": False, "Conflict": False})

    def tell(self, event: Mapping[str, Any]) -> bool:
        """File an event. False if it is filed already."""
        def file() -> bool:
            self._events.create_namespaced_event(self.namespace, self._client.CoreV1Event.from_dict(dict(event)),
                                                 _preload_content=False, _request_timeout=TIMEOUT_S)
            return True

        return self._ask("create", file, fine={"AlreadyExists": False}, what="events")

    @property
    def _place(self) -> tuple[str, str, str, str]:
        return GROUP, VERSION, self.namespace, PLURAL

    def _ask(self, verb: str, call: Callable[[], Any], *, fine: Mapping[str, Any] = NOTHING, what: str = "rayjobs.ray.io") -> Any:
        """The answer of the call; ``fine``: what the API's reasons mean, where they are about the object itself."""
        from kubernetes.client import ApiException
        from urllib3.exceptions import HTTPError

        def passes(error: BaseException) -> bool:
            return error.status in BUSY if isinstance(error, ApiException) else isinstance(error, HTTPError) and not _untrusted(error)

        tries = Retrying(retry=retry_if_exception(passes), stop=stop_after_delay(self._patience_s),
                         wait=wait_random_exponential(multiplier=0.2, max=5), reraise=True)
        try:
            return tries(call)
        except ApiException as error:
            said = _said(error)
            if said.get("reason") in fine and _of_object(said):
                return fine[said["reason"]]
            raise _told(int(error.status or 0), said, f"{verb} {what} in namespace {self.namespace}", self.namespace) from None
        except HTTPError as error:
            if _untrusted(error):
                raise AccessError(f"the API server's certificate is not trusted: {redact(str(error))}", "name the right CA") from None
            raise TemporaryError(f"the Kubernetes API does not answer: {redact(str(error))}",
                                 "check that the network lets this pod reach it, and run again") from None


def _configuration() -> Any:
    """From the mounted token, else from KUBECONFIG."""
    from kubernetes import client, config

    found = client.Configuration()
    found.retries = 0   # we wait ourselves, and know when to stop
    try:
        config.load_incluster_config(found)
    except config.ConfigException:
        try:
            config.load_kube_config(kubeconfig(), client_configuration=found)
        except (config.ConfigException, OSError, YAMLError) as error:
            raise AccessError(f"nothing says how to reach a Kubernetes cluster: {redact(' '.join(str(error).split()))}",
                              "run in a pod with a mounted token, or set KUBECONFIG") from None
    return found


def _untrusted(error: Exception) -> bool:
    """Whether TLS failed, which no waiting changes."""
    from urllib3.exceptions import SSLError

    return isinstance(error, SSLError) or isinstance(getattr(error, "reason", None), SSLError)


def _said(error: Any) -> dict[str, Any]:
    """The API's own Status object, or what comes nearest to it."""
    try:
        status = json.loads(error.body)
    except (TypeError, ValueError):
        status = None
    return status if isinstance(status, dict) else {"message": " ".join(str(error.body or error.reason or "").split())[:300]}


def _of_object(said: Mapping[str, Any]) -> bool:
    """Whether the answer is about one object, and not about a kind or a namespace that does not exist."""
    details = said.get("details") or {}
    return bool(details.get("name")) and details.get("kind") != "namespaces"


def _told(status: int, said: Mapping[str, Any], what: str, namespace: str) -> JobError:
    """A refusal of the API as an error with a cure."""
    message = redact(str(said.get("message") or status))
    details = said.get("details") or {}
    if status == 404 and details.get("kind") == "namespaces":
        return SettingsError(f"namespace {namespace} does not exist", f"kubectl create namespace {namespace}, or name another")
    if status == 404:
        return SettingsError(f"this cluster knows no RayJob of {GROUP}/{VERSION} ({message})", "install the KubeRay operator, 1.6 or later")
    if status in (401, 403) and "exceeded quota" not in message:
        return AccessError(f"not allowed to {what}: {message}",
                           "give the ServiceAccount a Role with get, list, create, delete on rayjobs.ray.io and create on events")
    if status in (*BUSY, 403, 409, 410):
        return TemporaryError(f"could not {what}: {message}", "run again")
    if status in (400, 413, 415, 422):
        return SettingsError(f"the API refuses the manifest: {message}", "mend it")
    return DataError(f"could not {what}: the API answers {status}: {message}", "check that a Kubernetes API server answers there")
