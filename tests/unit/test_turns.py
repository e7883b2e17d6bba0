"""Two units in one process: the next is drawn while one is written, none is begun too early, and seconds add up."""

import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from job import pool
from job.ground import drain, layout
from job.ground.cost import Meter
from job.ground.store import Store
from job.pool import Place, UnitWorker
from job.records import Unit
from job.runplan import Pool
from job.turns import Turns

pytestmark = pytest.mark.unit
RUN = layout.Run("digits", "run")
FIRST, SECOND, THIRD = (Unit("cat", 0, lo, lo + 8) for lo in (0, 8, 16))
WAIT_S = 30


class Writer(UnitWorker):
    """Draws at once, and writes each unit until it is allowed to end."""

    at_once = 2

    def load(self) -> None:
        self.drawing, self.said = [], []
        self.written = {unit.name: threading.Event() for unit in (FIRST, SECOND, THIRD)}
        self.drawn = {unit.name: threading.Event() for unit in (FIRST, SECOND, THIRD)}

    def work(self, unit: Unit) -> dict[str, object]:
        self.drawing.append(unit.name)
        assert len(self.drawing) == 1   # alone with the device
        self.said.append(drain.at_work())
        self.drawing.remove(unit.name)
        self.turns.done()
        self.drawn[unit.name].set()
        assert self.written[unit.name].wait(WAIT_S)
        return {"asked": 8}


@pytest.fixture
def worker(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Writer:   # type: ignore[no-untyped-def]
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return Writer(Place(f"memory://{uuid.uuid4().hex}", 0, RUN, "generate", Pool(1, 1, 0), "stop", 60, "session"))


def test_the_next_unit_is_drawn_while_one_is_written_and_a_drain_sees_both(worker: Writer) -> None:
    with ThreadPoolExecutor(2) as calls:
        rows = [calls.submit(worker._row, unit) for unit in (FIRST, SECOND)]
        assert all(worker.drawn[unit.name].wait(WAIT_S) for unit in (FIRST, SECOND))
        (what,) = drain.at_work().values()
        assert sorted(what.split(" and ")) == [f"generate {FIRST.name}", f"generate {SECOND.name}"]
        worker.written[FIRST.name].set()
        assert rows[0].result(WAIT_S)["asked"] == 8
        assert list(drain.at_work().values()) == [f"generate {SECOND.name}"]
        worker.written[SECOND.name].set()
        assert rows[1].result(WAIT_S)["asked"] == 8
    assert drain.at_work() == {}


def test_after_a_stop_nothing_is_begun_and_it_is_told_when_all_that_was_in_flight_is_written(worker: Writer) -> None:
    with ThreadPoolExecutor(2) as calls:
        first = calls.submit(worker._row, FIRST)
        assert worker.drawn[FIRST.name].wait(WAIT_S)
        Store(worker.place.url, 0).create("stop", b"{}")
        second = calls.submit(worker._row, SECOND)
        time.sleep(0.2)
        assert not second.done()
        worker.written[FIRST.name].set()
        assert first.result(WAIT_S)["asked"] == 8
        assert second.result(WAIT_S)["stopped"]
        assert worker._row(THIRD)["stopped"]
    assert not worker.drawn[SECOND.name].is_set()


def test_a_unit_that_raises_gives_the_device_back(worker: Writer) -> None:
    def raises(unit: Unit) -> dict[str, object]:
        raise ZeroDivisionError(unit.name)

    work, worker.work = worker.work, raises   # type: ignore[method-assign]
    assert "ZeroDivisionError" in worker._row(FIRST)["error"][1]
    worker.work = work   # type: ignore[method-assign]
    worker.written[SECOND.name].set()
    assert worker._row(SECOND)["asked"] == 8


def test_to_be_done_twice_or_without_a_turn_gives_nobody_elses_turn_away() -> None:
    turns, seen = Turns(), []
    turns.done()
    with turns.one():
        turns.done()
        turns.done()
        with ThreadPoolExecutor(1) as other, turns_of(other, turns):
            turns.done()   # ours is over: this must not end theirs
            seen.append(turns._device.locked())
    assert seen == [True]
    assert not turns._device.locked()


class turns_of:
    """Another thread that has the device inside."""

    def __init__(self, thread: ThreadPoolExecutor, turns: Turns) -> None:
        self.begun, self.over = threading.Event(), threading.Event()
        self.thread, self.turns = thread, turns

    def __enter__(self) -> None:
        def hold() -> None:
            with self.turns.one():
                self.begun.set()
                assert self.over.wait(WAIT_S)

        self.held = self.thread.submit(hold)
        assert self.begun.wait(WAIT_S)

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.held.result(WAIT_S)


def test_what_the_device_does_counts_and_else_what_is_done_beside_it() -> None:
    now = 0.0
    meter = Meter(Store(f"memory://{uuid.uuid4().hex}", 0), RUN, "generate", gpus=1, cpus=1, clock=lambda: now)
    with ThreadPoolExecutor(1) as other:
        with meter.spending("draw"):
            now += 4
        with meter.spending("encode"):
            now += 1                       # the device waits
            inside = meter.spending("draw")
            other.submit(inside.__enter__).result()
            now += 10                      # the other thread draws meanwhile
            with meter.spending("upload"):
                now += 2
            other.submit(inside.__exit__, None, None, None).result()
            now += 3
        with meter.spending("upload"):
            now += 5
        now += 7
    assert meter.seconds() == {"draw": 16, "encode": 4, "upload": 5, "idle": 7}
    assert sum(meter.since()["spent_s"].values()) == now


def test_of_several_deadlines_the_earliest_ends_the_process() -> None:
    code = """
import time
from job.pool import deadline
with deadline(60):
    with deadline(0.5):
        pass
    time.sleep(1)
    print("alive", flush=True)
    with deadline(0.5), deadline(60):
        with deadline(0.2):
            pass
        time.sleep(20)
        print("too late", flush=True)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.stdout, found.returncode) == ("alive\n", 1)


def test_a_drawer_works_on_two_units_and_a_pool_sends_it_no_more() -> None:
    from job.generate import Drawer
    from job.measure import Scorer

    actors = pool._actors(3, Drawer.at_once)
    assert (Drawer.at_once, actors.max_tasks_in_flight_per_actor, actors.enable_true_multi_threading) == (2, 2, True)
    assert Scorer.at_once == 1
    assert pool._actors(3, 1).max_tasks_in_flight_per_actor is None
