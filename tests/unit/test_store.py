"""Bytes at keys: a folder, a bucket and memory answer alike, nothing is ever half there, and trouble has a name."""

import errno
import os
import pickle
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
import requests
import s3fs
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from job.errors import AccessError, ConflictError, DataError, SettingsError, TemporaryError
from job.ground.store import ReadOnlyFolder, Store

pytestmark = pytest.mark.unit
KINDS = ("folder", "memory", "bucket")
KEYS = st.sampled_from(["a", "b/c", "b/d/e", "b0/c", "b/.tmp-1-x"])   # none is a folder of another
DATA = st.sampled_from([b"", b"1", b"22"])
STEP = (st.tuples(st.sampled_from(["create", "replace", "get"]), KEYS, DATA)
        | st.tuples(st.just("list"), st.sampled_from(["", "b/", "b0/", "c/"]), st.none()))
ONE_DAY = [*[("create", key, b"22") for key in ("b0/c", "b/d/e", "b/.tmp-1-x", "b/c", "a", "b/c")], ("create", "b/c", b""),
           ("list", "b/", None), ("list", "", None), ("replace", "b/c", b"1"), ("get", "b/c", b"")]


@pytest.fixture
def open_store(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Store]:
    """A new, empty store of the kind."""
    places = {"folder": lambda: str(tmp_path), "memory": lambda: "memory://test", "bucket": lambda: request.getfixturevalue("bucket")}
    return lambda kind: Store(f"{places[kind]()}/{uuid.uuid4().hex}", retry_s=0)


class Rough(MemoryFileSystem):
    """An object store with bad days: raises what it is told to, before or after it did its work."""

    protocol = "gcs"
    cachable = False
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    before: ClassVar[list[BaseException]] = []
    after: ClassVar[list[BaseException]] = []
    calls: ClassVar[list[str]] = []

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("gcs://").strip("/")

    def _do(self, name: str, work: Callable[[], Any]) -> Any:
        self.calls.append(name)
        if self.before:
            raise self.before.pop()
        result = work()
        if self.after:
            raise self.after.pop()
        return result

    def cat_file(self, path: str, **options: Any) -> bytes:
        return self._do("read", lambda: super(Rough, self).cat_file(path, **options))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        self._do("write", lambda: super(Rough, self).pipe_file(path, value, mode, **options))


@pytest.fixture
def rough() -> Iterator[type[Rough]]:
    fsspec.register_implementation("gcs", Rough, clobber=True)
    for one in (Rough.store, Rough.before, Rough.after, Rough.calls):
        one.clear()
    yield Rough
    Rough.before.clear()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(STEP, max_size=8))
