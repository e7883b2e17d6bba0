"""How many workers a cluster holds, on which device and nodes they work, and what is refused before any is asked for."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from job import waiting
from job.cluster import _pool
from job.errors import SettingsError
from job.ground.store import Store
from job.pool import check_device
from job.runplan import SLIVER, Pool
from tests.unit.made_run import flags_of, make_run

pytestmark = pytest.mark.unit
HAVE = {"CPU": 8.0, "GPU": 2.0, "draws": 1.0}
NAMES = ("generator", "_per_actor")


@pytest.mark.parametrize(("wanted", "cpus", "gpus", "workers"), [("auto", 1, 0, 8), ("auto", 1, 1, 2), ("auto", 4, 0.5, 2), (5, 1, 1, 5)])
def test_auto_is_what_the_cluster_holds_and_a_number_is_that_number(wanted: int | str, cpus: float, gpus: float, workers: int) -> None:
    one = Pool(1, cpus, gpus, "cuda" if gpus else "cpu", "draws", 60)
    assert _pool(wanted, one, HAVE, NAMES) == Pool(workers, cpus, gpus, one.device, "draws", 60)


def test_a_cluster_that_may_grow_is_asked_for_what_it_lacks_and_this_machine_is_not() -> None:
    assert _pool("auto", Pool(1, 1, 4, "cuda", "trains", 60), HAVE, NAMES).workers == 1
    with pytest.raises(SettingsError, match="SALTWORKS_GENERATOR__GPUS_PER_ACTOR=4 is more than this machine's 2 GPUs"):
        _pool("auto", Pool(1, 1, 4, "cuda"), HAVE, NAMES)
    with pytest.raises(SettingsError, match="SALTWORKS_SWEEP__RESOURCE='trains' is no resource of this machine"):
        _pool("auto", Pool(1, 1, 0, "cpu", "trains"), HAVE, ("sweep", "_per_trial"))
    assert _pool("auto", Pool(1, 1, 0, "cpu", "draws"), HAVE, NAMES).workers == 8


def test_a_worker_takes_a_sliver_of_its_resource_or_none() -> None:
    assert Pool(1, 1, 0, resource="draws").custom == {"draws": SLIVER}
    assert Pool(1, 1, 0).custom == {}


def test_gpus_that_are_only_counted_are_no_device_and_a_worker_without_any_asks_for_none() -> None:
    check_device(Pool(1, 1, 1, "cpu"), "X")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError) as caught:
            check_device(Pool(1, 1, 0.5, "cuda"), "SALTWORKS_GENERATOR__DEVICE=cpu")
        assert f"a worker holds 0.5 GPUs in Ray's books, and PyTorch sees none on {socket.gethostname()}" in str(caught.value)
        assert "set SALTWORKS_GENERATOR__DEVICE=cpu" in caught.value.cure


def test_the_last_line_of_all_output_is_the_error_with_its_cure(tmp_path: Path) -> None:
    """As the log of a RayJob has it: both streams in one, and its end becomes the status."""
    store = Store(str(tmp_path / "root"), retry_s=0)
    make_run(store, tmp_path / "real")
    flags = [*flags_of(store, tmp_path / "real"), '--publish.licences=["CC0-1.0"]', "--publish.move_latest", "always"]

    def job(verb: str) -> subprocess.CompletedProcess:
        return subprocess.run([sys.executable, "-m", "job", verb, *flags], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)

    assert job("publish").returncode == 0
    shard = next((tmp_path / "root").glob("synthetic/*/data/*.parquet"))
    shard.write_bytes(b"torn")
    found = job("verify")
    *said, last = found.stdout.splitlines()
    assert found.returncode == 65
    assert any(shard.name in line for line in said)   # what verify has to say on standard output comes before
    assert last.startswith("saltworks: ")
    assert " → " in last


@pytest.mark.parametrize("room", ["generate", "measure", "pilot", "sweep", "confirm"])
def test_every_room_that_finds_no_place_in_time_says_what_to_lower(room: str) -> None:
    error = waiting._none(Pool(1, 1, 1, "cuda", wait_s=1.0), room)
    assert f"no place for a worker of the {room} room within 1 s" in error.problem
    assert "_PER_ACTOR or" in error.cure or "_PER_TRIAL or" in error.cure
