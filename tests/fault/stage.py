"""The simulated executor: workers that are killed at any step, on one thread at a time, with a clock of its own.

It calls the very ``work_unit`` that the actors call. Every store operation and every draw is a step at which the seeded
scheduler may go on with another worker, kill one, or kill the driver with all of its workers, as SIGKILL does: nothing
that the worker holds is told to anybody. What is stored lives in one ``memory://`` store.

A unit's life need not be untroubled: it may have been begun twice before, so that it is drawn in marked pieces, or
another run may commit it in the middle. ``points`` tells every step of every such life, by living it once.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from job.drawing import Beyond
from job.generate import work_unit
from job.generators.fake import Fake
from job.ground import cost, layout, lineage
from job.ground.cost import BEAT_S, Ledger, Meter
from job.ground.starts import TRUSTED, Starts
from job.ground.store import Store
from job.records import Origin, Unit
from job.runplan import Price
from tests.fault.worker import RUN, Killed, Painter, Point, Worker

SIZE, BATCH = 8, 4
RECIPE = lineage.make_recipe(generator="fake", options="{}", weights="none", templates=("a {name}",), size_px=8, encoding="png", seed=0)
CLASSES = (lineage.class_words(0, "cat"), lineage.class_words(1, "dog"))
UNITS = tuple(Unit(words.key, words.label, lo, lo + SIZE) for words in CLASSES for lo in (0, SIZE, 2 * SIZE))
ORIGIN = Origin("fake", "", "CC0-1.0", 1, ())
RIVAL = layout.Run("dataset", "rival")
PLAIN, THIRD, LOSING = "plain", "third start", "losing"
NEVER = Point(PLAIN, -1, "")
CHANCES = {PLAIN: 3, THIRD: 1, LOSING: 3}   # ends by chance beside the one that is set: too few for a sample to be given up
PRICE = Price(3600.0, None, "USD", "a test", "2026-01-01")   # a GPU-second costs one


class Stage:
    """A run of all units under one seed, one of which has the life of ``crash``, and is killed there.

    ``create``: how a worker's object reaches the store (a mutant's may be wrong). ``always_beats``: at every step.
    """

    def __init__(
        self, seed: int, *, workers: int = 2, drivers: int = 1, kills: float = 0.0, driver_kills: float = 0.0,
        crash: Point = NEVER, poison: dict[str, BaseException] | None = None, units: Sequence[Unit] = UNITS,
        always_beats: bool = False,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.store = Store(f"memory://{uuid.uuid4().hex}", retry_s=0)
        self.size, self.drivers, self.kills, self.driver_kills = workers, drivers, kills, driver_kills
        self.crash, self.poison, self.units, self.always_beats = crash, poison or {}, units, always_beats
        self.now, self.beaten = 0.0, 0.0
        self.back = threading.Semaphore(0)
        self.all: list[Worker] = []
        self.actor_kills = self.driver_ends = 0
        self.chances, self.struck = CHANCES[crash.life], False
        self.marked = units[int(self.rng.integers(len(units)))]
        self.rival_comes = crash.life == LOSING
        for _ in range(TRUSTED * (crash.life == THIRD)):
            Starts(self.store, RUN).begin(self.marked)
        self.ledger = Ledger(self.store, RUN)

    def clock(self) -> float:
        return self.now

    def create(self, key: str, data: bytes) -> bool:
        return self.store.create(key, data)

    def play(self, watch: Callable[[], None] = lambda: None) -> None:
        """Until every driver finds all units committed."""
        self.watch = watch
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
            if self.rng.random() < self.driver_kills and self.chances:   # its actors die with it
                self.driver_ends += 1
                self.chances -= 1
                for one in live[at]:
                    if not one.died:
                        self._end(one)
                live[at], queues[at] = [], self._missing()
                continue
            if not worker.died:   # it may have died on its first step
                kill = self.rng.random() < self.kills and self.chances > 0
                self.chances -= kill
                self._advance(worker, kill)
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
        worker = Worker(self, unit)
        if unit == self.marked and not any(one.crash for one in self.all):   # once
            worker.crash = self.crash
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
        if self.rival_comes and worker.unit == self.marked and len(worker.labels) == 2:   # its first look found no commit
            self._rival()
        due = worker.crash is not None and worker.crash.at_a_beat and worker.crash.step == len(worker.labels) - 1
        if due or self.always_beats:
            self._beat(worker)
        then = self.now + float(self.rng.exponential(8.0))
        while then - self.beaten >= BEAT_S:   # every living process beats; those that died are silent
            self.now = self.beaten = self.beaten + BEAT_S
            for one in self.all:
                if not one.done and not one.died:
                    self._beat(one)
        self.now = then
        if worker.died:   # at a heartbeat
            return
        worker.doomed = kill
        worker.go.release()
        self.back.acquire()
        if worker.done:
            self.ledger.hear(worker.meter.process, worker.meter.rows())   # comes home with the row

    def _beat(self, worker: Worker) -> None:
        try:
            worker.meter.beat()
        except Killed:
            self._end(worker)

    def _rival(self) -> None:
        """Another run draws the marked unit, is done before ours, and is seen."""
        self.rival_comes = False
        meter = Meter(self.store, RIVAL, "generate", gpus=1, cpus=1, clock=self.clock)
        work_unit(self.store, Fake(Fake.Options()), ORIGIN, RECIPE, CLASSES[self.marked.label], self.marked, BATCH, run="rival",
                  starts=Starts(self.store, RIVAL), meter=meter)
        self.watch()

    def _end(self, worker: Worker) -> None:
        worker.doomed = True
        worker.go.release()
        self.back.acquire()
        assert worker.died


@contextmanager
def polled(stage: Stage) -> Iterator[Callable[[], None]]:
    """A reader that looks now and then, and whenever a worker ends: what a commit names is there, whole, and stays."""
    seen: dict[str, bytes] = {}

    def whole(commit: bytes) -> None:
        record = json.loads(commit)
        assert lineage.sha256(stage.store.read(record["data"])) == record["sha256"]

    def look() -> None:
        for key, _ in stage.store.list(layout.commits(RECIPE.id)):
            data = stage.store.read(key)
            if key not in seen:
                whole(data)
            assert seen.setdefault(key, data) == data, f"{key} was written over"

    yield look
    look()
    for commit in seen.values():
        whole(commit)


def points() -> tuple[Point, ...]:
    """Every point at which a process can be killed, of every life of a unit; the heartbeats between the steps of one."""
    found: list[Point] = []
    for life in (PLAIN, THIRD, LOSING):
        stage = Stage(0, workers=1, crash=Point(life, -1, ""), units=UNITS[:1], always_beats=life == PLAIN)
        stage.play()
        lived = dict.fromkeys(Point(life, *here) for here in stage.all[0].passed)
        found += [one for one in lived if stage.always_beats or not one.at_a_beat]
        stage.clear()
    return tuple(found)
