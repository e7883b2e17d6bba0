"""HOT. Sample specs → committed shards, over a Ray Data pool of (GPU) actors. Decides nothing.

Data first, then the create-only commit that names it: a worker may die at any instant, an orphan shard is harmless,
and a committed unit is never drawn again.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from job import chip, compiled, drawing, plugs
from job.errors import DataError, JobError, QualityError, TemporaryError
from job.generators import GENERATORS, Generator
from job.ground import cost, layout, lineage, model_parts, shards
from job.ground.starts import Starts
from job.ground.store import ReadOnlyFolder, Store
from job.pool import Floor, UnitWorker, work_off
from job.records import ClassWords, Origin, Recipe, Unit
from job.runplan import RunPlan
from job.turns import AT_ONCE

READERS = 16       # threads that read commit records
CHUNK = 512        # of them at a time, where only a sum is kept


@dataclass(frozen=True, slots=True)
class Committed:
    """What a unit's commit says: where its shard is, which indices never became images, and which run paid for it."""

    unit: Unit
    key: str
    sha256: str
    size: int                             # bytes of the shard
    made: int
    failed: tuple[tuple[int, str], ...]
    draw_s: float
    encode_s: float                       # that its process spent on encoding with no unit to draw, since its last commit
    origin: tuple[str, str, str]          # model, revision, licence
    run: str
    batch_size: int
    upload_s: float = 0.0                 # that its process spent on storing with no unit to draw, since its last commit
    halved_from: int = 0                  # the batch that did not fit into the device's memory; 0: it did
    chip: str = ""                        # name of the GPU that drew it, or of the processor


def work_unit(
    store: Store, generator: Generator, origin: Origin, recipe: Recipe, words: ClassWords, unit: Unit, batch_size: int, *,
    run: str, starts: Starts, meter: cost.Meter, refused: int = 0, drawn: Callable[[int], None] = lambda fits: None, on: str = "",
) -> tuple[Committed, bool]:
    """Draw, encode, store and commit one whole unit; adopt it if somebody else committed it first.

    Returns the commit and whether it is ours. ``run`` is who pays; ``on`` names the chip; ``refused`` is a batch that did not fit before;
    ``drawn`` is called with the batch that fits when the device is needed no more. Raises ``DataError`` for a unit that never ends well.
    """
    done = read_commit(store, recipe, unit)
    if done:
        return done, False
    start = starts.begin(unit)
    with drawing.encoder() as encode:
        work = drawing.Drawing(generator, recipe, words, batch_size, encode, refused)
        for index in start.given_up:
            work.give_up(index)
        began = meter.clock()
        with meter.spending("draw"):
            for at, (lo, hi) in enumerate(start.ranges):
                starts.about_to_draw(unit, start, at)
                work.draw(lo, hi)
            starts.drawn(unit, start)
        draw_s = meter.clock() - began
        work.refuse_if_all_raised(unit.name)
        if work.count + len(work.failed) != unit.hi - unit.lo:
            raise JobError(f"{unit.name}: {unit.hi - unit.lo} asked, {work.count} made, {len(work.failed)} failed: samples got lost")
        drawn(work.batch_size)
        with meter.spending("encode"):
            images = work.made()
            data = shards.pack(recipe, origin, [(spec, image) for spec, image, _ in images])
            digest = lineage.sha256(data)
    with meter.spending("upload"):
        key = layout.shard(recipe.id, unit, digest)
        store.create(key, data)
    spent = meter.since()
    record = {
        "unit": unit.name, "data": key, "sha256": digest, "bytes": len(data), "made": len(images),
        "ids": [spec.id for spec, _, _ in images], "marks": [mark for _, _, mark in images],
        "failed": [[one.spec.index, one.spec.id, one.reason] for one in work.failed],
        "batch_size": work.batch_size, **({"halved_from": work.halved_from} if work.halved_from else {}), "chip": on,
        "start": start.number, "run": run, "process": meter.process, **spent,
        "draw_s": round(draw_s, 4), "encode_s": spent["spent_s"].get("encode", 0.0),
        "origin": [origin.model, origin.revision, origin.licence],
    }
    with meter.spending("upload"):
        won = store.create(layout.commit(recipe.id, unit), lineage.canonical(record).encode())
        committed = read_commit(store, recipe, unit)   # ours, or the winner's
    if committed is None:
        raise DataError(f"the commit of {unit.name} vanished", "something deletes objects below the root; stop it")
    return committed, won


