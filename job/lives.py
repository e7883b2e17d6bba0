"""EDGE. The lives of a submission: what became of its earlier starts, and whether another one can help.

KubeRay tries a failed job again as a whole new cluster, whatever its exit code was. A hopeless error is therefore written
down, and met again at once, before anything is rented. What may pass by itself or from outside leaves no record:
temporary failures (75), a budget (76), permissions and credentials (77).

A pod knows the name of its RayJob, never its UID: whether this start is a retry, or the first of a repaired RayJob of the
same name, can only be counted. With ``settings.retries`` a life ends by ``done``, or by ``hopeless`` and as many refusals as
there are retries; other settings end it at once. The next start begins a new life, under a submission id of its own, and
looks at the data again. Without ``retries`` a name is one life. Every record is create-only and tells its life, so starts
at the same time can only refuse once more than they would have had to.
"""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from job import __version__, plan
from job.errors import AccessError, BudgetError, JobError, TemporaryError, full_disk, redact, revive
from job.ground import layout, lineage
from job.ground.store import Store
from job.settings import Settings, env_name

PASSING = (TemporaryError, BudgetError, AccessError)
READERS = 16
NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Life:
    """The life that a start belongs to: its number, its submission id, what it has met (or None), how often that was told."""

    number: int
    submission: str
    met: Sequence[str] | None
    refusals: int


@contextmanager
def remembered(store: Store, settings: Settings) -> Iterator[Settings]:
    """Raise what this submission met before, if that was hopeless; write down how the block ends.

    Yields the settings with the submission id of the present life. Without ``settings.submission`` there is no attempt
    that could be recognised, and nothing is read or written.
    """
    if not settings.submission:
        yield settings
        return
    life = present(store, settings)
    _refuse(store, settings, life)
    try:
        yield _of(settings, life)
    except PASSING:
        raise
    except JobError as error:
        _tell(store, settings, life, type(error).__name__, error.problem, error.cure)
        raise
    except Exception as error:   # a full disk passes; a defect of ours will be met again, too
        if not full_disk(error):
            _tell(store, settings, life, "JobError", f"a defect of ours, {type(error).__name__}: {error}", "report it")
        raise
    if settings.retries is not None:
        _append(store, settings, life, "done")


def present(store: Store, settings: Settings, repaired: bool = True) -> Life:
    """The life that the next start of this submission belongs to. Reads only.

    ``repaired``: other settings than those that met a hopeless error end a life.
    """
    name, ours, told = str(settings.submission), _digest(settings), _records(store, settings)
    mine = _identity(settings)
    number = 0
    while True:
        here = [record for record in told if record["life"] == number]
        met = [record for record in here if record["what"] == "hopeless"]
        refusals = sum(record["what"] == "refused" for record in here)
        if settings.retries is None:
            return Life(number, name, met[-1]["told"] if met else None, refusals)
        over = any(record["what"] in ("done", "renewed") for record in here) or (bool(met) and (
            refusals >= settings.retries or (repaired and all(record["settings"] != ours for record in met))))
        if not over and not _other_run(store, settings, number, mine):
            return Life(number, _id(name, number), met[-1]["told"] if met else None, refusals)
        number += 1


def looked_up(store: Store, settings: Settings) -> Settings:
    """The settings with the submission id of the life that the next start belongs to, for what only looks."""
    return _of(settings, present(store, settings)) if settings.submission else settings


def last(store: Store, settings: Settings) -> Settings:
    """The settings with the submission id of the last life that got as far as a plan: for what takes up a finished run."""
    if settings.submission and settings.retries is not None:
        most = max((record["life"] for record in _records(store, settings)), default=0) + 1
        for number in range(most, -1, -1):
            chosen = settings.model_copy(update={"submission": _id(settings.submission, number)})
            if store.get(layout.submission(settings.dataset, str(chosen.submission))):
                return chosen
    return settings


def renew(store: Store, settings: Settings) -> Settings:
    """For whoever is about to create a RayJob that does not exist: what a former one of this name met is over.

    Returns the settings of the new life. Without ``retries`` a name is one life: raises what it has met.
    """
    if not settings.submission:
        return settings
    life = present(store, settings, repaired=False)   # the settings here are not quite those of its pods
    if life.met and settings.retries is None:
        _refuse(store, settings, life)
    if life.met:
        _append(store, settings, life, "renewed")
    return looked_up(store, settings)


def _refuse(store: Store, settings: Settings, life: Life) -> None:
    """Raise what this life has met, and count that it was told."""
    if not life.met:
        return
    name, problem, cure = life.met
    how = f"then submit again, under another {env_name(('submission',))}"
    if settings.retries is not None:
        with suppress(JobError):   # the error itself is what must be told
            _append(store, settings, life, "refused")
        how = f"then delete the RayJob and what made it, and submit again (refused {life.refusals + 1} of {settings.retries} times)"
    raise revive(name, f"submission {settings.submission!r} has met this before, and trying again cannot help: {problem}", f"{cure}; {how}")


def _tell(store: Store, settings: Settings, life: Life, *told: str) -> None:
    with suppress(JobError):
        _append(store, settings, life, "hopeless", {"told": [redact(one) for one in told], "settings": _digest(settings)})


def _append(store: Store, settings: Settings, life: Life, what: str, more: Mapping[str, Any] = NOTHING) -> None:
    """Put a record at the end of the sequence. Its token makes sure that another's record is never taken for this one."""
    record = json.dumps({"life": life.number, "what": what, "token": uuid.uuid4().hex, **more}, sort_keys=True).encode()
    name = str(settings.submission)
    at = len(store.list(layout.terminals(settings.dataset, name)))
    while not store.create(layout.terminal(settings.dataset, name, at), record):
        at += 1


def _records(store: Store, settings: Settings) -> list[dict[str, Any]]:
    """All that was written about this name, in order."""
    keys = [key for key, _ in store.list(layout.terminals(settings.dataset, str(settings.submission)))]
    with ThreadPoolExecutor(READERS) as readers:   # a name may have been used for years
        return [json.loads(data) for data in readers.map(store.read, keys)]


def _id(name: str, number: int) -> str:
    """The submission id of a life. No RayJob's name holds a dot, so it is never that of another RayJob."""
    return f"{name}.{number}" if number else name


def _of(settings: Settings, life: Life) -> Settings:
    return settings.model_copy(update={"submission": life.submission})


def _digest(settings: Settings) -> str:
    """Of all that whoever repairs a submission may have changed; secrets in URLs are no part of it."""
    return lineage.content_id("settings", __version__, settings.printable())


def _identity(settings: Settings) -> dict[str, Any] | None:
    try:
        return plan.identity(settings, plan.choose_plugs(settings))
    except JobError:
        return None   # the start will say what is wrong


def _other_run(store: Store, settings: Settings, number: int, identity: dict[str, Any] | None) -> bool:
    """Whether this life has planned a run with other settings: then somebody created the RayJob anew with today's."""
    record = store.get(layout.submission(settings.dataset, _id(str(settings.submission), number)))
    return bool(record) and identity is not None and json.loads(record)["identity"] != identity
