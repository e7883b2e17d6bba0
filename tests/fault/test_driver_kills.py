"""Real SIGKILLs, signals and budgets of real drivers: the dataset comes out whole and once, and a new start goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from job import mixing
from job.ground import layout
from job.ground.events import Events
from job.river import River
from tests.fault import fitted
from tests.fault.kills import FLAGS, POOLS, Reader, count, frozen, nothing_given_up, outcome, starts, undisturbed

pytestmark = pytest.mark.fault
DRAW = ("tests.fault.draw_only",)


def driver(root: Path, address: str, *flags: str, what: tuple[str, ...] = ("job", "run")) -> subprocess.Popen:
    """``python -m job run`` on the cluster of the test, in a process of its own; or one that only draws."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | {"RAY_ADDRESS": address}
    return subprocess.Popen([sys.executable, "-m", *what, *FLAGS, "--root", str(root), *flags], env=environ, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def end(process: subprocess.Popen) -> None:
    """SIGKILL, and nothing else, ends it."""
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


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
        end(process)
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
    end(process)
    trials = {path: path.read_bytes() for path in tmp_path.glob("digits/runs/*/trials/*.json")}
    process = driver(tmp_path, local_ray, *quick)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "verdict" in out
    assert {path: path.read_bytes() for path in trials} == trials
    assert count(tmp_path, "digits/versions/*.json") == 1
    store, planned, _ = frozen(tmp_path, *quick)
    assert outcome(store, planned) == undisturbed(planned)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_two_drivers_of_one_run_at_the_same_time_give_one_result(local_ray: str, tmp_path: Path) -> None:
    few = ("--generator.images_per_class", "8")
    store, planned, split = frozen(tmp_path, *few)
    train = split.part("train")
    real_only = mixing.mix(0.0, planned.alphas, train["id"].to_pylist(), train["label"].to_pylist(), planned.classes, {})
    fitted.commit(store, planned, fitted.fit_all(planned, split, {0.0: real_only}, {}))   # both race for the trials of the other α
    both = [driver(tmp_path, local_ray, *few) for _ in range(2)]
    ends = [(*process.communicate(), process.returncode) for process in both]
    assert [code for _, _, code in ends] == [0, 0], ends
    verdicts = [next(line for line in out.splitlines() if line.startswith("verdict")) for out, _, _ in ends]
    assert verdicts[0] == verdicts[1]
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
