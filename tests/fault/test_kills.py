"""Real SIGKILLs of real actors and drivers: the dataset comes out whole, once, and with its bill."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from job import generate, plan, settings
from job.cluster import listening
from job.errors import DataError, JobError, TemporaryError
from job.ground import layout
from job.ground.events import Events
from job.pool import LOADS
from job.run import River
from job.runplan import Pool
from tests.fault.kills import FLAGS, Killer, Reader, frozen, nothing_given_up, outcome, undisturbed

pytestmark = pytest.mark.fault
DRAW = ("tests.fault.draw_only",)
POOLS = {"generate": Pool(2, 0.5, 0), "sweep": Pool(2, 0.5, 0)}


@pytest.fixture(scope="module")
def local_ray() -> Iterator[str]:
    """Ray on this machine with room for a few small workers; the address at which drivers join."""
    settings.calm_ray()
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def river(root: Path, *flags: str) -> River:
    return River(*frozen(root, *flags), Events("json"), POOLS)


def starts(root: Path) -> int:
    """Units begun so far."""
    return len(list(root.glob("*/runs/*/starts/*-*/[0-9][0-9][0-9].json")))


@pytest.mark.timeout(900)
def test_actors_that_are_killed_at_random_cost_two_units_each_at_most_and_nothing_else(
    local_ray: str, tmp_path: Path, whole: bool
) -> None:
    kills, walk = 25 if whole else 10, river(tmp_path, "--generator.images_per_class", "40" if whole else "24")
    killer, reader = Killer(tmp_path, kills, seed=7), Reader(tmp_path)
    killer.start()
    reader.start()
    walk.draw()
    killer.over.set()
    reader.over.set()
    reader.join()
    found = outcome(walk.store, walk.plan)
    assert found == undisturbed(walk.plan)
    assert nothing_given_up(found)
    assert reader.wrong == []
    assert reader.looks > 100
    assert len(killer.killed) >= kills - 1   # the last may come when all is drawn
    assert starts(tmp_path) <= len(found) + 2 * len(killer.killed)
    billed = sum(one.seconds for one in walk.ledger.total(walk.plan.price) if one.kind in ("draw", "encode"))
    committed = sum(one.draw_s + one.encode_s for one in walk.committed)
    assert billed >= committed - 0.1 * len(killer.killed)


def driver(root: Path, address: str, *flags: str, what: tuple[str, ...] = ("job", "run")) -> subprocess.Popen:
    """``python -m job run`` on the cluster of the test, in a process of its own; or one that only draws."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {"RAY_ADDRESS": address}
    return subprocess.Popen([sys.executable, "-m", *what, *FLAGS, "--root", str(root), *flags], env=environ, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def count(root: Path, what: str) -> int:
    return len(list(root.glob(what)))


def until(process: subprocess.Popen, root: Path, what: str, least: int) -> None:
    """Wait until so many objects are there, or the process is over."""
    while process.poll() is None and count(root, what) < least:
        time.sleep(0.05)


@pytest.mark.timeout(900)
def test_a_driver_that_is_killed_again_and_again_ends_in_the_same_dataset(local_ray: str, tmp_path: Path, whole: bool) -> None:
    kills, rng = 4 if whole else 2, np.random.default_rng(11)
    reader, what = Reader(tmp_path), "synthetic/*/commits/*.json"
    reader.start()
    for _ in range(kills):
        process = driver(tmp_path, local_ray, what=DRAW)
        until(process, tmp_path, what, count(tmp_path, what) + int(rng.integers(1, 8)))
        assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.communicate()
    process = driver(tmp_path, local_ray, what=DRAW)
    _, err = process.communicate()
    assert process.returncode == 0, err
    reader.over.set()
    reader.join()
    store, planned, _ = frozen(tmp_path)
    found = outcome(store, planned)
    assert found == undisturbed(planned)
    assert nothing_given_up(found)
    assert reader.wrong == []
    assert starts(tmp_path) <= len(found) + 2 * 2 * kills   # two per actor of the pool, for each driver


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_driver_that_is_killed_in_the_sweep_keeps_its_finished_trials_and_publishes_once(local_ray: str, tmp_path: Path) -> None:
    quick = ("--generator.options.seconds_per_image", "0", "--generator.images_per_class", "8")
    process = driver(tmp_path, local_ray, *quick)
    until(process, tmp_path, "digits/runs/*/trials/*.json", 1)
    assert process.poll() is None, process.communicate()[1]
    process.kill()
    process.communicate()
    trials = {path: path.read_bytes() for path in tmp_path.glob("digits/runs/*/trials/*.json")}
    process = driver(tmp_path, local_ray, *quick)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "verdict" in out
    assert {path: path.read_bytes() for path in trials} == trials
    assert count(tmp_path, "digits/versions/*.json") == 1


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_drivers_of_one_run_at_the_same_time_give_one_result(local_ray: str, tmp_path: Path) -> None:
    both = [driver(tmp_path, local_ray) for _ in range(2)]
    ends = [(*process.communicate(), process.returncode) for process in both]
    assert [code for _, _, code in ends] == [0, 0], ends
    verdicts = [next(line for line in out.splitlines() if line.startswith("verdict")) for out, _, _ in ends]
    assert verdicts[0] == verdicts[1]
    store, planned, _ = frozen(tmp_path)
    assert outcome(store, planned) == undisturbed(planned)
    assert count(tmp_path, "digits/runs/*") == 1
    assert count(tmp_path, "digits/runs/*/trials/*.json") == 4
    assert count(tmp_path, "digits/versions/*.json") == 1
    assert count(tmp_path, "digits/looks/*/*.json") == 1


@pytest.mark.timeout(300)
def test_a_signal_lets_what_is_in_flight_finish_begins_nothing_more_and_ends_in_75(local_ray: str, tmp_path: Path) -> None:
    process = driver(tmp_path, local_ray, "--generator.options.seconds_per_image", "0.4")
    until(process, tmp_path, "synthetic/*/commits/*.json", 2)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    _, err = process.communicate()
    assert process.returncode == 75, err
    assert "run again to resume" in err
    assert time.monotonic() - asked < 60
    commits = count(tmp_path, "synthetic/*/commits/*.json")
    assert commits < 60
    assert starts(tmp_path) == commits   # what was begun was finished


@pytest.mark.timeout(300)
def test_a_grace_that_is_too_short_ends_in_75_all_the_same_and_loses_nothing_but_what_was_begun(local_ray: str, tmp_path: Path) -> None:
    slow = ("--generator.options.seconds_per_image", "6")
    process = driver(tmp_path, local_ray, *slow, "--stop_grace_s", "1")
    until(process, tmp_path, "digits/runs/*/starts/*-*/001.json", 1)
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    _, err = process.communicate()
    assert process.returncode == 75, err
    assert time.monotonic() - asked < 20   # a unit takes 24
    assert count(tmp_path, "synthetic/*/commits/*.json") == 0


def test_a_signal_ends_in_75_before_and_after_the_rooms_too() -> None:
    """Ray puts a handler of its own in place, and leaves it there when it is shut down."""
    code = ("import signal, sys; sys.argv = ['job', 'run']\n"
            "from job import settings; from job.cluster import cluster\n"
            "from job.__main__ import main\n"
            "from job import verbs\n"
            "def verb(chosen, events):\n"
            "    with cluster(chosen):\n"
            "        pass\n"
            "    signal.raise_signal(signal.SIGTERM)\n"
            "    return 'not reached'\n"
            "verbs.VERBS['run'] = (verb, '')\n"
            "sys.exit(main(['run']))")
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 75, done.stderr
    assert "run again to resume" in done.stderr


def room(walk: River) -> generate.Drawn:
    """The room that draws, alone."""
    units = plan.first_round(walk.plan)
    with walk.room("generate", len(units), "units") as floor:
        return generate.generate(walk.plan, units, floor)


@pytest.mark.timeout(300)
def test_a_hanging_draw_is_ended_at_its_deadline_and_the_sample_given_up(local_ray: str, tmp_path: Path) -> None:
    walk = river(tmp_path, "--generator.images_per_class", "8", "--generator.options.hangs", "[5]", "--generator.unit_deadline_s", "3",
                 "--generator.options.seconds_per_image", "0", "--generator.failed_share", "0.5", "--generator.unit_size", "8",
                 "--generator.batch_size", "8")
    walk.plan = replace(walk.plan, classes=walk.plan.classes[:1], quotas=walk.plan.quotas[:1])
    done = room(walk)
    assert (done.asked, done.made, done.failed) == (8, 7, 1)
    ((_, _, failed),) = outcome(walk.store, walk.plan).values()
    assert [index for index, _, _ in failed] == [5]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("how", "kind", "words"), [
    ("raises", JobError, "asked to fail while loading"), ("ends process", DataError, "processes died while they loaded"),
])
def test_a_constructor_that_cannot_succeed_ends_the_room_in_a_bounded_number_of_tries_with_the_cause(
    local_ray: str, tmp_path: Path, how: str, kind: type[JobError], words: str
) -> None:
    walk = river(tmp_path, "--generator.options.load", how)
    with pytest.raises(kind, match=words):
        room(walk)
    assert count(tmp_path, "*/runs/*/starts/load-*/begun-*.json") <= LOADS + 2 * POOLS["generate"].workers
    assert outcome(walk.store, walk.plan) == {}


