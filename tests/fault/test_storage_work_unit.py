"""A whole unit of work, with every answer of the store lost in turn: one shard, one commit, the undisturbed bytes."""

import uuid

import pytest

from job.errors import JobError
from job.generate import Committed, read_shard, work_unit
from job.generators.fake import Fake
from job.ground.cost import Meter
from job.ground.starts import Starts
from job.ground.store import Store
from tests.fault.conftest import Faulty
from tests.fault.proxy import FOREVER, Fault
from tests.fault.stage import BATCH, CLASSES, ORIGIN, RECIPE, RUN, UNITS

pytestmark = pytest.mark.fault
UNIT = UNITS[0]
WORDS = CLASSES[0]


def work(store: Store, marks: Store | None = None) -> tuple[Committed, bool]:
    marks = marks or store
    meter = Meter(Store(f"memory://{uuid.uuid4().hex}"), RUN, "generate", gpus=0, cpus=1)
    return work_unit(store, Fake(Fake.Options()), ORIGIN, RECIPE, WORDS, UNIT, BATCH, run="run", starts=Starts(marks, RUN), meter=meter)


def undisturbed() -> str:
    return work(Store(f"memory://{uuid.uuid4().hex}"))[0].sha256


def assert_whole(store: Store, expected: str) -> None:
    """One shard and one commit, those of the undisturbed work; doing it again draws nothing."""
    again, ours = work(store)
    assert (again.sha256, ours) == (expected, False)
    read_shard(store, again)
    kept = [key for key, _ in store.list("") if "/starts/" not in key]
    assert len(kept) == 2, kept
    assert any("/commits/" in key for key in kept)


def test_with_every_put_in_turn_told_as_failed_after_it_succeeded_one_unit_is_committed_once(faulty: Faulty) -> None:
    expected = undisturbed()
    quiet = Store(f"{faulty.url}/quiet", 60)
    faulty.proxy.seen.clear()
    work(quiet)
    puts = sum(method == "PUT" for method, _ in faulty.proxy.seen)
    assert puts >= 3   # the start, the shard, the commit
    for what in ("500 after", "drop after", "503 after"):
        for number in range(1, puts + 1):
            for times in (1, 4):
                store = Store(f"{faulty.url}/{uuid.uuid4().hex}", 60)
                with faulty.proxy.breaking(Fault(what, method="PUT", first=number, times=times)):
                    done, ours = work(store)
                assert (done.sha256, ours) == (expected, True), f"{what}, PUT {number}, {times} times"
                assert_whole(store, expected)


@pytest.mark.parametrize("what", ["500", "drop after", "409", "denied", "expired"])
def test_with_every_request_in_turn_failing_for_good_the_same_call_ends_the_work_afterwards(faulty: Faulty, what: str) -> None:
    expected = undisturbed()
    quiet = Store(f"{faulty.url}/quiet", 60)
    faulty.proxy.seen.clear()
    work(quiet)
    for number in range(1, len(faulty.proxy.seen) + 1):
        store = Store(f"{faulty.url}/{uuid.uuid4().hex}", 0.3)
        with faulty.proxy.breaking(Fault(what, first=number, times=FOREVER)), pytest.raises(JobError) as caught:
            work(store)
        assert caught.value.exit_code in (75, 77), f"request {number}: {caught.value}"
        assert work(store)[0].sha256 == expected, f"request {number}"
        assert_whole(store, expected)
