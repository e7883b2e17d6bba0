"""The verbs. Turns a ``JobError`` into an exit code and one readable line.

    python -m job plan      print what a run would do, and write nothing
    python -m job run       all of it, or what is left of it
    python -m job report    decide and report again from stored measurements: no GPU, no Ray
"""

import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence

from job.errors import JobError, SettingsError, TemporaryError, redact

VERBS = ("plan", "run", "report")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        print(__doc__)
        print("Every setting is a flag too: SALTWORKS_SWEEP__SEEDS=3 is --sweep.seeds 3. The table stands in README.md.")
        return 0 if given else SettingsError.exit_code
    signal.signal(signal.SIGTERM, signal.default_int_handler)   # an evicted pod ends as Ctrl-C does: 75, and resumes
    try:
        return _verb(given[0], given[1:])
    except JobError as error:
        print(f"saltworks: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("saltworks: interrupted → run again to resume", file=sys.stderr)
        return TemporaryError.exit_code
    except Exception as error:   # a defect of ours: one line here, the whole of it in a file
        with tempfile.NamedTemporaryFile("w", prefix="saltworks-defect-", suffix=".txt", delete=False) as file:
            traceback.print_exc(file=file)
        what = redact(" ".join(f"{type(error).__name__}: {error}".split()))[:300]   # one line, however many it had
        print(f"saltworks: a defect of ours, {what} → report it with {file.name}", file=sys.stderr)
        return JobError.exit_code


def _verb(verb: str, flags: Sequence[str]) -> int:
    if verb not in VERBS:
        raise SettingsError(f"unknown verb {verb!r}", f"use one of {', '.join(VERBS)}")
    from job import settings

    chosen = settings.load(flags)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")   # of libraries; ours are in the report
    from job.ground.events import Events

    events = Events(chosen.progress)
    if verb == "plan":
        from job import admit, plan, preview

        store, plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
        planned, _ = admit.known(store, chosen, plugs) or admit.draft(store, chosen, plugs)[:2]
        gen, arms = chosen.generator, chosen.sweep
        print(preview.text(store, planned, drawer=(gen.cpus_per_actor, gen.gpus_per_actor),
                           trainer=(arms.cpus_per_trial, arms.gpus_per_trial)))
        return 0
    from job import run
    from job.report.words import summary_lines

    made, where = (run.run if verb == "run" else run.redo_report)(chosen, events)
    print(summary_lines(made, where))
    return 0


if __name__ == "__main__":
    sys.exit(main())
