"""Machines that are about to end while real actors draw: nothing is lost, nothing is drawn twice, nothing new begins there."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from job.ground.drain import SLACK_S
from tests.fault.kills import frozen, nothing_given_up, outcome, undisturbed
from tests.fault.nodes import Nodes, cluster

pytestmark = [pytest.mark.fault, pytest.mark.nodes]
COMMITS, STARTS = "synthetic/*/commits/*.json", "*/runs/*/starts/*-*/[0-9][0-9][0-9].json"
SLOW = ("--generator.options.seconds_per_image", "0.3", "--generator.cpus_per_actor", "1")   # 1.2 s for a unit
FEW = ("--generator.images_per_class", "12")


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    with cluster() as some:
        yield some


def workers_on(nodes: Nodes, root: Path, name: str) -> set[str]:
    """The names by which the workers of a node sign: their environment tells where they live."""
    found = set()
    for path in root.glob("*/runs/*/starts/load-*/loaded-*.json"):
        pid, process = json.loads(path.read_text())["pid"], path.stem.rpartition("-")[2]
        if psutil.Process(pid).environ().get("TMPDIR") == str(nodes.temporary(name)):
            found.add(process)
    return found


def committed_by(root: Path, workers: set[str]) -> set[str]:
    records = [json.loads(path.read_text()) for path in root.glob(COMMITS)]
    return {record["unit"] for record in records if record["process"] in workers}


@pytest.mark.timeout(600)
def test_a_drain_of_the_drivers_machine_ends_it_in_75_and_all_that_was_begun_is_committed(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add("a", num_cpus=2)
    driver = nodes.start(tmp_path, ("job", "run"), *SLOW, "--stop_grace_s", "120")
    driver.until(lambda: driver.count(COMMITS) >= 3)
    told = nodes.drain("driver", 120).stdout
    assert driver.process.wait(timeout=30) == 75   # the drain has waited for it
    assert "the driver, until all that is in flight is committed" in told
    assert "nothing of ours is at work here" in told
    assert driver.end()[1] == ("saltworks: stopped by drain, for this machine is about to end; everything that was finished is committed "
                               "→ run again to resume")
    assert driver.count(STARTS) == driver.count(COMMITS) < 60
    time.sleep(2 * SLACK_S)   # the work in flight may be over at once, and a driver that began this close to the flag obeys it
    begun = time.monotonic()
    again = nodes.start(tmp_path, ("tests.fault.draw_only",), *SLOW, "--generator.options.seconds_per_image", "0")   # the flag still stands
    assert again.end()[0] == 0, "".join(again.lines)
    assert time.monotonic() - begun < 100
    assert driver.count(STARTS) == driver.count(COMMITS) == 60


@pytest.mark.timeout(600)
def test_a_drained_node_begins_nothing_more_and_the_others_finish_its_work(nodes: Nodes, tmp_path: Path) -> None:
    nodes.add("stays", num_cpus=1)
    goes = nodes.add("goes", num_cpus=1)
    driver = nodes.start(tmp_path, ("tests.fault.draw_only",), *SLOW, *FEW)
    driver.until(lambda: len(workers_on(nodes, tmp_path, "goes")) == 1 and committed_by(tmp_path, workers_on(nodes, tmp_path, "goes")))
    there = workers_on(nodes, tmp_path, "goes")
    assert "nothing of ours is at work here" in nodes.drain("goes", 300).stdout
    before, total = committed_by(tmp_path, there), driver.count(COMMITS)
    driver.until(lambda: driver.count(COMMITS) >= total + 4)
    assert committed_by(tmp_path, there) == before
    nodes.cluster.remove_node(goes, allow_graceful=False)   # the pod is gone, and another comes
    nodes.add("comes", num_cpus=1)
    assert driver.end()[0] == 0, "".join(driver.lines)
    store, planned, _ = frozen(tmp_path, *SLOW, *FEW)
    found = outcome(store, planned)
    assert found == undisturbed(planned)
    assert nothing_given_up(found)
    assert committed_by(tmp_path, there) == before
    assert driver.count(STARTS) == len(found)   # nothing was begun twice
