"""A machine that is about to end: what the flag stops, whom a drain waits for, and that it blocks no later run."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from job.__main__ import main
from job.ground import drain, layout
from job.ground.store import Store
from job.pool import Place, UnitWorker
from job.records import Unit
from job.runplan import Pool

pytestmark = pytest.mark.unit
UNIT = Unit("cat", 0, 0, 8)
BUSY = """
import sys, time
from job.ground import drain

with drain.busy('a long unit'):
    print('begun', flush=True)
    time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary directory of its own, as a container has; no drain of this machine is touched."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def begun() -> Iterator[list[subprocess.Popen]]:
    """Processes that are ended with the test."""
    processes: list[subprocess.Popen] = []
    yield processes
    for process in processes:
        end(process)


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    if process.stdout:
        process.stdout.close()


def busy_for(seconds: float, begun: list[subprocess.Popen]) -> subprocess.Popen:
    """A process in the middle of something."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, str(seconds)], stdout=subprocess.PIPE, text=True)
    begun.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


class Drawer(UnitWorker):
    """A worker whose units take no time."""

    def load(self) -> None:
        self.drawn: list[str] = []

    def work(self, unit: Unit) -> dict[str, object]:
        assert list(drain.at_work().values()) == [f"generate {unit.name}"]
        self.drawn.append(unit.name)
        return {"asked": 8}


def worker() -> Drawer:
    return Drawer(Place(f"memory://{uuid.uuid4().hex}", 0, layout.Run("digits", "run"), "generate", Pool(1, 1, 0), "stop", 60, "session"))


def test_without_a_drain_nothing_is_asked_and_nobody_is_at_work() -> None:
    assert not drain.asked()
    assert drain.at_work() == {}


def test_the_flag_outlasts_the_grace_in_which_a_pod_goes_and_then_stands_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    drain.drain(0, print)
    assert json.loads((drain.folder() / "flag").read_text())["until"] > time.time() + 60   # Ray alone takes 30 s
    monkeypatch.setattr(drain, "OUTLASTS_S", 0.4)
    assert drain.drain(0.2, print) == {}
    assert drain.asked()
    time.sleep(0.7)
    assert not drain.asked()


def test_a_driver_that_is_started_later_forgets_the_flag_and_one_that_runs_does_not() -> None:
    drain.drain(60, print)
    drain.forget_older()
    assert drain.asked()
    long_ago = time.time() - 86400
    os.utime(drain.folder() / "flag", (long_ago, long_ago))
    drain.forget_older()
    assert not drain.asked()


def test_a_drain_waits_for_who_is_busy_says_so_once_and_for_nobody_else(begun: list[subprocess.Popen]) -> None:
    process, told = busy_for(1.5, begun), []
    start = time.monotonic()
    assert drain.drain(30, told.append) == {}
    assert 0.5 < time.monotonic() - start < 20
    assert told == [f"waiting for process {process.pid}: a long unit"]


def test_a_drain_waits_no_longer_than_its_grace_and_tells_who_is_left(begun: list[subprocess.Popen]) -> None:
    process = busy_for(60, begun)
    start = time.monotonic()
    assert drain.drain(0.7, print) == {process.pid: "a long unit"}
    assert time.monotonic() - start < 10


def test_who_was_killed_in_the_middle_is_not_waited_for(begun: list[subprocess.Popen]) -> None:
    process = busy_for(60, begun)
    end(process)
    assert drain.drain(30, pytest.fail) == {}
    assert not list(drain.folder().glob("busy-*"))


def test_a_later_process_that_got_the_number_of_a_killed_one_is_not_waited_for() -> None:
    with drain.busy("something"):
        mine = drain.folder() / f"busy-{os.getpid()}.json"
        mine.write_text('{"what": "what another was at", "born": 1.0}')
        assert drain.at_work() == {}


def test_a_worker_begins_nothing_while_the_flag_stands_and_goes_on_where_the_machine_lives_on(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    one = worker()
    monkeypatch.setattr(drain, "OUTLASTS_S", 0.0)
    drain.drain(1.0, print)
    start = time.monotonic()
    row = one._row(UNIT)
    assert time.monotonic() - start > 0.5
    assert (row["asked"], one.drawn) == (8, [UNIT.name])
    assert drain.at_work() == {}


def test_a_worker_that_waits_for_its_end_hears_that_all_are_to_stop() -> None:
    one = worker()
    drain.drain(3600, print)
    threading.Timer(0.7, lambda: Store(one.place.url, 0).create("stop", b"{}")).start()
    assert one._row(UNIT)["stopped"]
    assert one.drawn == []


def test_the_verb_ends_well_whatever_it_finds_and_only_wrong_usage_is_64(
    machine: Path, begun: list[subprocess.Popen], capfd: pytest.CaptureFixture[str]
) -> None:
    process = busy_for(60, begun)
    assert main(["drain", "--stop_grace_s", "0.6"]) == 0
    out = capfd.readouterr().out
    assert f"waiting for process {process.pid}: a long unit" in out
    assert "still at work after 0.6 s: a long unit" in out
    end(process)
    assert main(["drain", "--stop_grace_s", "0"]) == 0
    assert "nothing of ours is at work" in capfd.readouterr().out
    assert main(["drain", "--grace", "3"]) == 64
    (drain.folder() / "flag").unlink()
    drain.folder().rmdir()
    drain.folder().write_text("no folder")
    assert main(["drain"]) == 0
    assert "could not be told" in capfd.readouterr().out


def test_the_verb_waits_for_no_library() -> None:
    code = ("import sys; from job.__main__ import main; main(['drain', '--stop_grace_s', '0'])\n"
            "print([name for name in ('ray', 'torch', 'diffusers', 'matplotlib', 'scipy', 'fsspec', 'kubernetes') if name in sys.modules])")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"
