"""EDGE. The verbs ``preflight`` and ``refresh``: a RayJob is created once its plan holds, so what cannot end well rents nothing.

Both take the RayJob from a manifest file, and both may be repeated: the object's name says what it is, and one that is
there is done. A tick of a CronJob gives each refresh its name and its edition.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from job import admit, lives, preview
from job.errors import JobError, SettingsError, TemporaryError, redact
from job.ground.events import Events
from job.kube import GROUP, VERSION, RayJobs
from job.settings import Settings, env_name

LONGEST = 47               # of a RayJob's name; the operator refuses more
LONGEST_MESSAGE = 1000     # of an event; the API refuses more than 1024
EVENT_S = 5.0              # an event that says why is worth this wait; the log says it, too
FINISHED = ("Complete", "Failed", "ValidationFailed")   # nothing runs, and nothing will
DATASET, INSTANCE = "saltworks/dataset", "app.kubernetes.io/instance"
Manifest = dict[str, Any]


def preflight(settings: Settings, events: Events) -> str:
    """Create the RayJob of the manifest, if its plan holds; one that is there is left alone."""
    with _told(settings, "PreflightFailed", events):
        return _preflight(settings, events)


def refresh(settings: Settings, events: Events) -> str:
    """Create the RayJob of this tick, if its plan holds and none of its dataset runs; then remove old ones."""
    with _told(settings, "RefreshFailed", events):
        return _refresh(settings, events)


def _preflight(settings: Settings, events: Events) -> str:
    rayjob = read_manifest(settings)
    jobs = RayJobs(rayjob["metadata"]["namespace"])
    there = jobs.get(rayjob["metadata"]["name"])
    if there is None:
        _check(settings)
        rayjob["metadata"]["ownerReferences"] = _owner(settings)
        if jobs.create(rayjob):
            events.event("rayjob_created", rayjob=rayjob["metadata"]["name"], namespace=jobs.namespace)
            return f"RayJob {_shown(rayjob)} is created: its plan holds"
    return _there(there or rayjob)


def _refresh(settings: Settings, events: Events) -> str:
    tick = settings.kubernetes.tick
    if not tick:
        raise SettingsError(f"{env_name(('kubernetes', 'tick'))} is not set", "fill it from the pod's label batch.kubernetes.io/job-name")
    rayjob = of_tick(read_manifest(settings), tick)
    meta = rayjob["metadata"]
    jobs = RayJobs(meta["namespace"])
    theirs = f"{DATASET}={meta['labels'][DATASET]}"

    def in_the_way() -> Manifest | None:
        return next((one for one in jobs.list(theirs) if not finished(one)), None)

    there, running = jobs.get(meta["name"]), in_the_way()
    if there is None and running is None:
        _check(settings.model_copy(update={"edition": tick, "submission": meta["name"]}))
        running = in_the_way()   # planning may take minutes
        if running is None and jobs.create(rayjob):
            events.event("rayjob_created", rayjob=meta["name"], namespace=jobs.namespace, edition=tick)
            _prune(jobs, rayjob, settings.kubernetes.history, events)
            return f"RayJob {_shown(rayjob)} is created, edition {tick}: its plan holds"
    if there is None and running is not None and running["metadata"]["name"] != meta["name"]:
        why = f"RayJob {running['metadata']['name']} of dataset {meta['labels'][DATASET]} is not finished: edition {tick} is left out"
        _tell(jobs, settings, why, events)
        return f"nothing is created: {why}"
    _prune(jobs, rayjob, settings.kubernetes.history, events)   # a tick that ended between the two is made good
    return _there(there or rayjob)


def _check(settings: Settings) -> None:
    """Raise what stands in the way of a run with these settings; what a former RayJob of the name has met does not."""
    store = admit.open_store(settings)
    store.clock()   # writes a probe: a root that can only be read is told now
    preview.check(store, lives.renew(store, settings))


def read_manifest(settings: Settings) -> Manifest:
    """The RayJob of the manifest file, with its namespace. Raises ``SettingsError`` naming what is wrong with it."""
    setting, path = env_name(("kubernetes", "manifest")), settings.kubernetes.manifest
    if not path:
        raise SettingsError(f"{setting} is not set", "name the file that holds the RayJob")
    try:
        rayjob = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise SettingsError(f"{setting}={path!r} cannot be read: {why}", "name a file that holds one RayJob") from None
    said = rayjob if isinstance(rayjob, dict) else {}
    if (said.get("apiVersion"), said.get("kind")) != (f"{GROUP}/{VERSION}", "RayJob"):
        raise SettingsError(f"{setting}={path!r} holds no RayJob of {GROUP}/{VERSION}", "name a file that holds one RayJob")
    meta = said.get("metadata")
    if not isinstance(meta, dict) or not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", str(meta.get("name") or "")):
        raise SettingsError(f"{setting}={path!r} holds a RayJob without a name that begins with a letter", "give it metadata.name")
    meta["namespace"] = settings.kubernetes.namespace or meta.get("namespace")
    if not meta["namespace"]:
        raise SettingsError(f"neither the manifest nor {env_name(('kubernetes', 'namespace'))} names a namespace", "set it")
    meta.setdefault("labels", {}).setdefault(DATASET, settings.dataset)
    return said


def of_tick(rayjob: Manifest, tick: str) -> Manifest:
    """The manifest as the RayJob of one tick: its name, and in every Ray container its edition and submission."""
    made = deepcopy(rayjob)
    name = made["metadata"]["name"] = tick_name(rayjob["metadata"]["name"], tick)
    try:
        cluster = made["spec"]["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", ())]
        for group in groups:   # the first container of a pod is Ray's
            container = group["template"]["spec"]["containers"][0]
            container["env"] = with_env(container.get("env") or (), {
                env_name(("edition",)): tick, env_name(("submission",)): name})
    except (KeyError, TypeError, IndexError) as missing:
        raise SettingsError(f"the RayJob of the manifest has no complete rayClusterSpec: {missing!r}", "render it with the chart") from None
    return made


def with_env(entries: Iterable[Mapping[str, Any]], values: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries with these values: changed where they stand, else behind them, since a later entry may refer to an earlier."""
    changed = [{"name": one["name"], "value": values[one["name"]]} if one["name"] in values else dict(one) for one in entries]
    there = {one["name"] for one in changed}
    return [*changed, *({"name": name, "value": value} for name, value in values.items() if name not in there)]