@example(ONE_DAY)
def test_a_folder_memory_and_a_bucket_answer_like_a_dict(open_store: Callable[[str], Store], steps: list[tuple]) -> None:
    model: dict[str, bytes] = {}
    expected = []
    for step, key, data in steps:
        if step == "create":
            expected.append(model.setdefault(key, data) == data)
        elif step == "replace":
            model[key] = data
            expected.append(None)
        elif step == "get":
            expected.append(model.get(key))
        else:
            expected.append(sorted((one, len(held)) for one, held in model.items() if one.startswith(key) and ".tmp-" not in one))
    for kind in KINDS:
        store = open_store(kind)
        assert [getattr(store, step)(*[key] if data is None or step == "get" else [key, data]) for step, key, data in steps] == expected


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_there_has_no_bytes(kind: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(kind)
    store.create("a/b", b"x")
    for key in ("a", "a/c", "a/b/c", ""):
        assert store.get(key) is None
        with pytest.raises(KeyError):
            store.read(key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_leads_out_of_the_root_is_refused(kind: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(kind)
    for key in ("../x", "a/../x", "..", "/x", "a/.."):
        for act in (store.read, store.get, store.list, lambda key: store.create(key, b""), lambda key: store.replace(key, b"")):
            with pytest.raises(DataError, match="no key below the root"):
                act(key)


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_writers_of_one_key_exactly_one_wins(kind: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(kind)
    for key in ("one/key", "another/key"):
        start = threading.Barrier(16)

        def write(number: int, key: str = key, start: threading.Barrier = start) -> tuple[bool, bytes]:
            start.wait()
            data = b"%d" % number * 5000
            return store.create(key, data), data

        with ThreadPoolExecutor(16) as writers:
            told = list(writers.map(write, range(16)))
        winners = [data for won, data in told if won]
        assert winners == [store.read(key)]
    assert [key for key, _ in store.list("")] == ["another/key", "one/key"]


def test_readers_of_a_folder_never_see_a_part_of_an_object_and_lists_lose_none(open_store: Callable[[str], Store]) -> None:
    store, size = open_store("folder"), 2**18
    store.create("old", b"x")
    stop = threading.Event()

    def write(number: int) -> None:
        turn = 0
        while not stop.is_set():
            store.replace("key", bytes([number]) * size)
            store.create(f"new/{number}-{turn % 20}", bytes([number]) * size)
            turn += 1

    with ThreadPoolExecutor(2) as writers:
        work = [writers.submit(write, number) for number in (1, 2)]
        try:
            until = time.monotonic() + 0.5
            seen = []
            while time.monotonic() < until or len(seen) < 2:
                seen += [data for data in [store.get("key")] if data]
                listed = store.list("")
                assert ("old", 1) in listed
                assert {length for _, length in listed} <= {1, size}
        finally:
            stop.set()
        assert [one.result() for one in work] == [None, None]
    assert {(len(data), len(set(data))) for data in seen} == {(size, 1)}


def test_what_stands_in_the_way_is_a_conflict(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "folder").mkdir()
    for root, key in (("", "file/key"), ("file", "key"), ("", "folder")):
        for act in (Store(str(tmp_path / root)).create, Store(str(tmp_path / root)).replace):
            with pytest.raises(ConflictError, match=f"{key}: .* in the way"):
                act(key, b"y")
    assert Store(str(tmp_path / "file")).list("") == []
    assert not list((tmp_path / "folder").iterdir())


def test_links_to_files_are_files_and_links_to_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "picture").write_bytes(b"123")
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "one").symlink_to(tmp_path / "data" / "picture")
    (tmp_path / "real" / "gone").symlink_to(tmp_path / "nothing")
    assert Store(str(tmp_path)).list("real/") == [("real/one", 3)]
    (tmp_path / "real" / "cat").symlink_to(tmp_path / "data")
    with pytest.raises(DataError, match="real/cat is a link to a folder"):
        Store(str(tmp_path)).list("")


@pytest.mark.parametrize("url", [
    "ftp://me:hidden@host/x", "http://host/x?signature=hidden", "zip://a.zip::s3://me:hidden@bucket/x", "x::y", "s3://", "s3:///x", "gs://",
    "simplecache::s3://me:hidden@bucket/x", "s3://me:hidden@bucket/x", "s3://bucket/x?versionId=hidden", "https://me:hidden@host/x",
])
def test_a_place_that_cannot_be_written_to_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Store(url)
    assert "hidden" not in str(caught.value)
    with pytest.raises(SettingsError, match="adlfs"):   # a package that is not here
        Store("abfs://container/x").read("key")


def test_a_bucket_that_does_not_exist_holds_nothing_and_takes_nothing(bucket: str) -> None:
    store = Store("s3://no-such-bucket/root", retry_s=30)
    for act in (store.create, store.replace):
        with pytest.raises(DataError, match=r"s3://no-such-bucket/root .*create the bucket"):
            act("key", b"")
    with pytest.raises(DataError, match="nothing to read at s3://no-such-bucket/root"):
        ReadOnlyFolder(store.url).list()
    with pytest.raises(SettingsError, match="Invalid bucket name"):   # at once: waiting does not mend it
        Store("s3://Not!A!Bucket/root", retry_s=300).read("key")


def test_without_permission_or_credentials_the_error_is_77(
    bucket: str, s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store = Store(bucket, retry_s=2)
    store.create("key", b"x")
    try:
        requests.post(f"{s3_server}/moto-api/reset-auth", data="0", headers={"Content-Type": "text/plain"}, timeout=10)
        for act in (lambda: store.read("key"), lambda: store.create("b", b""), lambda: store.list(""), lambda: store.get("none")):
            with pytest.raises(AccessError, match=r"(no permission at|credentials for) s3://") as caught:
                act()
            assert caught.value.exit_code == 77
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data="inf", headers={"Content-Type": "text/plain"}, timeout=10)
    assert store.read("key") == b"x"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(AccessError, match="no credentials for s3://"):
        Store(bucket, retry_s=30).read("key")
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_server_that_cannot_be_reached_is_a_passing_trouble(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(TemporaryError, match="storage trouble at s3://") as caught:
        Store(bucket, retry_s=0.1).read("key")
    assert caught.value.exit_code == 75
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_store_travels_without_client_or_credentials(bucket: str) -> None:
    store = Store(bucket, retry_s=7)
    store.create("key", b"x")
    sent = pickle.dumps(store)
    assert not [word for word in (b"secret", os.environ["AWS_ENDPOINT_URL"].encode(), b"S3FileSystem") if word in sent]
    there = pickle.loads(sent)
    assert (there.read("key"), there.url, there.retry_s) == (b"x", store.url, 7)


def test_trouble_is_waited_out(rough: type[Rough]) -> None:
    store = Store("gcs://bucket/root", retry_s=60)
    rough.before += [TimeoutError("slow"), OSError(errno.EBUSY, "SlowDown"), ConnectionResetError("gone")]
    assert store.create("key", b"x")
    rough.before += [OSError(errno.EREMOTEIO, "InternalError")]
    assert store.read("key") == b"x"
    assert rough.calls == ["write"] * 4 + ["read"] * 2


def test_a_lost_answer_is_resolved_by_reading_back(rough: type[Rough]) -> None:
    store = Store("gcs://bucket/root", retry_s=60)
    rough.after.append(TimeoutError("the answer was lost"))
    assert store.create("key", b"ours")
    assert rough.calls == ["write", "write", "read"]
    assert not store.create("key", b"theirs")
    assert store.read("key") == b"ours"


def test_trouble_that_lasts_longer_than_the_budget_is_told_without_secrets(rough: type[Rough]) -> None:
    rough.before += [TimeoutError("at https://me:hidden@host/x?signature=hidden\nagain")] * 10**4
    start = time.monotonic()
    with pytest.raises(TemporaryError, match="storage trouble at gcs://bucket/root/key") as caught:
        Store("gcs://bucket/root", retry_s=0.3).create("key", b"x")
    assert time.monotonic() - start < 20
    assert len(rough.calls) > 1
    assert not [word for word in ("hidden", "\n") if word in str(caught.value)]


@pytest.mark.parametrize(("trouble", "kind"), [
    (PermissionError("no"), AccessError), (OSError(errno.EROFS, "read-only"), AccessError), (OSError(errno.ENOSPC, "full"), TemporaryError),
    (OSError(errno.EINVAL, "InvalidToken"), DataError), (ValueError("a defect"), ValueError)])
def test_what_waiting_does_not_mend_is_not_waited_for(trouble: Exception, kind: type[Exception], rough: type[Rough]) -> None:
    rough.before += [trouble] * 2
    with pytest.raises(kind):
        Store("gcs://bucket/root", retry_s=60).create("key", b"x")
    assert rough.calls.count("write") == 1


def test_a_folder_that_is_read_says_what_is_missing(tmp_path: Path) -> None:
    Store(str(tmp_path)).create("cat/1", b"12")
    assert ReadOnlyFolder(str(tmp_path)).list() == [("cat/1", 2)]
    with pytest.raises(DataError, match="cat/2 does not exist"):
        ReadOnlyFolder(str(tmp_path)).read("cat/2")
