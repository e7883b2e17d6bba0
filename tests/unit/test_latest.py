"""``latest.json`` moves forward only, back when told, never twice, and can be made again from what lies beside it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import DataError
from job.ground import layout
from job.ground.store import Store
from job.publish import pointer, records
from job.publish.model import Version, encoded
from tests.unit.made_run import make_run
from tests.unit.publishing import Crash, Dying, folder, memory, publish_it

pytestmark = pytest.mark.unit
TO = layout.latest("pets")


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return publish_it(make_run(memory(), tmp_path_factory.mktemp("pets") / "real"))[0]


def put(store: Store, version: Version, number: int, moves: bool = True) -> Version:
    """A further version, as publishing leaves it before the pointer is moved."""
    one = version.model_copy(update={"number": number, "run": f"run-{number}", "moves_latest": moves})
    store.create(layout.version("pets", number), encoded(one))
    return one


def at(store: Store) -> int | None:
    there = pointer.latest(store, "pets")
    return there.version if there else None


def test_a_version_as_it_is_stored_is_read_back_as_it_was(version: Version) -> None:
    store = memory()
    assert records.read(store, "pets", put(store, version, 7).number).model_dump() == version.model_dump() | {"number": 7, "run": "run-7"}


def test_a_version_that_comes_late_does_not_move_latest_back(version: Version) -> None:
    store = memory()
    found = [put(store, version, number) for number in (1, 2, 3)]
    assert [pointer.advance(store, found[number]) for number in (0, 2, 1)] == [True, True, False]
    assert at(store) == 3


def test_what_was_rolled_back_stays_back_and_the_next_version_moves_on(version: Version) -> None:
    store = memory()
    for number in (1, 2):
        assert pointer.advance(store, put(store, version, number))
    assert pointer.rollback(store, "pets", 1).version == at(store) == 1
    assert not pointer.advance(store, records.read(store, "pets", 2))   # the same run, published again
    assert at(store) == 1
    assert pointer.rollback(store, "pets", 1).move == 3   # told twice, recorded once
    assert pointer.advance(store, put(store, version, 3))
    told = [json.loads(store.read(key)) for key, _ in store.list(layout.moves("pets"))]
    assert [(one["kind"], one["before"], one["version"]) for one in told] == [
        ("publish", None, 1), ("publish", 1, 2), ("rollback", 2, 1), ("publish", 1, 3)]


def test_a_rollback_to_nothing_names_what_there_is(version: Version) -> None:
    store = memory()
    with pytest.raises(DataError, match="publish one"):
        pointer.rollback(store, "pets", 1)
    put(store, version, 4, moves=False)
    with pytest.raises(DataError, match="there are 4 to 4"):
        pointer.rollback(store, "pets", 5)
    assert at(store) is None


DAMAGE = {"lost": None, "empty": b"", "no JSON": b"{", "another shape": b'{"version": 1}', "a list": b"[1]", "text": b'"latest"',
          "numbers as text": b'{"version":"2","run":"r","verdict":"helped","move":"2"}',
          "a move of nowhere": b'{"version":2,"run":"r","verdict":"helped","move":99}'}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_lost_or_broken_pointer_is_made_again_as_it_was(damage: str, version: Version) -> None:
    store = memory()
    for number in (1, 2, 3):
        pointer.advance(store, put(store, version, number))
    pointer.rollback(store, "pets", 2)
    before, known = store.read(TO), pointer.latest(store, "pets")
    if DAMAGE[damage] is None:
        store.delete(TO)
    else:
        store.replace(TO, DAMAGE[damage])
    if damage != "a move of nowhere":   # as good as any, until somebody moves
        assert pointer.latest(store, "pets") == known
        assert store.read(TO) == before
    assert pointer.advance(store, put(store, version, 4))
    assert at(store) == 4


def test_without_pointer_and_records_the_versions_tell(version: Version) -> None:
    store = memory()
    for number, moves in ((1, True), (2, True), (3, False)):
        pointer.advance(store, put(store, version, number, moves))
    before = store.read(TO)
    for key, _ in [*store.list(layout.moves("pets")), (TO, 0)]:
        store.delete(key)
    assert at(store) == 2
    assert store.read(TO) == before
    assert len(store.list(layout.moves("pets"))) == 2


def test_without_a_version_worth_it_there_is_no_latest(version: Version) -> None:
    store = memory()
    assert not pointer.advance(store, put(store, version, 1, moves=False))
    assert pointer.latest(store, "pets") is None
    assert store.list(layout.moves("pets")) == []


def test_a_record_that_is_broken_is_named_and_never_written_over(version: Version) -> None:
    store = memory()
    pointer.advance(store, put(store, version, 1))
    (key, _), = store.list(layout.moves("pets"))
    store.replace(key, b"?")
    with pytest.raises(DataError, match=r"000001\.json is no record"):
        pointer.advance(store, put(store, version, 2))
    assert store.read(key) == b"?"


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("verb", ["advance", "rollback"])
def test_a_mover_that_dies_leaves_what_the_next_reader_mends(verb: str, done: bool, version: Version) -> None:
    for changes in range(2):
        store = memory()
        pointer.advance(store, put(store, version, 1))
        later = put(store, version, 2)
        dying = Dying(store.url, changes, done)
        with pytest.raises(Crash):
            _ = pointer.advance(dying, later) if verb == "advance" else pointer.rollback(dying, "pets", 2)
        recorded = len(store.list(layout.moves("pets"))) == 2
        assert at(store) == (2 if recorded else 1)
        assert json.loads(store.read(TO))["version"] == at(store)


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(1, 7)), st.integers(0, 6))
def test_however_movers_race_the_pointer_is_that_of_the_last_record(version: Version, order: list[int], rolled: int) -> None:
    store = memory()
    found = {number: put(store, version, number) for number in order}
    start = threading.Barrier(len(order))

    def move(number: int) -> None:
        start.wait(60)
        _ = pointer.rollback(store, "pets", number) if number == rolled else pointer.advance(store, found[number])

    with ThreadPoolExecutor(len(order)) as movers:
        list(movers.map(move, order))
    moves = [json.loads(store.read(key)) for key, _ in store.list(layout.moves("pets"))]
    assert [one["number"] for one in moves] == list(range(1, len(moves) + 1))
    assert at(store) == moves[-1]["version"] == json.loads(store.read(TO))["version"]
    reached = 0
    for one in moves:
        assert one["kind"] == "rollback" or one["version"] > reached
        reached = max(reached, one["version"])
    assert reached == 6


def test_movers_on_a_disk_agree_too(version: Version, tmp_path: Path) -> None:
    store = folder(tmp_path)
    found = [put(store, version, number) for number in range(1, 9)]
    with ThreadPoolExecutor(8) as movers:
        list(movers.map(lambda one: pointer.advance(Store(str(tmp_path), retry_s=30), one), found))
    assert at(store) == 8
