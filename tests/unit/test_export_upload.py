"""A file becomes an object as bytes do: once, whole, never over another one; on a folder, in memory and on S3 in parts."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from job.errors import ConflictError, DataError, TemporaryError
from job.ground import upload
from job.ground.lineage import sha256
from job.ground.store import Store

pytestmark = pytest.mark.unit
MIB = 2**20


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":   # parts of the least size that S3 takes
        return Store(request.getfixturevalue("bucket"), retry_s=5, part_bytes=5 * MIB)
    return Store(str(tmp_path / "root") if request.param == "folder" else f"memory://{uuid.uuid4().hex}", retry_s=0)


def local(folder: Path, data: bytes) -> Path:
    path = folder / uuid.uuid4().hex
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("size", [0, 1, 12 * MIB + 7], ids=["nothing", "a byte", "several parts"])
def test_the_object_holds_the_bytes_of_the_file_and_nothing_lies_beside_it(store: Store, tmp_path: Path, size: int) -> None:
    path = local(tmp_path, (b"0123456789abcdef" * (size // 16 + 1))[:size])
    assert upload.sha256_of(path) == sha256(path.read_bytes())
    assert upload.create_file(store, "a/b/c.tar", path)
    assert store.read("a/b/c.tar") == path.read_bytes()
    assert [(key, size) for key, size, _ in store.ages("", partial=True)] == [("a/b/c.tar", size)]


@pytest.mark.parametrize("size", [10, 12 * MIB], ids=["one request", "several parts"])
def test_the_same_file_again_is_fine_and_another_never_replaces_it(store: Store, tmp_path: Path, size: int) -> None:
    mine, same_size, longer = (local(tmp_path, data) for data in (b"a" * size, b"b" * size, b"a" * (size + 1)))
    assert upload.create_file(store, "key", mine)
    assert upload.create_file(store, "key", mine)
    assert not upload.create_file(store, "key", same_size)
    assert not upload.create_file(store, "key", longer)
    assert store.read("key") == mine.read_bytes()


def test_of_many_files_for_one_key_exactly_one_wins_and_is_whole(store: Store, tmp_path: Path) -> None:
    if store.scheme == "memory":
        pytest.skip("memory:// lives in one process and looks before it writes")
    paths = [local(tmp_path, bytes([number]) * 1000) for number in range(6)]
    with ThreadPoolExecutor(6) as writers:
        won = list(writers.map(lambda path: upload.create_file(store, "key", path), paths))
    assert won.count(True) == 1
    assert store.read("key") == paths[won.index(True)].read_bytes()


def test_a_file_where_a_folder_must_be_is_told(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), retry_s=0)
    store.create("in/way", b"x")
    with pytest.raises(ConflictError, match="in the way"):
        upload.create_file(store, "in/way/file", local(tmp_path, b"y"))


def test_a_bucket_that_is_not_there_is_told(bucket: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        upload.create_file(Store("s3://nobody-made-this-one/root", retry_s=0), "key", local(tmp_path, b"y"))


def test_what_arrives_in_another_size_is_no_success(tmp_path: Path) -> None:
    class Short(Store):
        """A disk that loses the end of whatever is put."""

        def _persist(self, action, key):
            done = super()._persist(action, key)
            if done is None:
                Path(self._path(key)).write_bytes(b"12")
            return done

    with pytest.raises(TemporaryError, match="2 bytes instead of 3"):
        upload.create_file(Short(str(tmp_path / "root")), "key", local(tmp_path, b"123"))
