"""Nodes are given back once nothing of the run lies on them, and what a worker says lies where the runbooks look."""

import logging
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from job import report, run, settings
from job.ground.events import Events
from tests.fault.kills import FLAGS
from tests.fault.nodes import Nodes, cluster
from tests.monitoring import RUNBOOKS

pytestmark = [pytest.mark.fault, pytest.mark.nodes]
DRAW, FIT = "saltworks_generate", "saltworks_train"   # as the chart calls them
FEW = ("--generator.images_per_class", "8", "--generator.options.seconds_per_image", "0", "--generator.resource", DRAW,
       "--sweep.resource", FIT)
SOON_S = 60


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head, a node that draws and a node that trains; this process is the driver."""
    import ray

    with cluster() as some:
        ray.init(address=some.cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        for role in (DRAW, FIT):
            some.add(role, num_cpus=2, resources={role: 1})
        yield some
        ray.shutdown()


def held(nodes: Nodes, role: str) -> list[str]:
    """What keeps the node from being given back, in the words in which Ray tells the autoscaler; nothing once it is idle."""
    from ray._raylet import GcsClient
    from ray.autoscaler.v2.sdk import get_cluster_resource_state
    from ray.core.generated.autoscaler_pb2 import NodeStatus

    (node,) = (one for one in get_cluster_resource_state(GcsClient(nodes.cluster.address)).node_states if role in one.total_resources)
    return [] if node.status == NodeStatus.IDLE else list(node.node_activity)   # an idle one's words are those of before


def until_free(nodes: Nodes, role: str) -> list[str]:
    """The same, once it is nothing, or after a while."""
    end = time.monotonic() + SOON_S
    while (left := held(nodes, role)) and time.monotonic() < end:
        time.sleep(0.2)
    return left


def test_nodes_that_drew_are_free_while_others_train_and_those_before_the_report(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, list[str]] = {}
    room, write = run.River.sweep, report.write

    def sweep(river: run.River, *asked: Any) -> Any:
        if asked[-1] == "confirm":
            seen["drew"] = until_free(nodes, DRAW)
            seen["between"] = held(nodes, FIT)
        return room(river, *asked)

    def write_it(*asked: Any) -> Any:
        seen["trained"] = until_free(nodes, FIT)
        return write(*asked)

    monkeypatch.setattr(run.River, "sweep", sweep)
    monkeypatch.setattr(report, "write", write_it)
    run.run(settings.load([*FLAGS, *FEW, "--root", str(tmp_path)]), Events("json"))
    assert seen["drew"] == seen["trained"] == []
    assert any("object_store_memory" in one for one in seen["between"])   # the pictures wait there for the next room


def test_what_a_worker_says_lies_in_its_own_pod_where_the_runbooks_look(nodes: Nodes, capfd: pytest.CaptureFixture[str]) -> None:
    import ray

    @ray.remote(num_cpus=1)
    def say() -> None:
        print("saltworks: this worker says so", file=sys.stderr, flush=True)

    ray.get(say.remote())
    (place,) = set(re.findall(r"/tmp/ray/(session_latest/logs/worker-\*\.err)", (RUNBOOKS / "NoProgress.md").read_text()))
    said = [path.read_text() for path in (nodes.folder / "ray").glob(place)]
    assert any("this worker says so" in one for one in said)
    assert "this worker says so" not in "".join(capfd.readouterr())   # so the driver's log has none of it
