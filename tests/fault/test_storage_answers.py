"""Answers that need care: refusals that do not say why, conflicts of conditional requests, listings of many pages, uploads in parts."""

import pytest
import s3fs

from job.errors import TemporaryError
from job.ground.store import Store
from tests.fault.conftest import Faulty
from tests.fault.proxy import FOREVER, Fault
from tests.fault.storage_laws import LARGE, PART_BYTES

pytestmark = [pytest.mark.fault, pytest.mark.long]


def test_a_refusal_that_does_not_name_its_condition_is_read_back_too(faulty: Faulty) -> None:
    store = Store(faulty.url, 30)
    with faulty.proxy.breaking(Fault("412 after", method="PUT", key="ours")):
        assert store.create("ours", b"ours")
    store.create("theirs", b"theirs")
    with faulty.proxy.breaking(Fault("412", method="PUT", key="theirs")):
        assert not store.create("theirs", b"ours")
    store.create("pointer", b"1")
    with faulty.proxy.breaking(Fault("412 after", method="PUT", key="pointer", times=3)):
        assert store.swap("pointer", b"1", b"2")
    with faulty.proxy.breaking(Fault("412", method="PUT", key="pointer", times=3)):
        assert store.swap("pointer", b"2", b"3")   # a refusal without a reason: it is as expected, so it is tried again
    assert [store.read(key) for key in ("ours", "theirs", "pointer")] == [b"ours", b"theirs", b"3"]


def test_a_swap_that_is_refused_for_ever_is_a_passing_trouble(faulty: Faulty) -> None:
    store = Store(faulty.url, 30)
    store.create("pointer", b"1")
    with faulty.proxy.breaking(Fault("412", method="PUT", times=FOREVER)), pytest.raises(TemporaryError, match="cannot be swapped"):
        store.swap("pointer", b"1", b"2")
    assert store.swap("pointer", b"1", b"2")


def test_a_conflict_that_lasts_is_resolved_by_what_is_there(faulty: Faulty) -> None:
    store = Store(faulty.url, 1)
    with faulty.proxy.breaking(Fault("409 after", method="PUT", key="ours", times=FOREVER)):
        assert store.create("ours", b"ours")
    store.create("theirs", b"theirs")
    with faulty.proxy.breaking(Fault("409", method="PUT", key="theirs", times=FOREVER)):
        assert not store.create("theirs", b"ours")
    with faulty.proxy.breaking(Fault("409", method="PUT", key="none", times=FOREVER)), pytest.raises(TemporaryError):
        store.create("none", b"ours")
    assert store.create("none", b"ours")


def test_a_stale_stamp_is_refused_by_the_store_itself(faulty: Faulty) -> None:
    store = Store(faulty.url, 30)
    store.create("pointer", b"1")
    there = store.stamped("pointer")
    assert there is not None
    assert store.swap("pointer", b"1", b"2")
    assert not store.put_if("pointer", b"3", there[1])
    assert not store.put_if("pointer", b"3", None)
    store.delete("pointer")
    assert not store.put_if("pointer", b"3", there[1])   # S3 answers 404 there
    assert store.get("pointer") is None


def test_a_listing_of_many_pages_is_whole_or_an_error(faulty: Faulty) -> None:
    s3fs.S3FileSystem(endpoint_url=faulty.proxy.server).pipe({f"{faulty.url}/many/{number:04d}": b"x" for number in range(1100)})
    store = Store(faulty.url, 30)
    whole = [(f"many/{number:04d}", 1) for number in range(1100)]
    for what in ("500", "drop", "truncate"):
        with faulty.proxy.breaking(Fault(what, key="list-type=2", first=2, times=4)):
            assert store.list("many/") == whole, what
    with faulty.proxy.breaking(Fault("500", key="continuation-token", times=FOREVER)), pytest.raises(TemporaryError):
        Store(faulty.url, 0.5).list("many/")


@pytest.mark.parametrize("what", ["500", "slow", "drop", "500 after", "drop after", "409 after"])
def test_an_upload_in_parts_survives_trouble_with_every_request_of_it(faulty: Faulty, what: str) -> None:
    quiet = Store(faulty.url, 60, part_bytes=PART_BYTES)
    faulty.proxy.seen.clear()
    quiet.create("quiet", LARGE)
    requests = len(faulty.proxy.seen)
    assert requests >= 5   # begin, three parts, complete
    for number in range(1, requests + 1):
        key = f"{what.replace(' ', '-')}-{number}"
        with faulty.proxy.breaking(Fault(what, key=key, first=number, times=3)):
            assert quiet.create(key, LARGE), f"{what}, request {number}"
        assert quiet.read(key) == LARGE
        assert not quiet.create(key, LARGE + b"theirs")
        assert quiet.read(key) == LARGE