def read_commit(store: Store, recipe: Recipe, unit: Unit) -> Committed | None:
    """The unit's commit, or None. Raises ``DataError`` for a record that is none."""
    data = store.get(layout.commit(recipe.id, unit))
    if data is None:
        return None
    try:
        record = json.loads(data)
        failed = tuple((index, reason) for index, _, reason in record["failed"])
        return Committed(unit, record["data"], record["sha256"], record["bytes"], record["made"], failed, record["draw_s"],
                         record["encode_s"], tuple(record["origin"]), record["run"], record.get("batch_size", 0),
                         record.get("spent_s", {}).get("upload", 0.0), record.get("halved_from", 0), record.get("chip", ""))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{layout.commit(recipe.id, unit)} is no commit of this version: {type(error).__name__}: {error}",
                        "restore it, or delete it to draw the unit again") from None


def read_shard(store: Store, committed: Committed, columns: Sequence[str] | None = None) -> Any:
    """The shard's table. Raises ``DataError`` if it is gone, or its bytes are not those that were committed."""
    try:
        return shards.read(store.read(committed.key, committed.sha256), columns)
    except KeyError:
        raise DataError(f"{committed.key} is gone, and its commit is there",
                        "restore it, or delete its commit to draw the unit again") from None


class Drawer(UnitWorker):
    """Stands in an actor: one generator, loaded once. A unit is written while the next one is drawn."""

    at_once = AT_ONCE

    def load(self, plan: RunPlan) -> None:
        self.plan = plan
        plug = plugs.find(GENERATORS, plan.recipe.generator, "generator")
        self.generator = plug(plugs.options(plug, plan.generator_options, "generator"))
        folder, digest, parts = model_parts.fetch(self.generator, ReadOnlyFolder)
        if digest != plan.recipe.weights:
            raise DataError(f"the weights at {self.generator.location()} are not those of the plan", "start a new run")
        self.origin = self.generator.load(folder, digest, self.device, **parts)
        self.fits = plan.batch_size
        self.chip = chip.named("cuda")["chip"] if self.device == "cuda" else chip.processor()
        good_for = self.generator.compiled_for(plan.batch_size, plan.recipe.size_px) if hasattr(self.generator, "compiled_for") else ""
        self.compiled = compiled.Kept(self.store, self.run, plan.recipe.id, good_for)
        self.compiled.take()

    def work(self, unit: Unit) -> dict[str, Any]:
        plan = self.plan
        done, ours = work_unit(
            self.store, self.generator, self.origin, plan.recipe, plan.classes[unit.label], unit, self.fits,
            run=plan.run, starts=Starts(self.store, self.run, session=self.place.session), meter=self.meter,
            refused=plan.batch_size if self.fits < plan.batch_size else 0, drawn=self._drawn, on=self.chip,
        )
        with self.meter.spending("upload"):
            self.compiled.keep()
        return {"asked": unit.hi - unit.lo, "made": done.made, "failed": len(done.failed), "ours": ours,
                "batch_size": done.batch_size, "halved_from": done.halved_from}

    def _drawn(self, fits: int) -> None:
        self.fits = fits   # what did not fit once will not fit again
        self.compiled.collect()
        self.turns.done()


@dataclass(frozen=True, slots=True)
class Drawn:
    """What the room did now: units drawn by this run, and units that were there or that others drew meanwhile.

    ``by_host``: images that each machine drew for this run.
    """

    units: int
    adopted: int
    asked: int
    made: int
    failed: int
    by_host: dict[str, int]


