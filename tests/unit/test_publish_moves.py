"""When a publish moves ``latest.json``: by its verdict, by what was asked then, and by what is asked now."""

from pathlib import Path

import pytest

from job.ground import layout
from job.publish import pointer, records
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import Crash, Dying, memory, policy, publish_it

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("word", "when", "moves"), [
    ("helped", "helped", True), ("hurt", "helped", False), ("no detectable difference", "helped", False),
    ("hurt", "always", True), ("no detectable difference", "always", True), ("helped", "never", False),
])
def test_only_help_moves_latest_unless_asked(word: str, when: str, moves: bool, real: Path) -> None:
    made = make_run(memory(), real, word=word)
    version, moved = publish_it(made, move_latest=when)
    assert (moved, version.moves_latest, version.judged.word) == (moves, moves, word)
    there = pointer.latest(made.store, "pets")
    assert (there and there.version) == (1 if moves else None)
    assert len(made.store.list(layout.moves("pets"))) == moves


def test_what_is_asked_later_moves_latest_and_without_asking_nothing_moves(made: Made) -> None:
    assert policy().move_latest == "helped"
    first = publish_it(made, move_latest="never")
    assert publish_it(made) == publish_it(made, move_latest="never") == first
    assert pointer.latest(made.store, "pets") is None
    before = made.store.read(layout.version("pets", 1))
    assert publish_it(made, move_latest="always") == (first[0], True)
    assert made.store.read(layout.version("pets", 1)) == before   # a version never changes
    there = pointer.latest(made.store, "pets")
    assert there
    assert (there.version, len(made.store.list(layout.moves("pets")))) == (1, 1)
    assert publish_it(made, move_latest="never") == publish_it(made) == (first[0], True)   # where it is, it stays


def test_no_publish_undoes_a_rollback_whatever_it_asks(made: Made, real: Path) -> None:
    publish_it(made)
    second = make_run(made.store, real, edition="e2", word="hurt")
    assert publish_it(second)[1] is False
    assert publish_it(second, move_latest="always")[1]
    pointer.rollback(made.store, "pets", 1)
    for asked in ("helped", "always", "never"):
        assert not publish_it(second, move_latest=asked)[1]
    there = pointer.latest(made.store, "pets")
    assert there
    assert (there.version, len(made.store.list(layout.moves("pets")))) == (1, 3)


def test_a_publish_that_died_before_its_move_moves_when_it_is_told_again_unless_with_never(made: Made) -> None:
    with pytest.raises(Crash):
        publish_it(made, Dying(made.store.url, 3, done=False), move_latest="always")   # the version stands, nothing has moved
    assert records.numbers(made.store, "pets") == [1]
    assert publish_it(made, move_latest="never")[1] is False
    assert publish_it(made)[1]
