"""Heartbeats of real processes: a thread tells them, a normal end tells the last seconds, and SIGKILL costs one interval."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from job.ground import layout
from job.ground.cost import Ledger
from job.ground.store import Store
from job.runplan import Price

pytestmark = pytest.mark.unit
RUN = layout.Run("dataset", "run")
FREE = Price(None, None, "USD", "", "")
STALL_S = 5.0     # for which a busy machine may keep a thread waiting
WAIT_S = 60.0
BEGINS = """
import json, sys, time
from job.ground import layout
from job.ground.cost import Ledger, Meter
from job.ground.store import Store
store, run, every_s = Store(sys.argv[1]), layout.Run("dataset", "run"), float(sys.argv[2])
"""
WORKER = BEGINS + """
meter = Meter(store, run, "generate", gpus=1, cpus=1, every_s=every_s).start()
with meter.spending("draw"):
    print("begun", flush=True)
    sys.stdin.readline()
    print(json.dumps(meter.seconds()), flush=True)
"""
DRIVER = BEGINS + """
ledger = Ledger(store, run, every_s=every_s)
with ledger.room("sweep"):
    with ledger.trial("sweep", "a", gpus=1, cpus=1):
        begun = time.monotonic()
        print("begun", flush=True)
        sys.stdin.readline()
        print(json.dumps({"start": time.monotonic() - begun}), flush=True)
"""


class Process:
    """One of these programs, and since when it has told that it began."""

    def __init__(self, program: str, root: Path, every_s: float) -> None:
        self.born = time.monotonic()
        self.child = subprocess.Popen([sys.executable, "-c", program, str(root), str(every_s)], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.root = root
        assert self.line() == "begun\n"
        self.begun = time.monotonic()

    def line(self) -> str:
        assert self.child.stdout
        return self.child.stdout.readline()

    def heartbeats(self) -> list[Path]:
        return sorted(self.root.glob("dataset/runs/run/cost/*/[0-9]*.json"))

    def wait_for(self, heartbeats: int) -> None:
        end = time.monotonic() + WAIT_S
        while len(self.heartbeats()) < heartbeats:
            assert time.monotonic() < end, f"{len(self.heartbeats())} heartbeats in {WAIT_S:g} s"
            time.sleep(0.02)

    def kill(self) -> tuple[float, float]:
        """SIGKILL; the seconds that it lived for certain, and at most."""
        now = time.monotonic()
        os.kill(self.child.pid, signal.SIGKILL)
        self.child.communicate()
        return now - self.begun, time.monotonic() - self.born

    def end(self) -> tuple[dict[str, float], float]:
        """A normal end: what it said that it had spent a moment before, and the seconds that it lived at most."""
        assert self.child.stdin
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        said = json.loads(self.line())
        self.child.communicate()
        assert self.child.returncode == 0
        return said, time.monotonic() - self.born


def billed(root: Path) -> dict[str, float]:
    """Seconds by kind."""
    return {one.kind: one.seconds for one in Ledger(Store(str(root)), RUN).total(FREE)}


@pytest.mark.parametrize(("program", "kinds"), [(WORKER, {"draw"}), (DRIVER, {"start", "wall"})], ids=["worker", "driver"])
def test_a_process_beats_while_it_works_and_sigkill_costs_its_bill_one_interval_at_most(
    program: str, kinds: set[str], tmp_path: Path
) -> None:
    every_s = 0.4
    process = Process(program, tmp_path, every_s)
    process.wait_for(6)
    least, most = process.kill()
    beats = [json.loads(path.read_text()) for path in process.heartbeats()]
    for kind in kinds:
        (*_, told) = (next(row[2] for row in one if row[1] == kind) for one in beats)
        assert told == pytest.approx(billed(tmp_path)[kind], abs=1e-3)
        assert (len(beats) - 1) * every_s <= told <= most   # cumulative, and never twice
        assert told >= least - every_s - STALL_S
    times = [one[0][2] for one in beats]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) <= every_s + STALL_S
    assert set(billed(tmp_path)) - {"idle"} == kinds


@pytest.mark.parametrize(("program", "kind"), [(WORKER, "draw"), (DRIVER, "start")], ids=["worker", "driver"])
def test_a_process_that_ends_by_itself_tells_its_last_seconds(program: str, kind: str, tmp_path: Path) -> None:
    process = Process(program, tmp_path, every_s=3600)
    time.sleep(0.5)
    assert process.heartbeats() == []
    said, most = process.end()
    told = billed(tmp_path)
    assert 0.5 <= said[kind] <= told[kind] + 1e-3 <= most
    if kind == "start":
        assert told["start"] <= told["wall"] + 1e-3
