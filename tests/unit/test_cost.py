"""The bill: every second of every process once, killed ones to within a heartbeat, at prices that somebody named."""

import json
import threading
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import TemporaryError
from job.ground import layout
from job.ground.bill import line, with_repeated
from job.ground.cost import BEAT_S, Ledger, Meter, wall
from job.ground.store import Store
from job.results import CostLine
from job.runplan import Price

pytestmark = pytest.mark.unit
RUN = layout.Run("dataset", "run")
PRICE = Price(3600.0, 360.0, "USD", "a list", "2026-01-01")   # a GPU-second costs 1, a CPU-second .1
KINDS = st.sampled_from(["load", "draw", "encode"])
SECONDS = st.floats(0, 100, allow_subnormal=False)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fresh() -> Store:
    return Store(f"memory://{uuid.uuid4().hex}", retry_s=0)


@given(st.lists(st.tuples(st.one_of(st.none(), KINDS), SECONDS), max_size=20))
def test_every_second_of_a_process_is_of_one_kind_and_what_nobody_claims_is_idle(steps: list[tuple[str | None, float]]) -> None:
    clock = Clock()
    meter = Meter(fresh(), RUN, "generate", gpus=1, cpus=1, clock=clock)
    expected: dict[str, float] = {}
    for kind, seconds in steps:
        if kind:
            with meter.spending(kind):
                clock.now += seconds
        else:
            clock.now += seconds
        expected[kind or "idle"] = expected.get(kind or "idle", 0.0) + seconds
    assert sum(meter.seconds().values()) == pytest.approx(clock.now)
    for kind, seconds in expected.items():
        assert meter.seconds().get(kind, 0.0) == pytest.approx(seconds, abs=1e-6)


def test_a_kind_inside_a_kind_is_counted_once() -> None:
    clock = Clock()
    meter = Meter(fresh(), RUN, "generate", gpus=1, cpus=1, clock=clock)
    with meter.spending("draw"):
        clock.now += 1
        with meter.spending("encode"):
            clock.now += 2
        clock.now += 4
    assert meter.seconds() == {"draw": 5, "encode": 2}


@given(st.lists(st.tuples(SECONDS, st.booleans()), min_size=1, max_size=12))
def test_a_killed_process_is_billed_to_within_one_heartbeat(lives: list[tuple[float, bool]]) -> None:
    store, kills = fresh(), 0
    ledger = Ledger(store, RUN)
    for seconds, killed in lives:
        clock = Clock()
        meter = Meter(store, RUN, "generate", gpus=1, cpus=1, clock=clock)
        while clock.now + BEAT_S <= seconds:
            clock.now += BEAT_S
            meter.beat()
        clock.now = seconds
        kills += killed
        if not killed:
            ledger.hear(meter.process, meter.rows())
    ledger.close()
    billed = sum(one.cost or 0 for one in Ledger(store, RUN).total(PRICE))
    lived = sum(seconds for seconds, _ in lives)
    assert lived - kills * BEAT_S - 0.01 <= billed <= lived + 0.01


def test_heartbeats_are_cumulative_and_what_is_heard_beside_them_counts_once() -> None:
    store, clock = fresh(), Clock()
    meter, ledger = Meter(store, RUN, "generate", gpus=2, cpus=1, clock=clock), Ledger(store, RUN)
    for _ in range(3):
        clock.now += 10
        meter.beat()
    clock.now += 5
    ledger.hear(meter.process, meter.rows())
    ledger.close()
    (one,) = ledger.total(PRICE)
    assert (one.room, one.kind, one.seconds, one.gpu, one.cost) == ("generate", "idle", 35, True, 70)


def test_a_heartbeat_whose_answer_got_lost_is_not_billed_beside_the_next() -> None:
    class Silent(Store):
        answers = False

        def create(self, key: str, data: bytes) -> bool:
            won = super().create(key, data)
            if not self.answers:
                raise TemporaryError("no answer")
            return won

    store, clock = Silent(f"memory://{uuid.uuid4().hex}", retry_s=0), Clock()
    meter, ledger = Meter(store, RUN, "generate", gpus=1, cpus=1, clock=clock), Ledger(store, RUN, clock=clock)
    with ledger.trial("sweep", "held", gpus=1, cpus=1):
        for store.answers in (False, True):
            clock.now += 30
            meter.beat()
            ledger.beat()
        assert {one.room: one.seconds for one in ledger.total(PRICE)} == {"generate": 60, "sweep": 60}


def test_storage_trouble_never_stops_what_is_metered_and_the_next_heartbeat_says_it_all() -> None:
    class Broken(Store):
        down = True

        def create(self, key: str, data: bytes) -> bool:
            if self.down:
                raise TemporaryError("down")
            return super().create(key, data)

    store, clock = Broken(f"memory://{uuid.uuid4().hex}", retry_s=0), Clock()
    meter = Meter(store, RUN, "generate", gpus=1, cpus=1, clock=clock)
    clock.now = 30
    meter.beat()
    store.down, clock.now = False, 60
    meter.beat()
    assert sum(one.seconds for one in Ledger(store, RUN).total(PRICE)) == 60


