"""EDGE. What each verb does, in a few lines: settings in, rooms called, the result as text for a person.

A verb imports what it needs inside: the help, and a pod that is about to end (``drain``), wait for no library.
"""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from job.errors import DataError, SettingsError, redact
from job.ground.events import Events
from job.settings import Settings, env_name

if TYPE_CHECKING:
    from job.ground.store import Store
    from job.publish.model import Version

Verb = Callable[..., str]   # of settings and events; of what NAMED holds, of names, too


def _plan(settings: Settings, events: Events) -> str:
    from job import admit, lives, preview

    del events
    store = admit.open_store(settings)
    return preview.check(store, lives.looked_up(store, settings))


def _preflight(settings: Settings, events: Events) -> str:
    from job import kube_jobs

    return kube_jobs.preflight(settings, events)


def _refresh(settings: Settings, events: Events) -> str:
    from job import kube_jobs

    return kube_jobs.refresh(settings, events)


def _advise(settings: Settings, events: Events) -> str:
    from job import run
    from job.report.advice import advice_lines

    return advice_lines(*run.advise(settings.of_fold(0) if settings.crossfits else settings, events))


def _run(settings: Settings, events: Events) -> str:
    from job import crossfit, run
    from job.report import crossed
    from job.report.words import summary_lines

    if settings.crossfits:
        return crossed.lines(*crossfit.all_folds(settings, events))
    return summary_lines(*run.run(settings, events))


def _report(settings: Settings, events: Events) -> str:
    from job import crossfit, run
    from job.report import crossed
    from job.report.words import summary_lines

    if settings.crossfits:
        return crossed.lines(*crossfit.again(settings, events))
    return summary_lines(*run.redo_report(settings, events))


def _compare(settings: Settings, events: Events, *runs: str) -> str:
    from job import compare
    from job.report import compared

    del events
    return compared.lines(*compare.compare(settings, runs))


def _publish(settings: Settings, events: Events) -> str:
    from job import run

    if settings.split.folds is not None:
        raise SettingsError("a cross-fitting has no version to publish: its folds train on different images",
                            f"publish a run without {env_name(('split', 'folds'))}")
    return told(run.publish_again(settings, events))


def _verify(settings: Settings, events: Events) -> str:
    from job import admit
    from job.publish import verify

    del events
    store = admit.open_store(settings)
    found = verify.verify(store, settings.dataset, _number(store, settings))
    if found.problems:
        print("\n".join(found.problems))
    found.check()
    return f"version {found.version} is whole: {found.files} files, {found.rows} rows, {found.bytes} bytes hashed again"


def _rollback(settings: Settings, events: Events) -> str:
    from job import admit
    from job.publish import pointer

    del events
    if settings.publish.version is None:
        raise SettingsError("a rollback needs the version to go back to", "write: python -m job rollback NUMBER")
    now = pointer.rollback(admit.open_store(settings), settings.dataset, settings.publish.version)
    return f"latest is version {now.version} of run {now.run} ({now.verdict}); recorded as move {now.move}"


def _gc(settings: Settings, events: Events) -> str:
    from job import admit
    from job.publish import gc

    del events
    chosen = settings.publish
    found = gc.gc(admit.open_store(settings), settings.dataset, chosen.gc_grace_s, chosen.confirm)
    lines = [f"{one.bytes:>12} B  {one.age_s / 86400:6.1f} days  {one.key}  ({one.reason})" for one in found]
    total = f"{len(found)} objects, {sum(one.bytes for one in found)} bytes"
    end = f"removed {total}" if chosen.confirm else f"would remove {total}; nothing was touched: add --publish.confirm true to remove them"
    return "\n".join([*lines, end])


def _export(settings: Settings, events: Events) -> str:
    from job import admit
    from job.publish import export, records

    store, chosen = admit.open_store(settings), settings.publish
    to = _export_to(settings)
    version = records.read(store, settings.dataset, _number(store, settings))
    total = version.mix.n_synthetic if chosen.export_what == "mix" else version.counts.kept
    with events.room("export", total, "images") as advance:
        done = export.export(store, version, to=to, kind=chosen.export_format, what=chosen.export_what,
                             file_bytes=chosen.export_mb * 10**6, advance=advance)
    return f"{done.rows} images in {len(done.files)} files at {to.shown}/{done.folder}"


