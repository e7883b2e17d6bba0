"""How many processes may die while they load: the dead of this host count, a lost node's do not."""

import json
import os
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass

import pytest

from job.ground import layout
from job.ground.store import Store
from job.pool import LOADS, Place, UnitWorker
from job.runplan import Pool

pytestmark = pytest.mark.unit


class Idle(UnitWorker):
    """A worker that has nothing to load."""

    def load(self) -> None:
        self.loaded = True


@dataclass(frozen=True)
class Host:
    """One call of the room on a store of its own, and who has left marks there."""

    place: Place

    def left(self, what: str, host: str, pid: int) -> None:
        store = Store(self.place.url, 0)
        store.create(self.place.run.start(f"load-{self.place.session}", f"{what}-{host}-{pid}-{uuid.uuid4().hex[:12]}"),
                     json.dumps({"host": host, "pid": pid}).encode())


@pytest.fixture
def host() -> Host:
    return Host(Place(f"memory://{uuid.uuid4().hex}", 0, layout.Run("digits", "run"), "generate", Pool(1, 1, 0), "stop", 60, "session"))


@pytest.fixture(scope="module")
def dead() -> int:
    """A process of this host that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_processes_that_died_on_this_host_while_they_loaded_end_the_room_with_their_number(host: Host, dead: int) -> None:
    for away in [dead, *range(2**22 + 1, 2**22 + LOADS)]:   # beyond the largest id that Linux gives
        host.left("begun", socket.gethostname(), away)
    error = Idle(host.place).error
    assert error is not None
    assert f"{LOADS} processes died while they loaded the generate room's models" in error.problem


def test_a_process_that_left_many_marks_died_once(host: Host, dead: int) -> None:
    for _ in range(LOADS):
        host.left("begun", socket.gethostname(), dead)
    assert Idle(host.place).error is None


def test_a_process_that_finished_loading_clears_those_that_died_beside_it(host: Host) -> None:
    for away in range(1, LOADS + 1):
        host.left("begun", socket.gethostname(), 2**22 + away)
    host.left("loaded", socket.gethostname(), 2**22 + 1)
    assert Idle(host.place).error is None


def test_processes_of_lost_nodes_and_processes_that_still_load_are_no_deaths(host: Host) -> None:
    for away in range(1, 5 * LOADS):
        host.left("begun", f"spot-node-{away}", 2**22 + away)   # their pods are gone: nobody knows how they ended
    for _ in range(5 * LOADS):
        host.left("begun", socket.gethostname(), os.getpid())
    worker = Idle(host.place)
    assert worker.error is None
    assert worker.loaded
