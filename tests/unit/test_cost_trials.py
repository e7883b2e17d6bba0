"""The bill of trials under every schedule of kills, by a clock of its own: what is held is billed, once, to within a heartbeat.

The driver's ``Ledger`` and the ``Meter`` of each of a trial's processes are the job's own; played are their lives.
"""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.ground import layout
from job.ground.cost import BEAT_S, Ledger, Meter
from job.ground.store import Store
from job.runplan import Price
from tests.conftest import forget_memory

pytestmark = pytest.mark.unit
RUN = layout.Run("dataset", "run")
PRICE = Price(3600.0, None, "USD", "a test", "2026-01-01")   # a GPU-second costs one
NEVER_S = 1e6                                                # the threads of the ledger stay out of this: we beat ourselves
STARTING, LOAD, TRAIN, COMMIT, OVER = STEPS = ("starting", "load", "train", "commit", "over")   # of a trial, in order
WORKER, DRIVER = "worker", "driver"
ROUNDING = 0.01   # of a few lines, a thousandth of a second each
SECONDS = st.floats(0, 100, allow_subnormal=False)


class Play:
    """Drivers one after the other, each with at most one trial at a time, and the seconds that were truly held."""

    def __init__(self) -> None:
        forget_memory()
        self.store, self.now = Store(f"memory://{uuid.uuid4().hex}", retry_s=0), 0.0
        self.held = self.walls = self.trained = 0.0
        self.kills = self.ends_of_drivers = 0
        self.meter: Meter | None = None
        self.beats: dict[Meter | Ledger, float] = {}
        self.abandoned: list[object] = []   # a killed driver leaves no room: nothing here may be collected, for that would
        self.begin()

    def clock(self) -> float:
        return self.now

    def begin(self) -> None:
        """A driver starts, and enters the room."""
        self.ledger, self.since = Ledger(self.store, RUN, clock=self.clock, every_s=NEVER_S), self.now
        self.room = self.entered(self.ledger.room("sweep"))
        self.beats[self.ledger] = self.now

    def entered(self, one: AbstractContextManager[None]) -> AbstractContextManager[None]:
        one.__enter__()
        self.abandoned.append(one)
        return one

    def pass_time(self, seconds: float) -> None:
        """Whoever lives beats every ``BEAT_S`` seconds of its own life."""
        end = self.now + seconds
        while self.beats and min(self.beats.values()) + BEAT_S <= end:
            one = min(self.beats, key=self.beats.__getitem__)
            self.beats[one] += BEAT_S
            self.now = self.beats[one]
            one.beat()
        self.now = end

    def fit(self, kills: Iterator[tuple[str, str, float] | None], lengths: dict[str, float]) -> None:
        """A trial, begun again until it is over: by its driver while that lives, else by the next."""
        while True:
            began, trial = self.now, uuid.uuid4().hex[:12]
            handle = self.entered(self.ledger.trial("sweep", trial, gpus=1, cpus=1))
            victim = None
            while victim != DRIVER:
                victim = self.attempt(trial, next(kills, None), lengths)
                if victim is None:
                    handle.__exit__(None, None, None)
                    self.held += self.now - began
                    return
            self.held += self.now - began
            self.walls += self.now - self.since
            self.begin()

    def attempt(self, trial: str, kill: tuple[str, str, float] | None, lengths: dict[str, float]) -> str | None:
        """One process of a trial: who was killed, if any."""
        for step in STEPS:
            length = lengths[step]
            if step == LOAD:
                self.meter = Meter(self.store, RUN, "sweep", gpus=1, cpus=1, clock=self.clock, part_of=trial)
                self.beats[self.meter] = self.now
            if kill and kill[0] == step and (kill[1] == DRIVER or self.meter):
                self.spend(step, kill[2] * length)
                return self.kill(kill[1])
            self.spend(step, length)
            if step == COMMIT and self.meter:
                self.meter.beat()
                self.end_process()
        return None

    def spend(self, step: str, seconds: float) -> None:
        if self.meter and step in (LOAD, TRAIN):
            with self.meter.spending(step):
                self.pass_time(seconds)
        else:
            self.pass_time(seconds)
        self.trained += seconds * (step == TRAIN)

    def kill(self, victim: str) -> str:
        self.kills += victim == DRIVER
        self.kills += self.meter is not None   # the actors of a driver die with it
        self.end_process()
        if victim == DRIVER:
            self.ends_of_drivers += 1
            del self.beats[self.ledger]
        return victim

    def end_process(self) -> None:
        if self.meter:
            del self.beats[self.meter]
        self.meter = None

    def leave(self) -> None:
        self.room.__exit__(None, None, None)
        self.walls += self.now - self.since

    def judge(self) -> None:
        """The laws, whatever was killed."""
        total = Ledger(self.store, RUN).total(PRICE)
        billed = sum(one.cost or 0.0 for one in total)
        assert billed == pytest.approx(sum(one.seconds for one in total if one.kind != "wall"), abs=ROUNDING)
        assert self.held - BEAT_S * self.kills - ROUNDING <= billed <= self.held + ROUNDING
        (wall,) = (one.seconds for one in total if one.kind == "wall")
        assert self.walls - BEAT_S * self.ends_of_drivers - ROUNDING <= wall <= self.walls + ROUNDING
        trained = sum(one.seconds for one in total if one.kind == TRAIN)
        assert self.trained - BEAT_S * self.kills - ROUNDING <= trained <= self.trained + ROUNDING