def _export_to(settings: Settings) -> "Store":
    """Where exports go. Raises ``SettingsError`` for memory://, as of the root."""
    from job.ground.store import Store

    to = Store(settings.publish.export_to or f"{settings.root.rstrip('/')}/{settings.dataset}/exports", settings.storage.retry_s)
    if to.scheme == "memory":
        raise SettingsError(f"{env_name(('publish', 'export_to'))}={redact(repr(settings.publish.export_to))} lives in one process and "
                            "would be lost", "use a folder or a bucket")
    return to


def _doctor(settings: Settings, events: Events) -> str:
    from job import admit, doctor

    del events
    found = doctor.storage(admit.open_store(settings))
    if not found.one_writer_safe:
        print("\n".join(found.lines))
        raise DataError(f"{found.place} breaks promises that the job relies on", "use another root")
    return "\n".join([*found.lines, *(_chip(settings) if settings.doctor.gpu or settings.doctor.cpu else ())])


def _chip(settings: Settings) -> tuple[str, ...]:
    """What the chip of this machine can do with the generator that is set."""
    from job import doctor_gpu

    drawn = settings.generator
    found = doctor_gpu.examine(drawn.name, drawn.options, drawn.templates, drawn.size_px, unit=drawn.unit_size,
                               cpu=settings.doctor.cpu, most=settings.doctor.most_images)
    return found.lines if found else (doctor_gpu.NO_GPU,)


def _drain(settings: Settings, events: Events) -> str:
    """Ends well whatever it finds: the pod ends anyway."""
    from job.ground import drain

    del events
    start = time.monotonic()
    try:
        left = drain.drain(settings.stop_grace_s, lambda text: print(text, flush=True))
    except OSError as error:
        return f"this machine's processes could not be told: {error}"
    took, flag_s = f"{time.monotonic() - start:.1f} s", settings.stop_grace_s + drain.OUTLASTS_S
    return (f"still at work after {took}: {'; '.join(left.values())}. What is not committed will be done again" if left
            else f"drained in {took}: nothing of ours is at work here, and nothing begins for {flag_s:g} s")


def _number(store: "Store", settings: Settings) -> int:
    """The version that was named, else the latest."""
    from job.publish import pointer

    if settings.publish.version is not None:
        return settings.publish.version
    latest = pointer.latest(store, settings.dataset)
    if latest is None:
        raise DataError(f"no version of {settings.dataset!r} is the latest below {store.shown}",
                        f"name one: {env_name(('publish', 'version'))}, or publish one with {env_name(('publish', 'move_latest'))}=always")
    return latest.version


def told(version: "Version") -> str:
    """A version in a line."""
    return (f"version {version.number} of {version.dataset}: {version.counts.kept} kept images in "
            f"{len(version.of('images'))} shards; mix at α = {version.mix.alpha:g}: {version.mix.n_real} real, "
            f"{version.mix.n_synthetic} synthetic")


VERBS: Mapping[str, tuple[Verb, str]] = {
    "plan": (_plan, "print what a run would do, and write nothing"),
    "advise": (_advise, "draw a pilot, train three small arms, and say what to expect of the run; the test stays locked"),
    "run": (_run, "all of it, or what is left of it; then publish"),
    "report": (_report, "decide and report again from stored measurements: no GPU, no Ray"),
    "compare": (_compare, "finished runs against the first, on the same test and seeds: compare RUN RUN [RUN …]"),
    "publish": (_publish, "publish a finished run, if it is not published yet"),
    "verify": (_verify, "read a version again, every byte: verify [NUMBER]"),
    "rollback": (_rollback, "point latest at an earlier version: rollback NUMBER"),
    "export": (_export, "copy a version's images into few large files: export [NUMBER]"),
    "gc": (_gc, "what nothing names any more; removed only with --publish.confirm true"),
    "preflight": (_preflight, "in a cluster: plan, and create the RayJob of a manifest if the plan holds"),
    "refresh": (_refresh, "in a cluster: plan, and create the next RayJob, named and dated by the CronJob's tick"),
    "drain": (_drain, "before this machine ends: begin nothing more on it, and wait for what is in flight"),
    "doctor": (_doctor, "probe the storage at the root: what it promises; with --doctor.gpu true the GPU, too"),
}
NUMBERED = ("verify", "rollback", "export")
NAMED = ("compare",)
