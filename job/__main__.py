"""The verbs. Turns a ``JobError`` into an exit code and one readable line."""

import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from itertools import islice

from job.errors import JobError, SettingsError, TemporaryError, full_disk, redact


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(_help())
        return 0 if given else SettingsError.exit_code
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # an evicted pod ends as Ctrl-C does: 75, and resumes
    try:
        return _verb(given[0], given[1:])
    except JobError as error:
        return _told(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _told("interrupted → run again to resume", TemporaryError.exit_code)
    except Exception as error:   # a defect of ours: one line here, the whole of it in a file
        if passing := full_disk(error):
            return _told(str(passing), passing.exit_code)
        with tempfile.NamedTemporaryFile("w", prefix="saltworks-defect-", suffix=".txt", delete=False) as file:
            file.write(redact(traceback.format_exc()))
        what = redact(" ".join(f"{type(error).__name__}: {error}".split()))[:300]   # one line, however many it had
        return _told(f"a defect of ours, {what} → report it with {file.name}", JobError.exit_code)


def _told(what: str, code: int) -> int:
    """Problem and cure in the last line of all output, where a RayJob's status takes them from."""
    sys.stdout.flush()   # else what a pipe held back would come after
    print(f"saltworks: {' '.join(what.split())}", file=sys.stderr, flush=True)
    return code


def _help() -> str:
    from job.verbs import VERBS

    verbs = "\n".join(f"    python -m job {name:<10}{what}" for name, (_, what) in VERBS.items())
    return (f"{verbs}\n\nEvery setting is a flag too: SALTWORKS_SWEEP__SEEDS=3 is --sweep.seeds 3. "
            "The table stands in README.md; run --help lists them.")


def _apart(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names, wherever they stand, and flags with their values."""
    names, flags, rest = list[str](), list[str](), iter(words)
    for word in rest:
        if word.startswith("-"):
            flags += [word] if "=" in word else [word, *islice(rest, 1)]
        else:
            names.append(word)
    return names, flags


def _verb(verb: str, flags: Sequence[str]) -> int:
    from job.verbs import NAMED, NUMBERED, VERBS

    if verb not in VERBS:
        raise SettingsError(f"unknown verb {verb!r}", f"use one of {', '.join(VERBS)}")
    from job import settings

    if verb in NUMBERED and flags and flags[0].isdigit():
        flags = ["--publish.version", *flags]
    names, flags = _apart(flags) if verb in NAMED else ([], flags)
    chosen = settings.load(flags)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")   # of libraries; ours are in the report
    from job.ground.events import Events

    print(VERBS[verb][0](chosen, Events(chosen.progress), *names))
    return 0


def entry() -> None:
    """Run one verb and end with its code at once: nothing that a library's thread still does decides how the process ends.

    An orderly end of the interpreter aborts (134) now and then where a thread of Arrow's holds something of Python's.
    """
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)   # an error is the last line: Ray's threads have more to say
    if "job.cluster" in sys.modules:
        sys.modules["job.cluster"].leave()
    os._exit(code)


if __name__ == "__main__":
    entry()