def played(schedule: list[tuple[str, str, float]], lengths: dict[str, float], trials: int = 1) -> Play:
    play, kills = Play(), iter(schedule)
    for _ in range(trials):
        play.fit(kills, lengths)
    play.leave()
    play.judge()
    return play


@pytest.mark.parametrize("victim", [WORKER, DRIVER])
@pytest.mark.parametrize("at", [0.0, 0.1, 0.99])   # of 70 s: before the process has ever told anything, and after
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_any_step_of_a_trial_costs_the_bill_one_heartbeat_at_most(step: str, at: float, victim: str) -> None:
    play = played([(step, victim, at)], dict.fromkeys(STEPS, 70.0), trials=2)
    assert play.kills == (0 if victim == WORKER and step in (STARTING, OVER) else 1 + (victim == DRIVER and step not in (STARTING, OVER)))


def test_two_kills_at_any_two_steps_cost_the_bill_two_heartbeats_at_most() -> None:
    lengths = {STARTING: 45.0, LOAD: 31.0, TRAIN: 100.0, COMMIT: 7.0, OVER: 40.0}
    points = list(itertools.product(STEPS, (WORKER, DRIVER), (0.05, 0.95)))
    for pair in itertools.product(points, repeat=2):
        played(list(pair), lengths)


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from([WORKER, DRIVER]), st.floats(0, 1)), max_size=5),
       st.fixed_dictionaries(dict.fromkeys(STEPS, SECONDS)))
def test_no_schedule_of_kills_bills_a_trial_twice_or_forgets_more_than_a_heartbeat_of_each(
    schedule: list[tuple[str, str, float]], lengths: dict[str, float]
) -> None:
    played(schedule, lengths, trials=2)


def test_what_an_undisturbed_trial_held_and_none_of_its_processes_told_is_its_start() -> None:
    play = played([], {STARTING: 5.0, LOAD: 40.0, TRAIN: 65.0, COMMIT: 1.0, OVER: 2.0})
    told = {one.kind: one.seconds for one in Ledger(play.store, RUN).total(PRICE)}
    assert told == {"start": 7, "load": 40, "train": 65, "idle": 1, "wall": 113}


def test_trials_side_by_side_are_held_each_for_itself() -> None:
    play = Play()
    with play.ledger.trial("sweep", "a", gpus=1, cpus=1):
        play.pass_time(10)
        with play.ledger.trial("sweep", "b", gpus=0.5, cpus=1):
            mine = Meter(play.store, RUN, "sweep", gpus=0.5, cpus=1, clock=play.clock, part_of="b")
            with mine.spending("train"):
                play.pass_time(20)
            mine.beat()
        play.ledger.beat()
        told = {one.kind: (one.seconds, one.cost) for one in play.ledger.total(PRICE)}
    assert told == {"start": (30, 30), "train": (20, 10), "wall": (30, None)}
