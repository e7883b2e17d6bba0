"""What a run froze, read back and counted class by class: nothing may be missing, and nothing may be there twice.

No more than one class's decisions are held at once, and no id of another unit than the one being compared, so memory
follows the largest class and not the run. What stays of a class is a bit per sample and a line per shard.
"""

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from job.errors import DataError, QualityError
from job.ground import layout, lineage
from job.ground.store import Store
from job.publish.model import File
from job.records import STATES, ClassWords, Recipe, Unit
from job.runplan import RunPlan

READERS = 16
SHOWN = 5   # of what does not add up, named in the error
AGAIN = "remove the done.json of the run and run it again to draw and decide what is missing, then publish"


@dataclass(frozen=True, slots=True)
class Shard:
    """One committed unit: its object, which of its indices never became images, and where its images come from."""

    unit: Unit
    file: File
    failed: tuple[int, ...]
    origin: tuple[str, str, str]   # model, revision, licence
    paid_s: float = 0.0            # seconds of drawing and encoding that this run paid for; 0 if another run drew it

    def row_of(self, indices: np.ndarray) -> np.ndarray:
        """Row numbers in the shard of these indices of the class (int64, as many)."""
        made = np.setdiff1d(np.arange(self.unit.lo, self.unit.hi), self.failed, assume_unique=True)
        return np.searchsorted(made, indices)


@dataclass(frozen=True, slots=True)
class Held:
    """One class: its decisions, its shards, and which indices were kept (bool, over all that was drawn)."""

    words: ClassWords
    decisions: File
    shards: tuple[Shard, ...]
    kept: np.ndarray
    states: Mapping[str, int]
    reasons: frozenset[str]        # every reason, its digits made 0: as many as there are kinds of reason


def rounds(store: Store, keys: layout.Run) -> list[Unit]:
    """The units of all rounds, in the order in which they were asked for. Raises ``DataError`` without any."""
    units: list[Unit] = []
    number = 1
    while (record := store.get(keys.round(number))) is not None:
        units += [Unit(*values) for values in json.loads(record)]
        number += 1
    if not units:
        raise DataError(f"{keys.round(1)} does not exist: this run has drawn nothing", "finish it with: python -m job run")
    return units


def classes(store: Store, planned: RunPlan) -> Iterator[Held]:
    """Every class of a finished run, one after the other.

    Raises ``QualityError`` unless, in each, planned = kept ∪ rejected ∪ failed ∪ unused, disjoint, these are exactly the
    samples of all rounds' units, and the failed ones are those that the commits call failed; it names what is wrong.
    """
    keys = layout.Run(planned.dataset, planned.run)
    units = rounds(store, keys)
    index = json.loads(store.get(keys.filtered_index()) or b"{}")
    strangers = sorted({unit.class_key for unit in units} ^ set(index))
    if strangers:
        raise QualityError(f"{keys.filtered_index()} and the rounds disagree about class {strangers[0]!r}: nothing was decided "
                           "about it, or nothing drawn", AGAIN)
    for words in planned.classes:
        mine = sorted((unit for unit in units if unit.class_key == words.key), key=lambda unit: unit.lo)
        if mine:
            yield _held(store, planned.recipe, planned.run, words, mine, index[words.key])
            pa.default_memory_pool().release_unused()   # the next class needs about as much