@given(st.lists(st.tuples(st.sampled_from(["sweep", "confirm"]), SECONDS, st.sampled_from([0.0, 0.5, 1.0])), max_size=10))
def test_the_drivers_lines_are_summed_and_walls_cost_nothing(lines: list[tuple[str, float, float]]) -> None:
    store = fresh()
    ledger = Ledger(store, RUN)
    for room, seconds, gpus in lines:
        ledger.add([(room, "start", seconds, gpus, 2.0), wall(room, seconds)])
    total = Ledger(store, RUN).total(PRICE)
    expected = sum(seconds * (gpus or 2 * 0.1) for _, seconds, gpus in lines)
    assert sum(one.cost or 0 for one in total) == pytest.approx(expected, abs=0.01)
    assert all(one.cost is None for one in total if one.kind == "wall")


def test_without_a_price_there_is_no_cost_and_with_one_it_follows_what_is_held() -> None:
    free = Price(None, None, "USD", "", "")
    assert line("generate", "draw", 3600, gpus=1, cpus=1, price=free).cost is None
    assert line("generate", "draw", 3600, gpus=0.5, cpus=1, price=PRICE).cost == 1800
    assert line("generate", "draw", 3600, gpus=0, cpus=4, price=PRICE).cost == 1440
    assert line("generate", "draw", 3600, gpus=1, cpus=1, price=Price(None, 1.0, "USD", "", "")).cost is None   # by the GPU, and unknown


@given(SECONDS, SECONDS, SECONDS, st.floats(0, 250))
def test_what_led_to_no_commit_of_this_run_is_shown_as_repeated_and_the_sum_stays(
    draw: float, encode: float, upload: float, committed: float
) -> None:
    kinds = {"draw": draw, "encode": encode, "upload": upload, "load": 7.0}
    lines = [*(CostLine("generate", kind, seconds, True, 2 * seconds) for kind, seconds in kinds.items()),
             CostLine("sweep", "train", 5, False, None)]
    shown = with_repeated(lines, {"generate": committed, "sweep": 5})
    assert sum(one.seconds for one in shown) == pytest.approx(sum(one.seconds for one in lines), abs=0.01)
    assert sum(one.cost or 0 for one in shown) == pytest.approx(sum(one.cost or 0 for one in lines), abs=0.01)
    repeated = sum(one.seconds for one in shown if one.kind == "repeated")
    beyond = max(0.0, draw + encode - committed)
    share = beyond / (draw + encode) if beyond >= 0.05 else 0
    assert repeated == pytest.approx(share * (draw + encode + upload), abs=0.06 * (1 + upload / max(draw + encode, 1e-9)))
    assert {one.kind for one in shown if one.room == "sweep"} == {"train"}


def test_of_two_units_in_flight_the_later_word_counts_whichever_is_heard_first() -> None:
    store = fresh()
    early, late = ([["generate", kind, seconds, 1.0, 1.0] for kind, seconds in lines.items()]
                   for lines in ({"load": 3.0, "draw": 5.0}, {"load": 3.0, "draw": 9.0, "upload": 2.0}))
    ledger = Ledger(store, RUN)
    for rows in (late, early):
        ledger.hear("one", rows)
        assert ledger.heard(PRICE) == 14
    ledger.close()
    assert {one.kind: one.seconds for one in ledger.total(PRICE)} == {"load": 3, "draw": 9, "upload": 2}


def test_a_heartbeat_names_room_kind_seconds_and_what_is_held() -> None:
    store, clock = fresh(), Clock()
    meter = Meter(store, RUN, "generate", gpus=1, cpus=0.5, clock=clock)
    clock.now = 2
    meter.beat()
    ((key, _),) = store.list(RUN.costs())
    assert json.loads(store.read(key)) == [["generate", "idle", 2, 1, 0.5]]


def test_what_commits_tell_adds_up_to_what_the_process_spent() -> None:
    clock, told = Clock(), 0.0
    meter = Meter(fresh(), RUN, "generate", gpus=0.5, cpus=1, clock=clock)
    for seconds in (3.0, 0.0, 7.5):
        with meter.spending("draw"):
            clock.now += seconds
        clock.now += 1
        since = meter.since()
        assert (since["gpus"], since["cpus"]) == (0.5, 1)
        told += sum(since["spent_s"].values())
    assert told == pytest.approx(sum(meter.seconds().values())) == clock.now


def test_a_heartbeat_that_waits_for_storage_keeps_no_work_waiting() -> None:
    class Slow(Store):
        reached, going = threading.Event(), threading.Event()

        def create(self, key: str, data: bytes) -> bool:
            self.reached.set()
            return self.going.wait(60) and super().create(key, data)

    store = Slow(f"memory://{uuid.uuid4().hex}", retry_s=0)
    meter, worked = Meter(store, RUN, "generate", gpus=1, cpus=1), threading.Event()

    def work() -> None:
        with meter.spending("draw"):
            worked.set()

    beat = threading.Thread(target=meter.beat)
    beat.start()
    assert store.reached.wait(60)
    threading.Thread(target=work, daemon=True).start()
    assert worked.wait(60)   # while the heartbeat still waits
    assert beat.is_alive()
    store.going.set()
    beat.join()
    assert len(store.list(RUN.costs())) == 1
