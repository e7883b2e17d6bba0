"""What the doctor says of a root is true of it, and nothing of its visit stays behind."""

import threading
import time
from pathlib import Path

import pytest

from job import doctor
from job.errors import AccessError, ConflictError, TemporaryError
from job.ground.store import Store

pytestmark = pytest.mark.unit


class Overwriting(Store):
    """A store that knows no conditions, as some that speak S3: every create and every conditional put overwrites."""

    def create(self, key: str, data: bytes) -> bool:
        self.replace(key, data)
        return True

    def put_if(self, key: str, data: bytes, stamp: str | None) -> bool:
        self.replace(key, data)
        return True


class Forgetful(Store):
    """A store that reads old bytes after it was written to, as caches in front of stores do."""

    def replace(self, key: str, data: bytes) -> None:
        if self.get(key) is None:
            super().replace(key, data)


class AppendOnly(Store):
    """A role that may not delete."""

    def delete(self, key: str) -> None:
        raise AccessError(f"no permission at {self.shown}/{key}: Access Denied", "check credentials and policy")


def failed(found: doctor.Findings) -> set[str]:
    return {probe.name for probe in found.probes if probe.found == "FAILED"}


def test_a_folder_is_safe_for_several_writers_and_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"x")
    found = doctor.storage(Store(str(tmp_path), 30))
    assert (found.several_writers_safe, found.one_writer_safe, failed(found)) == (True, True, set()), found.lines
    assert found.lines[-1] == f"{tmp_path}: several writers are safe there"
    assert len(found.lines) == len(found.probes) + 1
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]


def test_a_bucket_is_safe_for_several_writers_in_one_put_and_in_parts(bucket: str) -> None:
    found = doctor.storage(Store(bucket, 30))
    assert (found.several_writers_safe, failed(found)) == (True, set()), found.lines
    assert "create in parts" in {probe.name for probe in found.probes}
    assert Store(bucket).list("") == []
    assert Store(bucket).ages("", partial=True) == []


def test_memory_is_safe_for_one_process_only() -> None:
    found = doctor.storage(Store("memory://doctor"))
    assert (found.several_writers_safe, found.one_writer_safe, failed(found)) == (False, True, {"reach"}), found.lines


def test_a_store_without_conditions_is_found_out(tmp_path: Path) -> None:
    found = doctor.storage(Overwriting(str(tmp_path), 30))
    assert (found.several_writers_safe, found.one_writer_safe) == (False, True), found.lines
    assert {"create once", "compare and swap"} <= failed(found)
    assert "several are NOT" in found.lines[-1]


def test_a_store_that_reads_old_bytes_is_of_no_use(tmp_path: Path) -> None:
    found = doctor.storage(Forgetful(str(tmp_path), 30))
    assert (found.several_writers_safe, found.one_writer_safe) == (False, False), found.lines
    assert "replace" in failed(found)


def test_a_role_that_may_not_delete_is_safe_and_is_told_what_it_leaves(tmp_path: Path) -> None:
    found = doctor.storage(AppendOnly(str(tmp_path), 30))
    assert found.several_writers_safe, found.lines
    assert {probe.name for probe in found.probes if probe.found == "warning"} == {"delete", "clock", "remove the probes"}


@pytest.mark.parametrize(("off", "side"), [(3600, "ahead of"), (-3600, "behind"), (100, "")])
def test_a_clock_that_is_off_is_told_with_its_side(tmp_path: Path, off: float, side: str) -> None:
    found = doctor.storage(Store(str(tmp_path)), now=lambda: round(time.time()) + off)
    (clock,) = [probe for probe in found.probes if probe.name == "clock"]
    assert clock.found == ("warning" if side else "ok")
    assert [one for one in ("ahead of", "behind") if one in clock.means] == [side] * bool(side)
    assert found.several_writers_safe


def test_a_place_that_cannot_be_written_to_is_an_error_and_no_finding(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConflictError, match="in the way"):
        doctor.storage(Store(str(tmp_path / "file")))


def test_threads_end_even_when_writers_cannot_be_tried(tmp_path: Path) -> None:
    class Failing(Store):
        def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
            raise TemporaryError("storage trouble", "run again to resume")

    before = threading.active_count()
    found = doctor.storage(Failing(str(tmp_path)))
    assert failed(found) == {"compare and swap"}   # the race has clients of its own
    assert threading.active_count() == before