def _held(store: Store, recipe: Recipe, run: str, words: ClassWords, units: Sequence[Unit], key: str) -> Held:
    data = store.get(key)
    if data is None or not key.endswith(f"-{lineage.sha256(data)[:16]}.parquet"):
        raise QualityError(f"the decisions on class {words.name!r} are missing or changed: {key}", AGAIN)
    table = pq.read_table(io.BytesIO(data), columns=["id", "index", "state", "reason"], read_dictionary=["state", "reason"])
    index = table["index"].to_numpy()
    if (np.diff(index) < 0).any():   # they are written in order
        table = table.take(pa.array(np.argsort(index, kind="stable")))
        index = table["index"].to_numpy()
    wrong: list[str] = []
    hi = max(unit.hi for unit in units)
    kept, shards, inside = np.zeros(hi, dtype=bool), [], 0
    with ThreadPoolExecutor(READERS) as readers:
        records = readers.map(lambda unit: store.get(layout.commit(recipe.id, unit)), units)
        for unit, record in zip(units, records, strict=True):
            lo, up = np.searchsorted(index, [unit.lo, unit.hi])
            inside += up - lo
            if record is None:
                wrong.append(f"{unit.name}: no commit")
                continue
            rows = table.slice(lo, up - lo)
            ids, states = rows["id"].to_pylist(), rows["state"].to_pylist()
            commit = json.loads(record)
            wrong += _compare(recipe, words, unit, ids, states, commit)
            if not wrong and not np.array_equal(index[lo:up], np.arange(unit.lo, unit.hi)):
                wrong.append(f"{unit.name}: the indices of its decisions are not its own")
            mine = np.array([state == "kept" for state in states], dtype=bool)
            kept[index[lo:up][mine]] = True
            shards.append(_shard(unit, commit, int(mine.sum()), run))
    if inside != len(index):
        wrong.append(f"{key}: {len(index) - inside} decisions on samples of no round")
    if wrong:
        shown = "; ".join(wrong[:SHOWN]) + (f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else "")
        raise QualityError(f"class {words.name!r} is not whole: {shown}", AGAIN)
    counts = {one["values"]: one["counts"] for one in table["state"].value_counts().to_pylist()}
    decisions = File(key=key, kind="decisions", class_key=words.key, sha256=lineage.sha256(data), bytes=len(data), rows=len(index),
                     kept=counts.get("kept", 0))
    reasons = frozenset(digitless(one) for one in table["reason"].unique().to_pylist() if one)
    return Held(words, decisions, tuple(shards), kept, {state: counts.get(state, 0) for state in STATES}, reasons)


def digitless(text: str) -> str:
    """The text with every digit made 0: reasons that differ in a number alone are one."""
    return text.translate(str.maketrans("123456789", "000000000"))


def _compare(
    recipe: Recipe, words: ClassWords, unit: Unit, ids: Sequence[str], states: Sequence[str], commit: Mapping[str, Any]
) -> list[str]:
    """What is wrong with one unit: empty where rounds, decisions and commit say the same of every sample."""
    wrong = []
    asked = [lineage.sample_id(recipe.id, words.key, index) for index in range(unit.lo, unit.hi)]
    planned, decided = set(asked), set(ids)
    made, failed = set(commit["ids"]), {name for _, name, _ in commit["failed"]}
    if len(decided) < len(ids):
        wrong.append(f"{unit.name}: {len(ids) - len(decided)} samples are decided twice")
    if len(made | failed) < len(commit["ids"]) + len(commit["failed"]):
        wrong.append(f"{unit.name}: its commit names a sample twice")
    for what, has in (("decided", decided), ("committed", made | failed)):
        lost, strange = planned - has, has - planned
        if lost:
            wrong.append(f"{unit.name}: {len(lost)} of {len(planned)} samples are not {what}, {min(lost)} first")
        if strange:
            wrong.append(f"{unit.name}: {len(strange)} samples are {what} but were never planned, {min(strange)} first")
    if not wrong and list(ids) != asked:
        wrong.append(f"{unit.name}: ids and indices of its decisions do not belong together")
    unknown = sorted(set(states) - set(STATES))
    if unknown:
        wrong.append(f"{unit.name}: the state {unknown[0]!r} is none of {', '.join(STATES)}")
    told = {one for one, state in zip(ids, states, strict=True) if state == "failed"}
    if told != failed:
        odd = told ^ failed
        wrong.append(f"{unit.name}: {len(odd)} samples failed by the decisions or by the commit alone, {min(odd)} first")
    return wrong


def _shard(unit: Unit, commit: Mapping[str, Any], kept: int, run: str) -> Shard:
    file = File(key=commit["data"], kind="images", class_key=unit.class_key, sha256=commit["sha256"], bytes=commit["bytes"],
                rows=commit["made"], kept=kept)
    paid_s = commit["draw_s"] + commit["encode_s"] if commit["run"] == run else 0.0
    return Shard(unit, file, tuple(index for index, _, _ in commit["failed"]), tuple(commit["origin"]), paid_s)