@pytest.mark.timeout(300)
def test_a_stop_that_comes_before_a_room_begins_nothing(local_ray: str, tmp_path: Path) -> None:
    walk = river(tmp_path)
    with listening(walk.stop, 5, Events("json")):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(TemporaryError, match="stopped by a signal"):
            room(walk)
    assert starts(tmp_path) == 0


@pytest.mark.timeout(300)
def test_a_reached_budget_commits_what_is_in_flight_and_a_raised_one_goes_on_with_the_same_run(local_ray: str, tmp_path: Path) -> None:
    flags = ("--price.per_cpu_hour", "3600", "--generator.images_per_class", "16")   # a CPU-second costs one
    process = driver(tmp_path, local_ray, *flags, "--budget_usd", "6")
    _, err = process.communicate()
    assert process.returncode == 76, err
    assert "the same run goes on" in err
    commits = count(tmp_path, "synthetic/*/commits/*.json")
    assert starts(tmp_path) == commits < 40
    process = driver(tmp_path, local_ray, *flags, "--budget_usd", "6")
    _, err = process.communicate()
    assert process.returncode == 76
    assert count(tmp_path, "synthetic/*/commits/*.json") == commits   # not one more
    store, planned, split = frozen(tmp_path, *flags)
    assert count(tmp_path, "digits/runs/*") == 1
    walk = River(store, planned, split, Events("json"), POOLS, budget=1e9)
    walk.draw()
    assert len(outcome(store, planned)) == 40
    spent = sum(one.cost or 0 for one in walk.ledger.total(planned.price))
    own = sum(one.draw_s + one.encode_s for one in walk.committed) * 0.5
    assert spent > own
    keys = layout.Run(planned.dataset, planned.run)
    assert json.loads(store.read(keys.plan()))["price"]["per_cpu_hour"] == 3600
