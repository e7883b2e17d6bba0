"""The simulated executor: workers that are killed at any step, on one thread at a time, with a clock of its own.

It calls the very ``work_unit`` that the actors call. Every store operation and every draw is a step at which the seeded
scheduler may go on with another worker, kill one, or kill the driver with all of its workers, as SIGKILL does: nothing
that the worker holds is told to anybody. What is stored lives in one ``memory://`` store.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from job.drawing import Beyond
from job.generate import work_unit
from job.generators.fake import Fake
from job.ground import cost, layout, lineage
from job.ground.cost import BEAT_S, Ledger, Meter
from job.ground.starts import Starts
from job.ground.store import Store
from job.records import Failure, Origin, Sample, SampleSpec, Unit
from job.runplan import Price

SIZE, BATCH = 8, 4
RECIPE = lineage.make_recipe(generator="fake", options="{}", weights="none", templates=("a {name}",), size_px=8, encoding="png", seed=0)
CLASSES = (lineage.class_words(0, "cat"), lineage.class_words(1, "dog"))
UNITS = tuple(Unit(words.key, words.label, lo, lo + SIZE) for words in CLASSES for lo in (0, SIZE, 2 * SIZE))
ORIGIN = Origin("fake", "", "CC0-1.0", 1, ())
RUN = layout.Run("dataset", "run")
CHANCES = 2   # kills of actors, and of drivers, by chance: one unit cannot meet so many that a sample of it is given up
PRICE = Price(3600.0, None, "USD", "a test", "2026-01-01")   # a GPU-second costs one


class Killed(BaseException):
    """SIGKILL: no handler of the code under test may catch it and go on."""


@dataclass
class Worker:
    """One simulated process."""

    stage: "Stage"
    crash_at: int = -1                       # step of its next unit at which it is killed; -1: none
    steps: int = 0
    labels: list[str] = field(default_factory=list)
    drawn: list[str] = field(default_factory=list)
    unit: Unit | None = None
    doomed: bool = False
    parked: bool = False
    done: bool = False
    died: bool = False

    def __post_init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.store = Staged(self.stage.store.url, self)
        self.meter = Meter(self.stage.store, RUN, "generate", gpus=1, cpus=1, clock=self.stage.clock, process=uuid.uuid4().hex[:12])
        self.born = self.ended = self.stage.now

    def step(self, label: str) -> None:
        """Where the scheduler may interfere."""
        self.labels.append(label)
        self.steps += 1
        if self.steps - 1 == self.crash_at:
            self.doomed = True
        if self.doomed:
            raise Killed
        self.parked = True
        self.stage.back.release()
        self.go.acquire()
        self.parked = False
        if self.doomed:
            raise Killed


class Staged(Store):
    """A store whose every operation is a step, before and after it took effect."""

    def __init__(self, url: str, worker: Worker) -> None:
        super().__init__(url, retry_s=0)
        self.worker = worker

    def create(self, key: str, data: bytes) -> bool:
        what = next(part for part in ("/starts/", "/data/", "/commits/") if part in key).strip("/")
        self.worker.step(f"before {what}")
        result = self.worker.stage.create(key, data)
        self.worker.step(f"after {what}")
        return result

    def get(self, key: str) -> bytes | None:
        self.worker.step("read")
        return super().get(key)


class Painter(Fake):
    """The shipped fake, a batch at a time; samples named ``poison`` end its process."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(self.Options())
        self.worker = worker

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        self.worker.step("before a batch")
        how = {self.worker.stage.poison[spec.id] for spec in specs if spec.id in self.worker.stage.poison}
        if how:
            raise how.pop()
        drawn = super().draw(specs)
        self.worker.step("after a batch")
        return drawn


