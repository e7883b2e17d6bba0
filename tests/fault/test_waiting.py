"""Nodes that come late or never, GPUs that are only counted: the job waits for so long, says so, and ends in one line."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from job.errors import TemporaryError
from job.ground import layout
from job.ground.stop import PREEMPTED, Stop
from job.ground.store import Store
from job.runplan import Pool
from job.waiting import until_one_fits
from tests.fault.kills import frozen, outcome, undisturbed
from tests.fault.nodes import Nodes, cluster

pytestmark = [pytest.mark.fault, pytest.mark.nodes]
DRAW = ("tests.fault.draw_only",)
RUN = ("job", "run")
QUICK = ("--generator.images_per_class", "8", "--generator.options.seconds_per_image", "0", "--generator.cpus_per_actor", "1")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head alone: whatever a test wants has to be added."""
    with cluster() as some:
        yield some


@pytest.fixture(scope="module")
def joined(nodes: Nodes) -> Iterator[Nodes]:
    """This process as a driver of that cluster."""
    import ray

    ray.init(address=nodes.cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield nodes
    ray.shutdown()


def a_stop() -> Stop:
    return Stop(Store("memory://waiting", 0), layout.Run("digits", "run"))


def asked_for() -> list[dict[str, float]]:
    """What placement groups of the cluster wait for or hold."""
    from ray.util.placement_group import placement_group_table

    return [group["bundles"][0] for group in placement_group_table().values() if group["state"] in ("PENDING", "CREATED")]


def test_the_whole_pool_is_asked_for_until_the_first_has_a_place_and_nothing_is_held_then(joined: Nodes) -> None:
    told: list[tuple[str, dict[str, Any]]] = []

    def wait() -> None:
        until_one_fits(Pool(3, 2, 0, "cpu", "draws", 120), "generate", a_stop(), lambda name, **fields: told.append((name, fields)))

    with ThreadPoolExecutor(1) as waits:
        waiting = waits.submit(wait)
        while not told and not waiting.done():
            time.sleep(0.05)
        assert asked_for() == [{"CPU": 2.0, "draws": 0.001}] * 3
        node = joined.add("late", num_cpus=2, resources={"draws": 1})
        waiting.result()
    first, said = told[0]
    assert 3 <= said.pop("seconds") < 30
    assert (first, said) == ("waiting_for", {"room": "generate", "workers": 3, "each": {"CPU": 2, "draws": 0.001}, "at_most": 120})
    assert told[-1][0] == "place_found"
    assert asked_for() == []
    before = len(told)
    wait()   # there is a place: not a word
    assert len(told) == before
    joined.cluster.remove_node(node)


def test_without_a_place_in_time_it_is_75_with_what_was_asked_for_what_is_there_and_the_cure(joined: Nodes) -> None:
    with pytest.raises(TemporaryError) as caught:
        until_one_fits(Pool(4, 1, 0.5, "cuda", "", 4), "sweep", a_stop(), lambda name, **fields: None)
    assert "no place for a worker of the sweep room within 4 s: 4 × 1 CPU, 0.5 GPU were asked for" in caught.value.problem
    assert "1 × 0 CPU, 0 GPU" in caught.value.problem
    for cure in ("SALTWORKS_SWEEP__CPUS_PER_TRIAL", "SALTWORKS_SWEEP__GPUS_PER_TRIAL", "SALTWORKS_GPU_WAIT_S", "run again"):
        assert cure in caught.value.cure
    assert asked_for() == []


def test_a_wish_to_stop_is_heard_at_once(joined: Nodes) -> None:
    stop, start = a_stop(), time.monotonic()
    threading.Timer(2, lambda: stop.request(PREEMPTED)).start()
    with pytest.raises(TemporaryError, match="stopped by a signal"):
        until_one_fits(Pool(1, 1, 0, wait_s=600), "measure", stop, lambda name, **fields: None)
    assert time.monotonic() - start < 30
    assert asked_for() == []


def test_a_job_that_waits_ends_in_75_at_a_signal_with_its_error_in_the_last_line(nodes: Nodes, tmp_path: Path) -> None:
    driver = nodes.start(tmp_path, RUN, *QUICK, "--gpu_wait_s", "600")
    driver.until(lambda: driver.says('"waiting_for"'))
    start = time.monotonic()
    driver.process.send_signal(signal.SIGTERM)
    code, last = driver.end()
    assert (code, last) == (75, "saltworks: stopped by a signal; everything that was finished is committed → run again to resume")
    assert time.monotonic() - start < 60
    assert driver.count("*/runs/*/starts/*-*/001.json") == 0


@pytest.mark.timeout(600)
def test_the_nodes_that_draw_are_waited_for_though_others_have_room(nodes: Nodes, tmp_path: Path) -> None:
    other = nodes.add("other", num_cpus=2)
    driver = nodes.start(tmp_path, DRAW, *QUICK, "--generator.resource", "draws")
    driver.until(lambda: driver.says('"waiting_for"'))
    late = nodes.add("late", num_cpus=2, resources={"draws": 1})
    assert driver.end()[0] == 0, "".join(driver.lines)
    store, planned, _ = frozen(tmp_path, *QUICK)
    assert outcome(store, planned) == undisturbed(planned)
    assert driver.says('"by_host": {')
    for node in (other, late):
        nodes.cluster.remove_node(node)


@pytest.mark.timeout(600)
def test_a_room_that_loses_all_its_nodes_waits_for_others_no_longer_than_it_may(nodes: Nodes, tmp_path: Path) -> None:
    node = nodes.add("lost", num_cpus=2)
    driver = nodes.start(tmp_path, RUN, *QUICK, "--generator.options.seconds_per_image", "0.2", "--gpu_wait_s", "4")
    driver.until(lambda: driver.count("synthetic/*/commits/*.json") >= 2)
    nodes.cluster.remove_node(node, allow_graceful=False)
    code, last = driver.end()
    assert code == 75
    assert "saltworks: the generate room has lost all its nodes, and none came back within 4 s: the cluster's nodes: 1 × 0 CPU;" in last
    assert "run again to resume" in last
    assert driver.says('"nodes_lost"')


@pytest.mark.long
@pytest.mark.timeout(600)
def test_gpus_that_are_only_counted_end_the_job_with_its_cure_and_draw_on_the_cpu_if_that_is_asked_for(
    nodes: Nodes, tmp_path: Path
) -> None:
    node = nodes.add("counted", num_cpus=2, num_gpus=2)
    flags = (*QUICK, "--generator.gpus_per_actor", "1")
    code, last = nodes.start(tmp_path, RUN, *flags).end()
    assert code == 64
    assert "a worker holds 1 GPUs in Ray's books, and PyTorch sees none on" in last
    assert "set SALTWORKS_GENERATOR__DEVICE=cpu" in last
    driver = nodes.start(tmp_path, RUN, *flags, "--generator.device", "cpu", "--sweep.gpus_per_trial", "1")
    code, last = driver.end()
    assert driver.count("synthetic/*/commits/*.json") == 20   # all drawn, on the CPU
    assert code == 64
    assert "set SALTWORKS_SWEEP__GPUS_PER_TRIAL=0" in last
    nodes.cluster.remove_node(node)
