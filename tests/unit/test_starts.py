"""Which part of a unit is to blame: laws of the marks, on every way that processes can end."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import DataError
from job.ground import layout
from job.ground.starts import ALONE, MOST, TRUSTED, Start, Starts
from job.ground.store import Store
from job.records import Unit
from tests.conftest import forget_memory

pytestmark = pytest.mark.unit
RUN = layout.Run("dataset", "run")


def marks() -> Starts:
    forget_memory()
    return Starts(Store(f"memory://{uuid.uuid4().hex}", retry_s=0), RUN)


def covers(unit: Unit, start: Start) -> None:
    """Every index is drawn once, or given up."""
    drawn = [index for lo, hi in start.ranges for index in range(lo, hi)]
    assert sorted([*drawn, *start.given_up]) == list(range(unit.lo, unit.hi))


@given(st.integers(1, 300), st.integers(0, 10**6), st.data())
def test_every_start_covers_the_unit_whatever_ended_the_starts_before(size: int, lo: int, data: st.DataObject) -> None:
    unit, starts = Unit("cat-1", 0, lo, lo + size), marks()
    for number in range(1, data.draw(st.integers(1, 12)) + 1):
        start = starts.begin(unit)
        assert start.number == number
        covers(unit, start)
        reached = data.draw(st.integers(0, len(start.ranges)))   # ranges that were begun before the process ended
        for at in range(reached):
            starts.about_to_draw(unit, start, at)
        if reached == len(start.ranges) and data.draw(st.booleans()):
            starts.drawn(unit, start)


@given(st.integers(1, 300), st.data())
def test_one_sample_that_always_ends_the_process_is_the_only_one_given_up(size: int, data: st.DataObject) -> None:
    unit, starts, poison = Unit("cat-1", 0, 0, size), marks(), data.draw(st.integers(0, size - 1))
    for _ in range(MOST):
        start = starts.begin(unit)
        if start.given_up:
            break
        for at, (lo, hi) in enumerate(start.ranges):
            starts.about_to_draw(unit, start, at)
            if lo <= poison < hi:
                break   # the process ends
    assert start.given_up == (poison,)
    covers(unit, start)


@given(st.integers(2, 300), st.data())
def test_two_samples_that_end_the_process_are_both_found(size: int, data: st.DataObject) -> None:
    unit, starts = Unit("cat-1", 0, 0, size), marks()
    poison = data.draw(st.sets(st.integers(0, size - 1), min_size=2, max_size=2))
    for _ in range(MOST):
        start = starts.begin(unit)
        for at, (lo, hi) in enumerate(start.ranges):
            starts.about_to_draw(unit, start, at)
            if any(lo <= one < hi for one in poison):
                break
        else:
            break
    assert set(start.given_up) == poison


@given(st.integers(1, 300), st.data())
def test_fewer_ends_than_it_takes_give_up_nothing(size: int, data: st.DataObject) -> None:
    unit, starts = Unit("cat-1", 0, 0, size), marks()
    for _ in range(TRUSTED + ALONE - 1):
        start = starts.begin(unit)
        for at in range(data.draw(st.integers(0, len(start.ranges)))):
            starts.about_to_draw(unit, start, at)
    assert starts.begin(unit).given_up == () or size == 1 == ALONE


def test_an_end_after_all_was_drawn_blames_nobody() -> None:
    unit, starts = Unit("cat-1", 0, 0, 64), marks()
    first = None
    for _ in range(12):
        start = starts.begin(unit)
        if start.number > TRUSTED:
            first = first or start
            assert start.ranges == first.ranges
            for at in range(len(start.ranges)):
                starts.about_to_draw(unit, start, at)
            starts.drawn(unit, start)


def test_rooms_do_not_count_each_others_starts_and_each_has_its_limit() -> None:
    store, unit = Store(f"memory://{uuid.uuid4().hex}", retry_s=0), Unit("cat-1", 0, 0, 8)
    for _ in range(5):
        Starts(store, RUN, "measure", most=5).begin(unit)
    with pytest.raises(DataError, match="was begun 5 times"):
        Starts(store, RUN, "measure", most=5).begin(unit)
    assert Starts(store, RUN).begin(unit).number == 1
