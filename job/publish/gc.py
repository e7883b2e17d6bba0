"""``gc``: what nobody names any more. First a report of it, then, if asked again with ``confirm``, the removal.

Never touched: what a version names, the images of a run that is not finished (of any dataset, for recipes are shared),
those of a run that finished less than ``grace_s`` ago (it may be about to publish), those of another dataset's runs, and
anything younger than ``grace_s`` by the store's clock. Of one unit the scores go first, then the commit, then the data:
a removal that dies on its way leaves data without a commit, which is nothing to anybody, and the next one takes it.

A run that is planned while a removal is under way may still count on a unit that is being removed. It then ends with
the words that the unit has no commit, and draws it again when it is run again.
"""

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from job.ground.files import TEMPORARY
from job.ground.layout import SHARED
from job.ground.store import Store
from job.publish.inventory import Inventory, Named, Run, Thing, Unitwise, take

REMOVERS = 8
LOCK = f"{TEMPORARY}lock-"   # of a pointer; removing a lock while it is held would let two in
FLEETING = {"stops": "told the workers of a finished run to stop", "errors": "carried a worker's error home",
            "starts": "marked a start of a unit that has long been drawn", "compiled": "let later pods of a finished run start warm"}


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object that may go, and why."""

    key: str
    bytes: int
    age_s: float
    reason: str


def gc(store: Store, dataset: str, grace_s: float, confirm: bool) -> tuple[Garbage, ...]:
    """What may be removed, or, with ``confirm``, what was removed; in the order of removal within each unit.

    Looks at the shared images and at what lies below ``dataset``. Raises ``DataError`` if any version, plan or round
    below the root cannot be read: then nothing is removed.
    """
    marked = list(_mark(store, dataset, grace_s))
    if not confirm:
        return tuple(one for group in marked for one in group)
    still = {one.key for group in _mark(store, dataset, grace_s) for one in group}   # somebody may have begun a run meanwhile
    groups = [group for group in marked if all(one.key in still for one in group)]

    def remove(group: list[Garbage]) -> None:
        for one in group:
            store.delete(one.key)

    with ThreadPoolExecutor(REMOVERS) as removers:
        list(removers.map(remove, groups))
    return tuple(one for group in groups for one in group)


def _mark(store: Store, dataset: str, grace_s: float) -> Iterator[list[Garbage]]:
    """Groups of objects; within a group the order of removal matters."""
    there = take(store)
    live = _live_units(there, dataset, grace_s)
    at_work = {(run.recipe, unit) for run in there.runs if run.done_age_s is None for unit in run.units}
    planned = {run.recipe for run in there.runs if run.done_age_s is None and not run.units}   # its units are not frozen yet
    for unit, objects in sorted(there.units.items()):
        if unit[0] in planned:
            continue
        if objects.commit and unit not in live:
            yield from _whole_unit(there, unit, objects, grace_s)
        else:
            yield from _leftovers(store, there, objects, grace_s, begun=unit in at_work)
    yield from _below_dataset(store, there, dataset, grace_s)


def _live_units(there: Inventory, dataset: str, grace_s: float) -> set[Named]:
    live = set(there.published)
    for run in there.runs:
        if run.done_age_s is None or run.done_age_s < grace_s or run.dataset != dataset:
            live |= {(run.recipe, unit) for unit in run.units}
    return live


def _whole_unit(there: Inventory, unit: Named, objects: Unitwise, grace_s: float) -> Iterator[list[Garbage]]:
    """A committed unit that nobody needs: all of it, or nothing while any of it is young."""
    assert objects.commit
    drawn_for = sorted(run.run for run in there.runs if run.recipe == unit[0] and unit[1] in run.units)
    reason = f"drawn for {', '.join(drawn_for)}, finished and named by no version" if drawn_for else "named by no run and no version"
    order = [*objects.scores, objects.commit, *objects.data]
    if all(_old(there, one, grace_s) for one in order):
        yield [Garbage(one.key, one.bytes, one.age_s, reason) for one in order]


def _leftovers(store: Store, there: Inventory, objects: Unitwise, grace_s: float, begun: bool) -> Iterator[list[Garbage]]:
    """Beside a unit that is needed: data of writers that lost. Without a commit: data and scores of nobody."""
    if objects.commit is None:
        if not begun:   # else a writer may be between its data and its commit
            yield from ([_garbage(one, "has no commit")] for one in [*objects.scores, *objects.data] if _old(there, one, grace_s))
    elif len(objects.data) > 1:
        kept = json.loads(store.read(objects.commit.key))["data"]
        yield from ([_garbage(one, "another writer committed this unit first")]
                    for one in objects.data if one.key != kept and _old(there, one, grace_s))


def _below_dataset(store: Store, there: Inventory, dataset: str, grace_s: float) -> Iterator[list[Garbage]]:
    """Single objects of finished runs, of versions that are gone, and of writers that died."""
    finished = {run.run: run for run in there.runs if run.dataset == dataset and run.done_age_s is not None}
    said: dict[str, Any] = {}   # what records say, each read once

    def record(key: str) -> Any:
        if key not in said:
            said[key] = json.loads(store.get(key) or b"null")
        return said[key]

    for thing in there.things.values():
        if not _old(there, thing, grace_s) or thing.key.partition("/")[0] not in (dataset, *SHARED):
            continue
        reason, name = "", thing.key.rpartition("/")[2]
        if name.startswith(TEMPORARY):
            reason = "" if name.startswith(LOCK) else "left behind by a writer that died"
        else:
            match thing.key.split("/"):
                case [home, "runs", run, kind, *_] if home == dataset and run in finished:
                    reason = _of_run(record, finished[run], kind, thing.key)
                case [home, "versions", number, _] if home == dataset and number.isdigit():
                    gone = int(number) not in there.numbers.get(dataset, {int(number)})   # what is shared has no versions
                    reason = "describes a version that is gone" if gone else ""
        if reason:
            yield [_garbage(thing, reason)]


def _of_run(record: Callable[[str], Any], run: Run, kind: str, key: str) -> str:
    """Why an object of a finished run may go; empty where it may not."""
    if kind in FLEETING:
        return FLEETING[kind]
    if kind == "publish" and run.published:   # of others a publish may be about to name it
        return "left by a publish that did not come to its end"
    if kind == "filtered" and key.endswith(".parquet"):
        index = record(f"{run.dataset}/runs/{run.run}/filtered/index.json")
        return "decisions that were not the last" if index is not None and key not in index.values() else ""
    trial = re.fullmatch(r"(.+)-[0-9a-f]{64}\.parquet", key) if kind == "trials" else None
    if trial:
        said = record(f"{trial[1]}.json")
        return "" if said and said["data"] == key else "answers of a trial that another attempt committed"
    return ""


def _old(there: Inventory, thing: Thing, grace_s: float) -> bool:
    return thing.age_s >= grace_s and thing.key not in there.named


def _garbage(thing: Thing, reason: str) -> Garbage:
    return Garbage(thing.key, thing.bytes, thing.age_s, reason)