class Stage:
    """A run of all units under one seed. ``create``: how a worker's object reaches the store (a mutant's may be wrong)."""

    def __init__(
        self, seed: int, *, workers: int = 2, drivers: int = 1, kills: float = 0.0, driver_kills: float = 0.0, crash_at: int = -1,
        poison: dict[str, BaseException] | None = None, units: Sequence[Unit] = UNITS,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.store = Store(f"memory://{uuid.uuid4().hex}", retry_s=0)
        self.size, self.drivers, self.kills, self.driver_kills = workers, drivers, kills, driver_kills
        self.crash_at, self.poison, self.units = crash_at, poison or {}, units
        self.now, self.beaten = 0.0, 0.0
        self.back = threading.Semaphore(0)
        self.all: list[Worker] = []
        self.actor_kills = self.driver_ends = 0
        self.crash_unit = int(self.rng.integers(len(units)))
        self.ledger = Ledger(self.store, RUN)

    def clock(self) -> float:
        return self.now

    def create(self, key: str, data: bytes) -> bool:
        return self.store.create(key, data)

    def play(self, watch: Callable[[], None] = lambda: None) -> None:
        """Until every driver finds all units committed."""
        queues = [self._missing() for _ in range(self.drivers)]
        live: list[list[Worker]] = [[] for _ in queues]
        while any(queues) or any(live):
            for queue, mine in zip(queues, live, strict=True):
                while queue and len(mine) < self.size:
                    mine.append(self._begin(queue.pop(0)))
            at = int(self.rng.integers(len(queues)))
            if not live[at]:
                continue
            worker = live[at][int(self.rng.integers(len(live[at])))]
            if self.rng.random() < self.driver_kills and self.driver_ends < CHANCES:   # its actors die with it
                self.driver_ends += 1
                for one in live[at]:
                    if not one.died:
                        self._end(one)
                live[at], queues[at] = [], self._missing()
                continue
            if not worker.died:   # it may have died on its first step
                self._advance(worker, kill=self.actor_kills < CHANCES and self.rng.random() < self.kills)
            if worker.done or worker.died or self.rng.random() < 0.25:
                watch()
            if worker.done or worker.died:
                live[at].remove(worker)
            if worker.died:
                self.actor_kills += 1
                queues[at].insert(0, worker.unit)   # the pool's retry
        self.ledger.close()

    def clear(self) -> None:
        """All memory:// stores share one dictionary: without this a thousandth schedule would wade through all before it."""
        for key, _ in self.store.list(""):
            self.store.delete(key)

    def bill(self) -> float:
        """Seconds as the run's ledger sums them up."""
        return sum(one.cost or 0.0 for one in cost.Ledger(self.store, RUN).total(PRICE))

    def spent(self) -> float:
        """Seconds that processes truly lived."""
        return sum(one.ended - one.born for one in self.all)

    def _missing(self) -> list[Unit]:
        there = {key for key, _ in self.store.list(layout.commits(RECIPE.id))}
        return [unit for unit in self.units if layout.commit(RECIPE.id, unit) not in there]

    def _begin(self, unit: Unit) -> Worker:
        worker = Worker(self)
        if unit == self.units[self.crash_unit]:
            worker.crash_at, self.crash_at = self.crash_at, -1   # once
        worker.unit = unit
        self.all.append(worker)
        threading.Thread(target=self._live, args=(worker, unit), daemon=True).start()
        self.back.acquire()
        return worker

    def _live(self, worker: Worker, unit: Unit) -> None:
        try:
            work_unit(worker.store, Painter(worker), ORIGIN, RECIPE, CLASSES[unit.label], unit, BATCH, run="run",
                      starts=Starts(worker.store, RUN), meter=worker.meter)
            worker.done = True
        except (Killed, Beyond):
            worker.died = True
        finally:
            worker.ended = self.now
            self.back.release()

    def _advance(self, worker: Worker, kill: bool) -> None:
        self.now += float(self.rng.exponential(8.0))
        while self.now - self.beaten >= BEAT_S:   # every living process beats; those that died are silent
            self.beaten += BEAT_S
            for one in self.all:
                if not one.done and not one.died:
                    one.meter.beat()
        worker.doomed = kill
        worker.go.release()
        self.back.acquire()
        if worker.done:
            self.ledger.hear(worker.meter.process, worker.meter.rows())   # comes home with the row

    def _end(self, worker: Worker) -> None:
        worker.doomed = True
        worker.go.release()
        self.back.acquire()
        assert worker.died


@contextmanager
def polled(stage: Stage) -> Iterator[Callable[[], None]]:
    """A reader that looks now and then, and whenever a worker ends: what a commit names is there, whole, and stays."""
    seen: dict[str, bytes] = {}

    def look() -> None:
        for key, _ in stage.store.list(layout.commits(RECIPE.id)):
            data = stage.store.read(key)
            assert seen.setdefault(key, data) == data, f"{key} was written over"
            record = json.loads(data)
            assert lineage.sha256(stage.store.read(record["data"])) == record["sha256"]

    yield look
    look()
