"""What lies below a root, who names it, and which runs are still at work: all that ``gc`` decides from.

One listing, and the small records of runs and versions; no image is read. What cannot be read ends the inventory with an
error instead of looking unnamed.
"""

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from job.errors import DataError
from job.ground.layout import SHARED
from job.ground.store import Store
from job.publish import records
from job.records import Unit

READERS = 16
Named = tuple[str, str]            # recipe id and name of a unit


@dataclass(frozen=True, slots=True)
class Thing:
    """One object. ``age_s``: seconds since it was last modified, by the store's clock."""

    key: str
    bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Run:
    """One run as its records show it. ``done_age_s`` is None while it is not finished."""

    dataset: str
    run: str
    recipe: str
    units: frozenset[str]
    done_age_s: float | None
    published: bool


@dataclass(slots=True)
class Unitwise:
    """The objects of one unit of one recipe."""

    commit: Thing | None = None
    data: list[Thing] = field(default_factory=list)
    scores: list[Thing] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Inventory:
    """``things`` by key; ``units`` by recipe and name; ``named``: keys that some version lists; ``published``: its units."""

    things: dict[str, Thing]
    units: dict[Named, Unitwise]
    runs: tuple[Run, ...]
    numbers: dict[str, frozenset[int]]
    named: frozenset[str]
    published: frozenset[Named]


def take(store: Store) -> Inventory:
    """Look at everything below the root. Raises ``DataError`` for a version, plan or round that cannot be read."""
    things = {key: Thing(key, size, age) for key, size, age in store.ages("", partial=True)}
    datasets = sorted({key.partition("/")[0] for key in things if "/" in key} - set(SHARED))
    named: set[str] = set()
    published: set[Named] = set()
    publishers: set[tuple[str, str]] = set()
    numbers = {}
    for dataset in datasets:
        numbers[dataset] = frozenset(records.numbers(store, dataset))
        for version in records.every(store, dataset):
            publishers.add((dataset, version.run))
            named |= {one.key for one in version.files}
            published |= {unit for one in version.of("images") if (unit := unit_of(one.key))}
    return Inventory(things, _by_unit(things.values()), _runs(store, things, publishers), numbers, frozenset(named), frozenset(published))


def unit_of(key: str) -> Named | None:
    """Recipe and unit that a shared object belongs to; None for any other key."""
    match key.split("/"):
        case ["synthetic", recipe, "data", name] if name.endswith(".parquet") and not name.startswith("."):
            return recipe, name.rpartition("-")[0]
        case ["synthetic", recipe, "commits", name] if name.endswith(".json") and not name.startswith("."):
            return recipe, name.removesuffix(".json")
        case ["scores", _, recipe, name] if name.endswith(".parquet") and not name.startswith("."):
            return recipe, name.removesuffix(".parquet")
    return None


def _by_unit(things: Iterable[Thing]) -> dict[Named, Unitwise]:
    units: dict[Named, Unitwise] = {}
    for thing in things:
        unit = unit_of(thing.key)
        if unit:
            one = units.setdefault(unit, Unitwise())
            if thing.key.startswith("scores/"):
                one.scores.append(thing)
            elif "/data/" in thing.key:
                one.data.append(thing)
            else:
                one.commit = thing
    return units


def _runs(store: Store, things: dict[str, Thing], publishers: set[tuple[str, str]]) -> tuple[Run, ...]:
    """Every run that has a plan, with the units of all its rounds."""
    plans, rounds = [], {}
    for key in things:
        match key.split("/"):
            case [dataset, "runs", run, "plan.json"]:
                plans.append((dataset, run))
            case [dataset, "runs", run, "rounds", name] if not name.startswith("."):
                rounds.setdefault((dataset, run), []).append(key)

    def one(place: tuple[str, str]) -> Run:
        root = f"{place[0]}/runs/{place[1]}"
        recipe = _json(store, f"{root}/plan.json")["recipe"]["id"]
        units = frozenset(Unit(*values).name for key in rounds.get(place, ()) for values in _json(store, key))
        done = things.get(f"{root}/done.json")
        return Run(*place, recipe, units, done.age_s if done else None, place in publishers)

    with ThreadPoolExecutor(READERS) as readers:
        return tuple(readers.map(one, sorted(plans)))


def _json(store: Store, key: str) -> dict:
    try:
        return json.loads(store.read(key))
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{key} cannot be read, so what it names is unknown and nothing is removed",
                        "restore it, or remove its run") from None