def tick_name(base: str, tick: str) -> str:
    """``<base>-<scheduled time in minutes>``, as the Job of the tick is called; a Job that was made by hand gives a hash."""
    end = tick.rpartition("-")[2]
    suffix = end if re.fullmatch(r"\d{6,10}", end) else _hash(tick)
    if len(base) + 1 + len(suffix) > LONGEST:   # the hash keeps apart what begins alike
        base = f"{base[: LONGEST - len(suffix) - 10].rstrip('-')}-{_hash(base)}"
    return f"{base}-{suffix}"


def finished(rayjob: Manifest) -> bool:
    """Whether nothing of it runs any more. One that is suspended, retried or being deleted is not finished."""
    return (rayjob.get("status") or {}).get("jobDeploymentStatus") in FINISHED


def _prune(jobs: RayJobs, rayjob: Manifest, history: int, events: Events) -> None:
    """Remove the oldest finished RayJobs of this dataset and release beyond ``history``. Trouble is told, and no failure."""
    labels = rayjob["metadata"]["labels"]
    mine = f"{INSTANCE}={labels[INSTANCE]}" if INSTANCE in labels else f"!{INSTANCE}"
    try:
        over = [one for one in jobs.list(f"{DATASET}={labels[DATASET]},{mine}") if finished(one)]
        for one in over[: max(0, len(over) - history)]:
            if jobs.delete(one):
                events.event("rayjob_removed", rayjob=one["metadata"]["name"], namespace=jobs.namespace)
    except JobError as error:
        events.event("prune_failed", why=str(error))


def _tell(jobs: RayJobs, settings: Settings, why: str, events: Events) -> None:
    """Why this tick does nothing, as an event of its Job."""
    events.event("refresh_skipped", why=why)
    tick = settings.kubernetes.tick
    name, _, uid = settings.kubernetes.owner.partition("/")
    _file(jobs, {"name": tick} | ({"uid": uid} if name == tick else {}), "Normal", "RefreshSkipped", why, events)


@contextmanager
def _told(settings: Settings, reason: str, events: Events) -> Iterator[None]:
    """What ends the block, with code and cure, as an event of the Job that calls, where Job and namespace are known."""
    try:
        yield
    except JobError as error:
        name, slash, uid = settings.kubernetes.owner.partition("/")
        if slash and settings.kubernetes.namespace:
            with suppress(JobError):   # the error itself is what must be told
                jobs = RayJobs(settings.kubernetes.namespace, patience_s=EVENT_S)
                _file(jobs, {"name": name, "uid": uid}, "Warning", reason, f"exit code {error.exit_code}: {redact(str(error))}", events)
        raise


def _file(jobs: RayJobs, job: Mapping[str, str], kind: str, reason: str, why: str, events: Events) -> None:
    """An event of a Job, once. That it cannot be filed is no failure."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    about = {"apiVersion": "batch/v1", "kind": "Job", "namespace": jobs.namespace, **job}
    try:
        jobs.tell({
            "apiVersion": "v1", "kind": "Event", "type": kind, "reason": reason, "message": why[:LONGEST_MESSAGE],
            "metadata": {"name": f"{job['name']}.{_hash(why)}", "namespace": jobs.namespace}, "involvedObject": about,
            "source": {"component": "saltworks"}, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
            "reportingComponent": "saltworks", "reportingInstance": job["name"],
        })
    except JobError as error:
        events.event("event_failed", why=str(error))


def _owner(settings: Settings) -> list[Manifest]:
    """The preflight Job, so that the RayJob goes with it."""
    name, slash, uid = settings.kubernetes.owner.partition("/")
    return [{"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid}] if slash else []


def _there(rayjob: Manifest) -> str:
    """Raises ``TemporaryError`` for one that is being deleted: soon there will be room for a new one."""
    if rayjob["metadata"].get("deletionTimestamp"):
        raise TemporaryError(f"RayJob {_shown(rayjob)} is being deleted", "run again when it is gone")
    status = rayjob.get("status") or {}
    state = status.get("jobStatus") or status.get("jobDeploymentStatus") or "new"
    return f"RayJob {_shown(rayjob)} is there already ({state}): nothing to do"


def _shown(rayjob: Manifest) -> str:
    return f"{rayjob['metadata']['namespace']}/{rayjob['metadata']['name']}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
