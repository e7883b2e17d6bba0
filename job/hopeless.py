"""EDGE. A submission that met a hopeless error is told so at once when it is tried again, before it rents anything.

KubeRay retries a failed job as a whole new cluster, whatever its exit code was. The record belongs to the submission, not
to the run: whoever repairs settings or data submits anew, and nothing stands in the way. What may pass by itself or from
outside leaves no record: temporary failures (75), a budget (76), permissions and credentials (77).
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from job.errors import AccessError, BudgetError, JobError, TemporaryError, full_disk, redact, revive
from job.ground import layout
from job.ground.store import Store
from job.settings import Settings, env_name

PASSING = (TemporaryError, BudgetError, AccessError)


@contextmanager
def remembered(store: Store, settings: Settings) -> Iterator[None]:
    """Raise what this submission met before, if that was hopeless; write down a hopeless error that leaves the block.

    Without ``settings.submission`` there is no attempt that could be recognised, and nothing is read or written.
    """
    if not settings.submission:
        yield
        return
    key = layout.terminal(settings.dataset, settings.submission)
    there = store.get(key)
    if there:
        name, problem, cure = json.loads(there)
        raise revive(name, f"submission {settings.submission!r} has met this before, and trying again cannot help: {problem}",
                     f"{cure}; then submit again, under another {env_name(('submission',))}")
    try:
        yield
    except PASSING:
        raise
    except JobError as error:
        _write(store, key, type(error).__name__, error.problem, error.cure)
        raise
    except Exception as error:   # a full disk passes; a defect of ours will be met again, too
        if full_disk(error):
            raise
        _write(store, key, "JobError", f"a defect of ours, {type(error).__name__}: {error}", "report it")
        raise


def _write(store: Store, key: str, *told: str) -> None:
    with suppress(JobError):   # the error itself is what must be told
        store.create(key, json.dumps([redact(one) for one in told]).encode())
