"""HOT. Sample specs → committed shards, over a Ray Data pool of (GPU) actors. Decides nothing.

Data first, then the create-only commit that names it: a worker may die at any instant, an orphan shard is harmless,
and a committed unit is never drawn again.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from job import plugs
from job.errors import DataError, QualityError
from job.generators import GENERATORS, Generator
from job.ground import layout, lineage, pixels, shards, weights
from job.ground.events import Advance
from job.ground.store import ReadOnlyFolder, Store
from job.pool import UnitWorker, work_off
from job.records import ClassWords, Failure, Origin, Recipe, Sample, SampleSpec, Unit
from job.runplan import Pool, RunPlan

REDRAWS = 3        # derived seeds tried for an image that came out blank or broken
READERS = 16       # threads that read commit records


@dataclass(frozen=True, slots=True)
class Committed:
    """What a unit's commit says: where its shard is, and which indices never became images."""

    unit: Unit
    key: str
    sha256: str
    failed: tuple[tuple[int, str], ...]
    draw_s: float
    encode_s: float
    origin: tuple[str, str, str]   # model, revision, licence


def work_unit(
    store: Store, generator: Generator, origin: Origin, recipe: Recipe, words: ClassWords, unit: Unit, batch_size: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Committed:
    """Draw, encode, store and commit one whole unit; adopt it if somebody else committed it first."""
    done = read_commit(store, recipe, unit)
    if done:
        return done
    start = clock()
    with ThreadPoolExecutor(1) as encoder:   # encodes batch k while k+1 is drawn
        drawn, failed = _draw(generator, recipe, words, unit, batch_size, encoder)
        draw_s, start = clock() - start, clock()
        data = shards.pack(recipe, origin, [(spec, image.result()) for spec, image in drawn])
    digest = lineage.sha256(data)
    key = layout.shard(recipe.id, unit, digest)
    store.create(key, data)
    record = {
        "unit": unit.name, "data": key, "sha256": digest, "bytes": len(data), "made": len(drawn),
        "ids": [spec.id for spec, _ in drawn], "failed": [[one.spec.index, one.spec.id, one.reason] for one in failed],
        "batch_size": batch_size, "draw_s": round(draw_s, 4), "encode_s": round(clock() - start, 4),
        "origin": [origin.model, origin.revision, origin.licence],
    }
    store.create(layout.commit(recipe.id, unit), lineage.canonical(record).encode())
    committed = read_commit(store, recipe, unit)   # ours, or the winner's
    if committed is None:
        raise DataError(f"the commit of {unit.name} vanished", "something deletes objects below the root; stop it")
    return committed


def _draw(
    generator: Generator, recipe: Recipe, words: ClassWords, unit: Unit, batch_size: int, encoder: ThreadPoolExecutor
) -> tuple[list[tuple[SampleSpec, "Future[bytes]"]], list[Failure]]:
    """Every sample of the unit, drawn in batches fixed by position; bad ones again with a derived seed."""
    drawn: dict[int, tuple[SampleSpec, Future[bytes]]] = {}
    failed: dict[int, Failure] = {}
    wanted = [lineage.spec(recipe, words, index) for index in range(unit.lo, unit.hi)]
    for redraw in range(REDRAWS + 1):
        for at in range(0, len(wanted), batch_size):
            batch = wanted[at : at + batch_size]
            padded = [*batch, *[batch[0]] * (batch_size - len(batch))]   # one batch shape: same pictures, one compilation
            for result in generator.draw(padded)[: len(batch)]:
                failure = result if isinstance(result, Failure) else _broken(result)
                if failure:
                    failed[result.spec.index] = failure
                else:
                    failed.pop(result.spec.index, None)
                    drawn[result.spec.index] = (result.spec, encoder.submit(pixels.encode, result.pixels_HWC, recipe.encoding))
        if not failed or redraw == REDRAWS:
            break
        wanted = [lineage.spec(recipe, words, index, redraw + 1) for index in sorted(failed)]
    return [drawn[index] for index in sorted(drawn)], [failed[index] for index in sorted(failed)]


def _broken(sample: Sample) -> Failure | None:
    reason = pixels.fault(sample.pixels_HWC)
    return Failure(sample.spec, reason) if reason else None


def read_commit(store: Store, recipe: Recipe, unit: Unit) -> Committed | None:
    """The unit's commit, or None."""
    data = store.get(layout.commit(recipe.id, unit))
    if data is None:
        return None
    record = json.loads(data)
    failed = tuple((index, reason) for index, _, reason in record["failed"])
    return Committed(unit, record["data"], record["sha256"], failed, record["draw_s"], record["encode_s"],
                     tuple(record["origin"]))


def read_shard(store: Store, committed: Committed, columns: Sequence[str] | None = None) -> Any:
    """The shard's table. Raises ``DataError`` if its bytes are not those that were committed."""
    data = store.read(committed.key)
    if lineage.sha256(data) != committed.sha256:
        raise DataError(f"{committed.key} does not hold what was committed", "restore it, or delete its commit to redraw it")
    return shards.read(data, columns)


class Drawer(UnitWorker):
    """Stands in an actor: one generator, loaded once."""

    def load(self, url: str, retry_s: float, plan: RunPlan, gpus: float) -> None:
        start = time.perf_counter()
        self.store, self.plan = Store(url, retry_s), plan
        plug = plugs.find(GENERATORS, plan.recipe.generator, "generator")
        self.generator = plug(plugs.options(plug, plan.generator_options, "generator"))
        folder, digest = weights.fetch(self.generator.location(), self.generator.revision(), ReadOnlyFolder)
        if digest != plan.recipe.weights:
            raise DataError(f"the weights at {self.generator.location()} are not those of the plan", "start a new run")
        self.origin = self.generator.load(folder, digest, "cuda" if gpus else "cpu")
        self.load_s = time.perf_counter() - start

    def work(self, unit: Unit) -> dict[str, Any]:
        plan = self.plan
        done = work_unit(self.store, self.generator, self.origin, plan.recipe, plan.classes[unit.label], unit, plan.batch_size)
        return {"draw_s": done.draw_s, "encode_s": done.encode_s, "made": unit.hi - unit.lo - len(done.failed)}


def generate(store: Store, plan: RunPlan, units: Sequence[Unit], pool: Pool, advance: Advance) -> tuple[dict[str, float], int]:
    """Commit every unit that is not committed yet. Returns seconds by kind, and how many units were drawn now.

    Raises ``QualityError`` if more than the plan's share of samples failed.
    """
    listed = {key for key, _ in store.list(layout.commits(plan.recipe.id))}   # one listing, a hint: spares a request per unit
    missing = [unit for unit in units if layout.commit(plan.recipe.id, unit) not in listed]
    size = plan.unit_size
    advance((len(units) - len(missing)) * size)
    spent = {"load": 0.0, "draw": 0.0, "encode": 0.0}
    args = (store.url, store.retry_s, plan, pool.gpus)
    for row in work_off(missing, Drawer, args, pool) if missing else ():
        for kind in spent:
            spent[kind] += row[f"{kind}_s"]
        advance(size)
    return spent, len(missing)


def commits(store: Store, plan: RunPlan, units: Iterable[Unit]) -> tuple[Committed, ...]:
    """The commits of all units, in their order. Raises ``QualityError`` beyond the share of failures."""
    asked = list(units)
    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(lambda unit: read_commit(store, plan.recipe, unit), asked))
    lost = [unit.name for unit, one in zip(asked, found, strict=True) if one is None]
    if lost:
        raise DataError(f"{len(lost)} units have no commit, {lost[0]} first", "run again to draw them")
    committed = tuple(one for one in found if one)
    failed = sum(len(one.failed) for one in committed)
    total = sum(unit.hi - unit.lo for unit in asked)
    if failed > plan.failed_share * total:
        reason = next(reason for one in committed for _, reason in one.failed)
        raise QualityError(f"{failed} of {total} samples failed, more than the share of {plan.failed_share:g}: {reason}",
                           "mend the generator, or raise SALTWORKS_GENERATOR__FAILED_SHARE")
    return committed
