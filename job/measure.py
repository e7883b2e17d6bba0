"""HOT. Committed shards → one row of scores per image, stored beside the images. Decides nothing.

Scores belong to a recipe and a metric, not to a run: a later run with the same metric reads them again.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from job import plugs
from job.errors import DataError, JobError, TemporaryError
from job.generate import READERS, Committed, read_commit, read_shard
from job.ground import layout, shards, weights
from job.ground.starts import Starts
from job.ground.store import ReadOnlyFolder, Store
from job.metrics import SAMPLE_METRICS
from job.pool import Floor, UnitWorker, work_off
from job.records import Unit
from job.runplan import MetricPlan, RunPlan

ENDS = 5   # processes that may end over one unit before it is given up: pictures that decode and were stored
READS = 3  # of one score file, where it is not what was stored


def loaded(plan: RunPlan, metric: MetricPlan, device: str) -> Any:
    """A metric of the plan with its weights on the device. Raises ``DataError`` if those are not the plan's."""
    plug = plugs.find(SAMPLE_METRICS, metric.name, "metric")
    one = plug(plugs.options(plug, metric.options, "metric"), [words.name for words in plan.classes])
    folder, digest = weights.fetch(one.location(), one.revision(), ReadOnlyFolder)
    if digest != metric.weights:
        raise DataError(f"the weights of {metric.name} are not those of the plan", "put them back, or start a new run")
    one.load(folder, device)
    return one


class Scorer(UnitWorker):
    """Stands in an actor: all metrics, loaded once; each image is decoded once for all of them."""

    def load(self, plan: RunPlan) -> None:
        self.plan = plan
        self.metrics = [(metric, loaded(plan, metric, self.device)) for metric in plan.metrics]

    def work(self, unit: Unit) -> dict[str, Any]:
        recipe = self.plan.recipe
        missing = [
            (metric, one) for metric, one in self.metrics
            if self.store.get(layout.scores(metric.digest, recipe.id, unit.name)) is None
        ]
        committed = read_commit(self.store, recipe, unit)
        if committed is None:
            raise DataError(f"{unit.name} is not committed", "run again to draw it")
        scored = blind = 0
        if missing:
            Starts(self.store, self.run, "measure", ENDS, self.place.session).begin(unit)
            with self.meter.spending("score"):
                scored, blind = self._score(unit, committed, missing)
        return {"asked": unit.hi - unit.lo - len(committed.failed) if missing else 0, "scored": scored, "blind": blind}

    def _score(self, unit: Unit, committed: Committed, missing: Sequence[tuple[MetricPlan, Any]]) -> tuple[int, int]:
        """Images that have every score, and images that lack one."""
        shard = read_shard(self.store, committed, ["image", "id", "index", "prompt"])
        images, prompts = list(shards.images(shard)), shard["prompt"].to_pylist()
        blind = np.zeros(len(images), bool)
        for metric, one in missing:
            values = one.score(images, prompts=prompts, labels=[unit.label] * len(images)) if images else {}
            columns = {name: np.asarray(values.get(name, ()), np.float32) for name in one.columns}
            for values_M in columns.values():
                blind |= ~np.isfinite(values_M)
            table = pa.table({"id": shard["id"], "index": shard["index"], **columns})
            self.store.create(layout.scores(metric.digest, self.plan.recipe.id, unit.name), shards.sealed(table))
        return int((~blind).sum()), int(blind.sum())


@dataclass(frozen=True, slots=True)
class Measured:
    """What the room did now: images asked for, scored by every metric, and without some score."""

    asked: int
    scored: int
    blind: int


def measure(plan: RunPlan, units: Sequence[Unit], floor: Floor) -> Measured:
    """Score every unit that lacks a score."""
    missing: list[Unit] = []
    for metric in plan.metrics:
        listed = {key for key, _ in floor.store.list(layout.scores_of(metric.digest, plan.recipe.id))}
        missing += [unit for unit in units if layout.scores(metric.digest, plan.recipe.id, unit.name) not in listed]
    missing = list(dict.fromkeys(missing))
    floor.advance((len(units) - len(missing)) * plan.unit_size)
    asked = scored = blind = 0
    for row in work_off(missing, Scorer, (plan,), floor, room="measure", deadline_s=plan.unit_deadline_s) if missing else ():
        asked, scored, blind = asked + row["asked"], scored + row["scored"], blind + row["blind"]
        floor.advance(plan.unit_size)
    if asked != scored + blind:
        raise JobError(f"{asked} images were to be scored, {scored} were and {blind} could not be: some got lost")
    return Measured(asked, scored, blind)


def scores(store: Store, plan: RunPlan, committed: Sequence[Committed]) -> pa.Table:
    """All scores of these units: columns unit, index, and ``metric.column`` for every score."""
    def one(done: Committed) -> pa.Table:
        columns: dict[str, Any] = {}
        for metric in plan.metrics:
            table = _read(store, metric, plan.recipe.id, done.unit)
            columns |= {"index": table["index"]}
            columns |= {f"{metric.name}.{name}": table[name] for name in table.column_names if name not in ("id", "index")}
        size = len(columns["index"]) if columns else 0
        return pa.table({"unit": pa.array([done.unit.name] * size, pa.string()), **columns})

    with ThreadPoolExecutor(READERS) as readers:
        return pa.concat_tables(list(readers.map(one, committed))) if committed else pa.table({"unit": pa.array([], pa.string())})


def _read(store: Store, metric: MetricPlan, recipe: str, unit: Unit) -> pa.Table:
    """The unit's scores. What was damaged on its way is read again; raises ``DataError`` if it lies there so."""
    key = layout.scores(metric.digest, recipe, unit.name)
    for _ in range(READS):
        try:
            table = shards.unsealed(store.read(key))
        except KeyError:
            raise TemporaryError(f"{key} is gone", "run again to score the unit") from None
        if table is not None:
            return table
    raise DataError(f"{key} does not hold what was measured", "restore it, or delete it to score the unit again")
