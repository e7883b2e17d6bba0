"""EDGE. Decisions class by class: commits and scores in, one table of decisions out, and a tally for the later rooms.

Only one class is in memory at a time, so what the driver holds does not grow with the images of all classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from job import filtering, measure
from job.generate import Committed
from job.ground import layout, lineage, shards
from job.ground.store import Store
from job.records import ClassWords, Tally
from job.runplan import RunPlan

ROWS = 1 << 14                                       # of a row group: the writer holds one of them, encoded
REPEATED = ["unit", "class_key", "state", "reason"]  # a dictionary of ids, which are hashes, takes memory and makes the file larger


def decide(store: Store, plan: RunPlan, words: ClassWords, committed: Sequence[Committed]) -> tuple[Tally, str]:
    """Decide on everything drawn of one class, store every decision with its reason, and return the tally and the key.

    ``committed``: the class's commits. Nothing is stored (and the key is empty) while the class is short of its quota.
    """
    tally, table = judge(store, plan, words, committed, plan.quotas[words.label])
    if tally.short:
        return tally, ""
    data = _packed(table)
    key = layout.Run(plan.dataset, plan.run).filtered(words.key, lineage.sha256(data)[:16])
    store.create(key, data)
    return tally, key


def judge(store: Store, plan: RunPlan, words: ClassWords, committed: Sequence[Committed], quota: int) -> tuple[Tally, pa.Table]:
    """The same, and nothing is stored: the tally, and the decisions."""
    scores = measure.scores(store, plan, committed)
    rule = filtering.Rule(plan.filter.kind, plan.filter.score if plan.filter.kind != "none" else "", plan.filter.minimum)
    table = filtering.decide(rule, quota, _drawn(plan, words, committed, scores))
    return filtering.tally(words, table, scores, quota, plan.unit_size), table


def seal(store: Store, plan: RunPlan, keys: Mapping[str, str]) -> None:
    """Write down which tables hold the decisions: class key to key."""
    store.create(layout.Run(plan.dataset, plan.run).filtered_index(), lineage.canonical(dict(keys)).encode())


def _packed(table: pa.Table) -> bytes:
    """Decisions as Parquet."""
    return shards.table_bytes(table, row_group_size=ROWS, use_dictionary=REPEATED)


def _drawn(plan: RunPlan, words: ClassWords, committed: Sequence[Committed], scores: pa.Table) -> pa.Table:
    """Everything drawn of one class, as ``filtering.decide`` takes it."""
    mine, size = sorted(committed, key=lambda one: one.unit.lo), plan.unit_size
    drawn = len(mine) * size
    failed = np.full(drawn, "", dtype=object)
    for one in mine:
        for index, reason in one.failed:
            failed[index] = reason
    score = np.full(drawn, np.nan, np.float32)
    if plan.filter.kind != "none" and mine:
        score[scores["index"].to_numpy()] = scores[plan.filter.score].to_numpy()
    units = pa.array([one.unit.name for one in mine], pa.string())
    return pa.table({
        "id": pa.array((lineage.sample_id(plan.recipe.id, words.key, index) for index in range(drawn)), pa.string(), size=drawn),
        "unit": units.take(pa.array(np.repeat(np.arange(len(mine)), size))), "class_key": pa.repeat(words.key, drawn),
        "index": np.arange(drawn, dtype=np.int64), "failed_reason": pa.array(failed, pa.string()),
        "score": pa.array(score, pa.float32(), mask=np.isnan(score)),
    })
