"""HOT. Committed shards → one row of scores per image, stored beside the images. Decides nothing.

Scores belong to a recipe and a metric, not to a run: a later run with the same metric reads them again.
"""

import io
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from job import plugs
from job.errors import DataError
from job.generate import READERS, Committed, read_commit, read_shard
from job.ground import layout, shards, weights
from job.ground.events import Advance
from job.ground.store import ReadOnlyFolder, Store
from job.metrics import SAMPLE_METRICS
from job.pool import UnitWorker, work_off
from job.records import Unit
from job.runplan import MetricPlan, Pool, RunPlan


class Scorer(UnitWorker):
    """Stands in an actor: all metrics, loaded once; each image is decoded once for all of them."""

    def load(self, url: str, retry_s: float, plan: RunPlan, gpus: float) -> None:
        start = time.perf_counter()
        self.store, self.plan = Store(url, retry_s), plan
        self.metrics = []
        for metric in plan.metrics:
            plug = plugs.find(SAMPLE_METRICS, metric.name, "metric")
            one = plug(plugs.options(plug, metric.options, "metric"), [words.name for words in plan.classes])
            folder, digest = weights.fetch(one.location(), one.revision(), ReadOnlyFolder)
            if digest != metric.weights:
                raise DataError(f"the weights of {metric.name} are not those of the plan", "put them back, or start a new run")
            one.load(folder, "cuda" if gpus else "cpu")
            self.metrics.append((metric, one))
        self.load_s = time.perf_counter() - start

    def work(self, unit: Unit) -> dict[str, Any]:
        start = time.perf_counter()
        recipe = self.plan.recipe
        missing = [
            (metric, one) for metric, one in self.metrics
            if self.store.get(layout.scores(metric.digest, recipe.id, unit.name)) is None
        ]
        committed = read_commit(self.store, recipe, unit)
        if committed is None:
            raise DataError(f"{unit.name} is not committed", "run again to draw it")
        if missing:
            shard = read_shard(self.store, committed, ["image", "id", "index", "prompt"])
            images, prompts = list(shards.images(shard)), shard["prompt"].to_pylist()
            for metric, one in missing:
                values = one.score(images, prompts=prompts, labels=[unit.label] * len(images)) if images else {}
                table = pa.table({"id": shard["id"], "index": shard["index"], **{
                    name: pa.array(values.get(name, ()), pa.float32()) for name in one.columns}})
                self.store.create(layout.scores(metric.digest, recipe.id, unit.name), shards.table_bytes(table))
        return {"score_s": time.perf_counter() - start}


def measure(store: Store, plan: RunPlan, units: Sequence[Unit], pool: Pool, advance: Advance) -> dict[str, float]:
    """Score every unit that lacks a score. Returns seconds by kind."""
    missing: list[Unit] = []
    for metric in plan.metrics:
        listed = {key for key, _ in store.list(layout.scores_of(metric.digest, plan.recipe.id))}
        missing += [unit for unit in units if layout.scores(metric.digest, plan.recipe.id, unit.name) not in listed]
    missing = list(dict.fromkeys(missing))
    advance((len(units) - len(missing)) * plan.unit_size)
    spent = {"load": 0.0, "score": 0.0}
    for row in work_off(missing, Scorer, (store.url, store.retry_s, plan, pool.gpus), pool) if missing else ():
        for kind in spent:
            spent[kind] += row[f"{kind}_s"]
        advance(plan.unit_size)
    return spent


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
        return pa.concat_tables(list(readers.map(one, committed)))


def _read(store: Store, metric: MetricPlan, recipe: str, unit: Unit) -> pa.Table:
    return pq.read_table(io.BytesIO(store.read(layout.scores(metric.digest, recipe, unit.name))))
