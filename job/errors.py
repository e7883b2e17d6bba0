"""The errors a user can meet, each with its exit code and a cure.

::

    JobError                  70  a defect of ours
    ├── SettingsError         64  wrong settings or usage; nothing was started
    ├── DataError             65  bad input data
    │   └── QualityError      65  a quality gate refused the result
    ├── ConflictError         73  another plan owns this place
    ├── TemporaryError        75  run again to resume
    ├── BudgetError           76  budget reached; committed work is kept
    └── AccessError           77  permission or credentials
"""

import errno
import json
import re
from collections.abc import Callable, Mapping
from typing import Any


class JobError(Exception):
    """Base of all errors that end the job in one readable line.

    ``problem`` names the value and the limit, ``cure`` the way out; both are single sentences.
    """

    exit_code = 70

    def __init__(self, problem: str, cure: str = "") -> None:
        super().__init__(problem, cure)   # both, or a worker could not send the error home
        self.problem = problem
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.problem} → {self.cure}" if self.cure else self.problem


class SettingsError(JobError):
    """A setting or flag is wrong; nothing was started."""

    exit_code = 64


class DataError(JobError):
    """The input data cannot be used."""

    exit_code = 65


class QualityError(DataError):
    """A quality gate refused the result."""


class ConflictError(JobError):
    """Another plan owns this place in the store."""

    exit_code = 73


class TemporaryError(JobError):
    """A passing failure or a preemption: the same command resumes."""

    exit_code = 75


class BudgetError(JobError):
    """The budget is reached; committed work is kept."""

    exit_code = 76


class AccessError(JobError):
    """Permission or credentials are missing."""

    exit_code = 77


def revive(name: str, problem: str, cure: str) -> JobError:
    """The error that another process met, by the name of its class."""
    def tree(kind: type[JobError]) -> list[type[JobError]]:
        return [kind, *(below for child in kind.__subclasses__() for below in tree(child))]

    return {kind.__name__: kind for kind in tree(JobError)}.get(name, JobError)(problem, cure)


def full_disk(error: BaseException) -> TemporaryError | None:
    """The error as one that passes, if all that was wrong is a disk without room; else None."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TemporaryError(f"the disk is full: {error.filename or error.strerror}", "free space and run again")
    return None


def redact(text: str) -> str:
    """``text`` with user parts and queries of URLs hidden. A URL ends at white space; in doubt too much is hidden."""
    return re.sub(r"://(\S+)", lambda match: f"://{_hidden(match[1])}", text)


def redact_all(value: Any, text: Callable[[str], str] = redact) -> Any:
    """Plain values with ``text`` applied to every string that is no key, however deep. Tuples become lists."""
    if isinstance(value, Mapping):
        return {name: redact_all(one, text) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [redact_all(one, text) for one in value]
    return text(value) if isinstance(value, str) else value


def redact_json(text: str) -> str:
    """JSON with every string redacted, however deep."""
    return json.dumps(redact_all(json.loads(text)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _hidden(rest: str) -> str:
    """What may be shown of a URL behind its scheme. A password may hold anything, ``/``, ``@``, ``?`` and quotes too."""
    user, at, place = rest.rpartition("@")
    if at and (":" in user or "/" not in user):
        if "?" in user:   # the @ may be of the password or of the query: both would leak
            return "***"
        rest = f"***@{place}"
    path, _, query = rest.partition("?")
    return f"{path}?***" if query else rest
