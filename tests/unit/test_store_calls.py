"""Swap, delete, ages and digests: a folder, a bucket and memory answer alike."""

import hashlib
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job.errors import ConflictError, DataError, TemporaryError
from job.ground import files
from job.ground.store import POINTER_BYTES, Store

pytestmark = pytest.mark.unit
KINDS = ("folder", "memory", "bucket")
HELD = st.sampled_from([None, b"", b"1", b"22"])
STEP = st.one_of(st.tuples(st.just("swap"), HELD, HELD.filter(lambda data: data is not None)), st.tuples(st.just("delete")),
                 st.tuples(st.just("create"), st.just(b"1")), st.tuples(st.just("replace"), st.just(b"22")))


@pytest.fixture
def open_store(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Store]:
    """A new, empty store of the kind."""
    places = {"folder": lambda: str(tmp_path), "memory": lambda: "memory://calls", "bucket": lambda: request.getfixturevalue("bucket")}
    return lambda kind: Store(f"{places[kind]()}/{uuid.uuid4().hex}", retry_s=30)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(STEP, max_size=8))
def test_swaps_and_deletions_answer_like_a_variable(open_store: Callable[[str], Store], steps: list[tuple[Any, ...]]) -> None:
    held: bytes | None = None
    expected: list[Any] = []
    for name, *rest in steps:
        if name == "swap":
            expected.append(held == rest[0] or held == rest[1])
            held = rest[1] if held == rest[0] else held
        elif name == "create":
            expected.append(held in (None, rest[0]))
            held = rest[0] if held is None else held
        else:
            expected.append(None)
            held = rest[0] if name == "replace" else None
    for kind in KINDS:
        store = open_store(kind)
        assert [getattr(store, name)("a/key", *rest) for name, *rest in steps] == expected
        assert store.get("a/key") == held
        assert [key for key, _, _ in store.ages("", partial=True)] == ["a/key"] * (held is not None)   # no lock, no probe, no half


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_swaps_exactly_one_wins_each_turn(kind: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(kind)
    held: bytes | None = None
    for turn in range(3):
        start = threading.Barrier(8)

        def swap(number: int, held: bytes | None = held, turn: int = turn, start: threading.Barrier = start) -> bytes | None:
            start.wait()
            data = b"%d-%d" % (turn, number)
            return data if store.swap("pointer", held, data) else None

        with ThreadPoolExecutor(8) as writers:
            won = [data for data in writers.map(swap, range(8)) if data]
        assert won == [store.get("pointer")]
        held = won[0]


def count_up(url: str, turns: int) -> None:
    """Add 1 to a counter, ``turns`` times, against all others who do the same."""
    store = Store(url, retry_s=60)
    for _ in range(turns):
        while True:
            held = store.read("counter")
            if store.swap("counter", held, b"%d %d" % (int(held.split()[0]) + 1, os.getpid())):
                break


def test_processes_that_count_together_lose_no_count(tmp_path: Path) -> None:
    Store(str(tmp_path)).create("counter", b"0 0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=count_up, args=(str(tmp_path), 20)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 3
    assert Store(str(tmp_path)).read("counter").split()[0] == b"60"
    assert [one.name for one in tmp_path.iterdir()] == ["counter"]


def test_a_lock_whose_holder_lives_on_is_waited_for_and_then_told(tmp_path: Path) -> None:
    store = Store(str(tmp_path), retry_s=0.3)
    store.create("pointer", b"1")
    with files._locked(str(tmp_path / "pointer")), pytest.raises(TemporaryError, match=r"storage trouble at .*pointer"):
        store.swap("pointer", b"1", b"2")
    assert store.swap("pointer", b"1", b"2")


def test_a_lock_whose_holder_died_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / ".tmp-lock-pointer").write_bytes(b"")   # what SIGKILL leaves behind
    store = Store(str(tmp_path), retry_s=0)
    store.create("pointer", b"1")
    assert store.swap("pointer", b"1", b"2")
    assert [key for key, _, _ in store.ages("", partial=True)] == ["pointer"]


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_a_single_request_can_carry_is_swapped(kind: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(kind)
    assert store.swap("pointer", None, b"x" * POINTER_BYTES)
    with pytest.raises(DataError, match="65537 bytes, and only 65536 can be swapped"):
        store.swap("pointer", b"x" * POINTER_BYTES, b"x" * (POINTER_BYTES + 1))


@pytest.mark.parametrize("kind", KINDS)
def test_a_digest_is_kept_or_the_key_is_named(kind: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(kind)
    store.create("data", b"x")
    assert store.read("data", hashlib.sha256(b"x").hexdigest()) == b"x"
    with pytest.raises(DataError, match=r"data does not hold what was committed → restore it, or delete its commit to redraw it"):
        store.read("data", hashlib.sha256(b"y").hexdigest())
    with pytest.raises(KeyError):
        store.read("none", hashlib.sha256(b"y").hexdigest())


@pytest.mark.parametrize("kind", KINDS)
def test_ages_are_those_of_the_stores_clock_and_leave_nothing_behind(kind: str, open_store: Callable[[str], Store]) -> None:
    store = open_store(kind)
    store.create("a/old", b"123")
    time.sleep(1.1)
    store.create("a/new", b"1")
    (new, _, young), (old, size, age) = store.ages("a/")
    assert (new, old, size) == ("a/new", "a/old", 3)
    assert 1 <= age - young <= 30   # S3 counts whole seconds
    assert 0 <= young <= 30
    assert store.ages("b/") == []
    assert [key for key, _, _ in store.ages("", partial=True)] == ["a/new", "a/old"]


def test_ages_follow_the_store_and_not_this_machine(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("key", b"")
    os.utime(tmp_path / "key", (0, time.time() + 7200))   # written in two hours: never younger than now
    assert store.ages("")[0][2] == 0
    os.utime(tmp_path / "key", (0, time.time() - 7200))
    assert 7199 <= store.ages("")[0][2] <= 7260


def test_what_a_writer_left_that_died_is_shown_on_request_only(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    store.create("a/key", b"")
    (tmp_path / "a" / ".tmp-0123-key").write_bytes(b"half")
    assert [key for key, _ in store.list("")] == [key for key, _, _ in store.ages("")] == ["a/key"]
    assert [key for key, _, _ in store.ages("", partial=True)] == ["a/.tmp-0123-key", "a/key"]
    store.delete("a/.tmp-0123-key")
    assert len(store.ages("", partial=True)) == 1


def test_a_folder_is_not_deleted_as_an_object(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConflictError, match=r"folder: .* in the way"):
        Store(str(tmp_path)).delete("folder")
    assert (tmp_path / "folder").is_dir()
