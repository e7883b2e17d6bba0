"""The composition root: finds the run of the settings, walks its river, publishes. It is the resume too."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from job import admit, lives, pilot, plan, preview, report
from job.cluster import cluster, listening
from job.errors import DataError
from job.ground import cost, layout
from job.ground.events import Events
from job.ground.store import Store
from job.publish import card, croissant, records, versions
from job.publish.model import Version
from job.records import Split
from job.report.model import Report
from job.results import Advice
from job.river import River
from job.runplan import Chip, Pool, PublishPolicy, RunPlan
from job.settings import Settings, env_name

NO_POOLS = {"generate": Pool(0, 1, 0), "sweep": Pool(0, 1, 0)}   # for a walk that may compute nothing


def run(settings: Settings, events: Events, stay: bool = False) -> tuple[Report, str]:
    """All of it, or what is left of it. Returns the report and where it lies. ``stay``: leaves Ray to the next run."""
    store = admit.open_store(settings)
    with lives.remembered(store, settings) as settings:
        return _run(store, settings, events, stay)


def _run(store: Store, settings: Settings, events: Events, stay: bool) -> tuple[Report, str]:
    planned, split, planning_s = _admitted(store, settings, events)
    keys = layout.Run(planned.dataset, planned.run)
    where = f"{store.shown}/{keys.report('')}"
    if store.get(keys.done()):
        events.event("already_done", run=planned.run)
        made = report.read(store, planned) or _again(store, planned, split, settings, events)
    else:
        with _river(store, planned, split, settings, events, planning_s, stay) as river:
            made = river.walk()
    if settings.publish.when_done:
        publish_run(store, settings, events, planned, split, made)
    return made, where


def _admitted(store: Store, settings: Settings, events: Events) -> tuple[RunPlan, Split, float]:
    """The run of these settings, known or planned now, and the seconds that it took to find out."""
    start = time.perf_counter()
    chosen = plan.choose_plugs(settings)
    planned, split = admit.known(store, settings, chosen) or (None, None)
    if planned is None:
        with events.room("plan", 1, "plan") as advance:
            planned, split = admit.freeze(store, settings, chosen, *admit.draft(store, settings, chosen))
            advance()
    return planned, split, time.perf_counter() - start


@contextmanager
def _river(
    store: Store, planned: RunPlan, split: Split, settings: Settings, events: Events, planning_s: float, stay: bool = False,
) -> Iterator[River]:
    """The river of an unfinished run, with Ray below it: what can be refused is, before anything is started."""
    preview.affordable(store, settings, planned)
    ledger = cost.Ledger(store, layout.Run(planned.dataset, planned.run))
    ledger.add([cost.wall("plan", planning_s)])
    with ExitStack() as joined:
        with ledger.room("ray"):
            pools = joined.enter_context(cluster(settings, stay))
        river = River(store, planned, split, events, pools, budget=settings.budget_usd, privacy=settings.privacy, ledger=ledger,
                      chip=_chip(settings))
        with listening(river.stop, settings.stop_grace_s, events), river.watch.on():
            yield river


def advise(settings: Settings, events: Events) -> tuple[Advice, RunPlan]:
    """A pilot of this run, and what to expect of it; what was drawn for it, the run will find. The test stays locked."""
    store = admit.open_store(settings)
    settings = lives.looked_up(store, settings)
    planned, split, planning_s = _admitted(store, settings, events)
    keys = layout.Run(planned.dataset, planned.run)
    told = pilot.read(store, keys)
    if told is None and (store.get(keys.done()) or store.list(keys.choices())):
        raise DataError(f"run {planned.run} has chosen its α already: an advice would come after the fact",
                        f"read its report, or ask before the next one, under another {env_name(('edition',))}")
    if told is None:
        with _river(store, planned, split, settings, events, planning_s) as river:
            told = river.advise()
    return told, planned


def publish_run(
    store: Store, settings: Settings, events: Events, planned: RunPlan, split: Split, made: Report, again: bool = False
) -> Version:
    """The finished run as a version: made, or found. ``again``: card and description are written anew, too."""
    chosen = settings.publish
    policy = PublishPolicy(chosen.move_latest, chosen.licences, settings.privacy)
    there, _ = records.own(store, planned.dataset, planned.run)   # then its bill is in it, and need not be added up again
    spent = () if there else cost.Ledger(store, layout.Run(planned.dataset, planned.run)).total(planned.price)
    version, latest = versions.publish(store, planned, split, made, spent, policy, settings.image_digest, settings.code_digest)
    for one, name in ((card, card.CARD), (croissant, croissant.DESCRIPTION)):
        if again or store.get(layout.version_file(version.dataset, version.number, name)) is None:
            one.write(store, version)
    events.event("published", version=version.number, latest=latest)
    return version


def publish_again(settings: Settings, events: Events) -> Version:
    """Publish the finished run of these settings, or find its version. Raises ``DataError`` if it is not finished."""
    store, planned, split = _finished(settings)
    made = report.read(store, planned) or _again(store, planned, split, settings, events)
    return publish_run(store, settings, events, planned, split, made, again=True)


def _finished(settings: Settings) -> tuple[Store, RunPlan, Split]:
    store, chosen = admit.open_store(settings), plan.choose_plugs(settings)
    settings = lives.last(store, settings)
    planned, split = admit.known(store, settings, chosen) or admit.draft(store, settings, chosen)[:2]
    if not store.get(layout.Run(planned.dataset, planned.run).done()):
        raise DataError(f"run {planned.run} is not finished", "finish it with: python -m job run")
    return store, planned, split


def redo_report(settings: Settings, events: Events) -> tuple[Report, str]:
    """Decide and report again from stored measurements: no GPU, no Ray. Raises ``DataError`` if any is missing."""
    store, planned, split = _finished(settings)
    where = f"{store.shown}/{layout.Run(planned.dataset, planned.run).report('')}"
    return _again(store, planned, split, settings, events), where


def _again(store: Store, planned: RunPlan, split: Split, settings: Settings, events: Events) -> Report:
    """The report of a finished run, from what it measured."""
    return River(store, planned, split, events, NO_POOLS, privacy=settings.privacy, chip=_chip(settings)).walk()


def _chip(settings: Settings) -> Chip | None:
    """What the user has measured, if it is all there."""
    peak, each = settings.generator.peak_tflops, settings.generator.tflop_per_image
    return None if peak is None or each is None else Chip(peak, each)
