"""Uploads of exported files under faults: whichever request fails, before or after the server did it, the object is whole and once."""

from pathlib import Path

import pytest

from job.errors import TemporaryError
from job.ground import upload
from job.ground.store import Store
from tests.fault.conftest import Faulty
from tests.fault.proxy import FOREVER, Fault
from tests.unit.exporting import SMALL, everything, published, small
from tests.unit.publishing import memory

pytestmark = [pytest.mark.fault, pytest.mark.long]
PART_BYTES = 5 * 2**20   # the least that S3 takes
LARGE = b"exported" * (2 * PART_BYTES // 8 + 1)   # three parts


@pytest.mark.parametrize("size", [1000, len(LARGE)], ids=["one request", "in parts"])
@pytest.mark.parametrize("what", ["500 after", "drop", "drop after", "409"])
def test_an_upload_survives_whichever_request_fails(faulty: Faulty, tmp_path: Path, what: str, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(LARGE[:size])
    store = Store(faulty.url, retry_s=60, part_bytes=PART_BYTES)
    struck = 0
    for first in range(1, 20):
        fault = Fault(what, key=f"at-{first}/file", first=first)
        with faulty.proxy.breaking(fault):
            assert upload.create_file(store, f"at-{first}/file", path)
        assert store.read(f"at-{first}/file") == LARGE[:size]
        if fault.met < first:   # there is no such request: all have been broken
            break
        struck += 1
    assert fault.met < first
    assert struck >= (2 if size == 1000 else 6)   # put and size; begin, three parts, complete and size


def test_another_file_is_seen_to_be_another_whichever_request_fails(faulty: Faulty, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(LARGE)
    store, theirs = Store(faulty.url, retry_s=60, part_bytes=PART_BYTES), LARGE[::-1]
    for first in range(1, 7):
        store.replace(f"at-{first}/file", theirs)
        with faulty.proxy.breaking(Fault("drop after", key=f"at-{first}/file", first=first)):
            assert not upload.create_file(store, f"at-{first}/file", path)
        assert store.read(f"at-{first}/file") == theirs


def test_an_export_that_storage_trouble_outlasts_is_75_and_goes_on_to_the_same_bytes(faulty: Faulty, tmp_path: Path) -> None:
    made, undisturbed = published(tmp_path), memory()
    done = small(made, undisturbed)
    assert len(done.files) > 2
    for at, name in enumerate(("000001.json", "000002.parquet", "export.json")):
        to = Store(f"{faulty.url}/{at}", retry_s=1)
        with faulty.proxy.breaking(Fault("503", key=name, times=FOREVER)), pytest.raises(TemporaryError) as error:
            small(made, to)
        assert error.value.exit_code == 75
        assert to.get(f"{done.folder}export.json") is None
        assert small(made, Store(to.url, retry_s=30), file_bytes=SMALL) == done
        assert everything(to) == everything(undisturbed)
