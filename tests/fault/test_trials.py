"""A killed trial costs that trial: finished ones are kept, and a finished sweep repeats nothing."""

import contextlib
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from job.errors import TemporaryError
from job.ground.events import Events
from job.river import River
from job.runplan import Pool
from job.sweep import MAX_FAILURES
from tests.fault.kills import frozen

pytestmark = [pytest.mark.fault, pytest.mark.long]
POOLS = {"generate": Pool(2, 0.5, 0), "sweep": Pool(1, 0.5, 0)}


@pytest.fixture(scope="module")
def session(local_ray: str) -> str:
    """The name of a local Ray's session: it stands in the command line of everything that belongs to it."""
    from ray._private.worker import _global_node

    return str(_global_node.session_name)


LIVED_S = 1.0   # of a process between the moment when it is seen and its end


class Striker(threading.Thread):
    """SIGKILLs the process of the trial that runs when a given number of trials is finished, ``LIVED_S`` after it is seen.

    ``name``: what the process calls itself.
    """

    def __init__(self, root: Path, session: str, after: int, name: str = "RayTrainWorker") -> None:
        super().__init__(daemon=True)
        self.root, self.session, self.after, self.its, self.struck = root, session, after, name, 0

    def run(self) -> None:
        while not self.struck:
            if len(list(self.root.glob("*/runs/*/trials/*.json"))) == self.after:
                for process in psutil.process_iter():
                    with contextlib.suppress(psutil.Error):
                        if self.its in process.name() + "".join(process.cmdline()) and self._ours(process):
                            time.sleep(LIVED_S)
                            process.send_signal(signal.SIGKILL)   # raises if it is over
                            self.struck = process.pid
                            break
            time.sleep(0.02)

    def _ours(self, process: psutil.Process) -> bool:
        return any(self.session in " ".join(one.cmdline()) for one in process.parents())


def drawn(root: Path, *flags: str) -> tuple[River, dict[str, Any], list[tuple[str, float]]]:
    """A run whose few images are there: the river, its tallies, and the trials of its grid."""
    walk = River(*frozen(root, "--generator.images_per_class", "8", "--generator.options.seconds_per_image", "0", *flags),
                 Events("json"), POOLS)
    tallies, _ = walk.draw()
    return walk, tallies, [("", alpha) for alpha in walk.plan.alphas]


def held(spent: dict[str, float]) -> float:
    """What is billed, of one trial after the other."""
    return sum(seconds for kind, seconds in spent.items() if kind != "wall")


@pytest.mark.timeout(600)
def test_a_killed_trial_is_fitted_again_finished_ones_are_kept_and_a_finished_sweep_repeats_nothing(session: str, tmp_path: Path) -> None:
    walk, tallies, asked = drawn(tmp_path, "--sweep.alphas", "0,.25,.5", "--train.steps", "300")
    striker = Striker(tmp_path, session, after=1)
    striker.start()
    begun = time.perf_counter()
    results = walk.sweep(tallies, asked, walk.plan.sweep_seeds, "val", "sweep")
    took = time.perf_counter() - begun
    striker.join(10)
    assert striker.struck
    records = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.glob("digits/runs/*/trials/*.json")}
    assert len(records) == len(results) == 3
    spent = {one.kind: one.seconds for one in walk.ledger.total(walk.plan.price) if one.room == "sweep"}
    assert spent["train"] >= sum(one.seconds for one in results) - 0.01
    assert sum(one.seconds + one.load_s for one in results) + LIVED_S - 0.01 <= held(spent) <= spent["wall"] + 0.01 <= took + 0.02
    again = River(walk.store, walk.plan, walk.split, Events("json"), POOLS)
    again.draw()
    same = again.sweep(tallies, asked, walk.plan.sweep_seeds, "val", "sweep")
    assert all((one.correct_SN == other.correct_SN).all() for one, other in zip(results, same, strict=True))
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in records} == records


@pytest.mark.timeout(300)
def test_a_training_that_hangs_is_ended_at_its_deadline_begun_again_and_given_up_with_its_bill(session: str, tmp_path: Path) -> None:
    walk, tallies, asked = drawn(tmp_path, "--sweep.alphas", "0,.5", "--train.steps", "1000000", "--sweep.fit_deadline_s", "3")
    begun = time.perf_counter()
    with pytest.raises(TemporaryError, match=rf"the trial at alpha 0 failed {MAX_FAILURES + 1} times.*"):
        walk.sweep(tallies, asked, walk.plan.sweep_seeds, "val", "sweep")
    assert list(tmp_path.glob("digits/runs/*/trials/*.json")) == []
    spent = {one.kind: one.seconds for one in walk.ledger.total(walk.plan.price) if one.room == "sweep"}
    attempts = 3.0 * (MAX_FAILURES + 1)   # which ended themselves, before any of them had beaten twice
    assert attempts - 0.01 <= held(spent) <= spent["wall"] + 0.01 <= time.perf_counter() - begun + 0.02


@pytest.mark.timeout(300)
def test_the_death_of_the_process_that_looks_after_the_trials_passes_and_finished_ones_are_kept(session: str, tmp_path: Path) -> None:
    walk, tallies, asked = drawn(tmp_path, "--sweep.alphas", "0,.5", "--train.steps", "300")
    striker = Striker(tmp_path, session, after=1, name="Controllers")
    striker.start()
    with pytest.raises(TemporaryError, match=r"the trial at alpha 0\.5"):
        walk.sweep(tallies, asked, walk.plan.sweep_seeds, "val", "sweep")
    striker.join(10)
    assert striker.struck
    assert len(list(tmp_path.glob("digits/runs/*/trials/*.json"))) == 1
    again = River(walk.store, walk.plan, walk.split, Events("json"), POOLS)
    again.draw()
    assert len(again.sweep(tallies, asked, walk.plan.sweep_seeds, "val", "sweep")) == 2