def generate(plan: RunPlan, units: Sequence[Unit], floor: Floor) -> Drawn:
    """Commit every unit that is not committed yet.

    Raises ``QualityError`` as soon as more than the plan's share of all samples have failed.
    """
    listed = {key for key, _ in floor.store.list(layout.commits(plan.recipe.id))}   # a hint: spares a request per unit
    missing = [unit for unit in units if layout.commit(plan.recipe.id, unit) not in listed]
    total = len(units) * plan.unit_size
    floor.advance((len(units) - len(missing)) * plan.unit_size)
    asked = sum(unit.hi - unit.lo for unit in missing)
    ours, made, failed, halved = 0, 0, 0, False
    by_host: dict[str, int] = {}
    for row in work_off(missing, Drawer, (plan,), floor, room="generate", deadline_s=plan.unit_deadline_s) if missing else ():
        ours, made, failed = ours + row["ours"], made + row["made"], failed + row["failed"]
        check_failed(failed, total, plan.failed_share, "see the commits for each reason")
        floor.advance(row["asked"])
        if row["ours"]:
            by_host[row["host"]] = by_host.get(row["host"], 0) + row["made"]
            if row["halved_from"] and not halved:
                halved = True
                floor.event("batch_halved", asked=row["halved_from"], drawn=row["batch_size"], host=row["host"],
                            cure=f"set SALTWORKS_GENERATOR__BATCH_SIZE={row['batch_size']}")
    if asked != made + failed:
        raise JobError(f"{asked} samples were asked for, {made} made and {failed} failed: some got lost")
    return Drawn(ours, len(units) - ours, asked, made, failed, by_host)


def check_failed(failed: int, total: int, share: float, reason: str = "") -> None:
    """Raise ``QualityError`` if more than ``share`` of all samples never became an image."""
    if failed > share * total:
        raise QualityError(f"{failed} of {total} samples failed, more than the share of {share:g}{': ' * bool(reason)}{reason}",
                           "mend the generator, or raise SALTWORKS_GENERATOR__FAILED_SHARE")


def halved(committed: Sequence[Committed], run: str) -> str:
    """The warning that batches of this run did not fit into the device's memory; empty where all did."""
    mine = [one for one in committed if one.run == run and one.halved_from]
    if not mine:
        return ""
    least = min(mine, key=lambda one: one.batch_size)
    return (f"a batch of {least.halved_from} did not fit into the device's memory, and smaller ones drew {len(mine)} of this run's units: "
            f"set SALTWORKS_GENERATOR__BATCH_SIZE={least.batch_size}")


def own_marks(store: Store, wanted: frozenset[str]) -> frozenset[str]:
    """Those of ``wanted`` by which a sample below this root is recognised (``job.real.pixels.mark``), whoever drew it."""
    def known(key: str) -> set[str]:
        return wanted.intersection(json.loads(store.read(key)).get("marks", ()))

    keys = [key for key, _ in store.list(layout.SYNTHETIC) if "/commits/" in key]
    found: set[str] = set()
    with ThreadPoolExecutor(READERS) as readers:
        for at in range(0, len(keys), CHUNK):   # not all answers at once
            found.update(*readers.map(known, keys[at : at + CHUNK]))
    return frozenset(found)


def commits(store: Store, plan: RunPlan, units: Iterable[Unit]) -> tuple[Committed, ...]:
    """The commits of all units, in their order. Raises ``QualityError`` beyond the share of failures.

    Raises ``TemporaryError`` for a unit without one, and ``DataError`` for one that leaves samples out.
    """
    asked = list(units)
    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(lambda unit: read_commit(store, plan.recipe, unit), asked))
    lost = [unit.name for unit, one in zip(asked, found, strict=True) if one is None]
    if lost:
        raise TemporaryError(f"{len(lost)} units have no commit, {lost[0]} first", "run again to draw them")
    committed = tuple(one for one in found if one)
    short = [one for one in committed if one.made + len(one.failed) != one.unit.hi - one.unit.lo]
    if short:
        first = short[0].unit
        raise DataError(f"{layout.commit(plan.recipe.id, first)} tells of {short[0].made} made and {len(short[0].failed)} failed, "
                        f"and {first.hi - first.lo} were asked for", "restore it, or delete it to draw the unit again")
    failed = sum(len(one.failed) for one in committed)
    total = sum(unit.hi - unit.lo for unit in asked)
    check_failed(failed, total, plan.failed_share, next((reason for one in committed for _, reason in one.failed), ""))
    return committed
