"""Kills at every point of a unit's lives, enumerated, in a thousand seeded schedules: nothing lost, nothing twice, all billed."""

import itertools
import json
from typing import NamedTuple

import pytest

from job.drawing import GIVEN_UP, Beyond
from job.ground import layout, lineage, shards
from job.ground.cost import BEAT_S
from job.ground.starts import ALONE, PIECES, TRUSTED
from tests.fault.stage import CLASSES, LOSING, PLAIN, RECIPE, RUN, THIRD, UNITS, Stage, points, polled
from tests.fault.worker import Killed, Point

pytestmark = pytest.mark.fault
SCHEDULES, PARTS = 1000, 10
SOME = 40    # schedules for laws that look at one thing more
SIZES = (1, 2, 3)   # actors
TROUBLES = ((0, 0), (0.03, 0.02), (0.1, 0), (0, 0.02))   # chances that a step ends an actor, or the driver
POINTS = points()


class Schedule(NamedTuple):
    """What a seed decides, each by a quotient of its own: every point, then every size of the pool, then what comes beside it."""

    point: Point
    size: int
    kills: float
    driver_kills: float


def schedule(seed: int) -> Schedule:
    seed, at = divmod(seed, len(POINTS))
    seed, size = divmod(seed, len(SIZES))
    return Schedule(POINTS[at], SIZES[size], *TROUBLES[seed % len(TROUBLES)])


def outcome(stage: Stage) -> dict[str, tuple]:
    """By unit: the bytes of its shard, the ids made, the ids failed. No clock, no process, no number of attempts."""
    found = {}
    for key, _ in stage.store.list(layout.commits(RECIPE.id)):
        record = json.loads(stage.store.read(key))
        found[record["unit"]] = record["sha256"], tuple(record["ids"]), tuple(map(tuple, record["failed"]))
    return found


def undisturbed() -> dict[str, tuple]:
    """What comes out without any trouble."""
    stage = Stage(0, workers=1)
    stage.play()
    return outcome(stage)


EXPECTED = undisturbed()


def survive(seed: int, kind: type[Stage] = Stage) -> Stage:
    """One schedule: a kill at the point whose turn it is, others by chance. Raises ``AssertionError`` where a law breaks."""
    point, size, kills, driver_kills = schedule(seed)
    stage = kind(seed, workers=size, crash=point, kills=kills, driver_kills=driver_kills)
    with polled(stage) as look:
        stage.play(look)
    assert outcome(stage) == EXPECTED, f"seed {seed}"
    assert stage.struck or kills or driver_kills, f"seed {seed}: {point} was never reached"
    begun = sum("before a batch" in worker.labels for worker in stage.all)   # units that were drawn, wholly or in part
    most = len(UNITS) + 2 * (stage.actor_kills + stage.size * stage.driver_ends)
    assert begun <= most, f"seed {seed}: {begun} for {stage.actor_kills} kills and {stage.driver_ends} drivers"
    ends = sum(one.died for one in stage.all)
    missing = stage.spent() - stage.bill()
    assert -1e-3 * len(stage.all) <= missing <= BEAT_S * ends + 1e-3 * len(stage.all), f"seed {seed}: {missing:.1f} s of {ends} kills"
    stage.clear()
    return stage


def test_the_crash_points_are_those_of_the_protocol() -> None:
    own = {life: [one.label for one in POINTS if one.life == life and not one.at_a_beat] for life in (PLAIN, THIRD, LOSING)}
    start, batch, mark = ["before starts", "after starts"], ["before a batch", "after a batch"], ["before mark", "after mark"]
    stored = ["before data", "after data", "before commits", "after commits", "read"]
    assert own[PLAIN] == own[LOSING] == ["read", *start, *batch, *batch, *stored]
    assert own[THIRD] == ["read", *start * 3, "list", *(mark + batch) * PIECES, "before drawn", "after drawn", *stored]
    beats = [one[1:] for one in POINTS if one.at_a_beat]
    assert beats == [(step, when) for step in range(len(own[PLAIN])) for when in ("before cost", "after cost")]
    assert set(EXPECTED) == {unit.name for unit in UNITS}
    every = [lineage.sample_id(RECIPE.id, CLASSES[unit.label].key, index) for unit in UNITS for index in range(unit.lo, unit.hi)]
    assert sorted(one for _, ids, _ in EXPECTED.values() for one in ids) == sorted(every)


def test_every_crash_point_meets_every_size_of_the_pool_without_and_with_other_trouble() -> None:
    met = [schedule(seed) for seed in range(SCHEDULES)]
    every = set(itertools.product(POINTS, SIZES))
    assert {one[:2] for one in met if one[2:] == (0, 0)} == every   # there ``survive`` asks that the point was reached
    assert {one[:2] for one in met if one[2:] != (0, 0)} == every


@pytest.mark.parametrize("part", range(PARTS))
def test_no_schedule_of_kills_loses_or_repeats_or_hides_anything(part: int) -> None:
    killed = 0
    for seed in range(part * SCHEDULES // PARTS, (part + 1) * SCHEDULES // PARTS):
        stage = survive(seed)
        killed += stage.actor_kills + stage.driver_ends
    assert killed >= SCHEDULES // PARTS


def test_two_drivers_of_one_run_give_one_result() -> None:
    for seed in range(SOME):
        stage = Stage(seed, workers=2, drivers=2, kills=(0, 0.05)[seed % 2], crash=POINTS[seed * len(POINTS) // SOME])
        with polled(stage) as look:
            stage.play(look)
        assert outcome(stage) == EXPECTED, f"seed {seed}"
        stage.clear()


class CommitFirst(Stage):
    """A mutant: the commit is written before the data."""

    def create(self, key: str, data: bytes) -> bool:
        held = self.__dict__.setdefault("held", {})
        if "/data/" in key:
            held[key] = data
            return True
        won = super().create(key, data)
        if "/commits/" in key:
            self.all[-1].stage.late = json.loads(data)["data"]
        return won

    def _advance(self, worker, kill: bool) -> None:
        late, self.late = getattr(self, "late", ""), ""
        super()._advance(worker, kill)
        if late and not worker.died:
            self.store.create(late, self.held[late])


class Overwriting(Stage):
    """A mutant: a commit is not create-only."""

    def create(self, key: str, data: bytes) -> bool:
        if "/commits/" in key:
            self.store.replace(key, data)
            return True
        return super().create(key, data)


def red(kind: type[Stage], drivers: int = 1) -> int:
    """Schedules in which the laws notice the mutant."""
    noticed = 0
    for seed in range(SOME):
        try:
            if drivers == 1:
                survive(seed, kind)
            else:
                stage = kind(seed, workers=2, drivers=drivers)
                with polled(stage) as look:
                    stage.play(look)
        except (AssertionError, KeyError):   # KeyError: a reader found no data under a commit
            noticed += 1
    return noticed


def test_the_laws_turn_red_if_the_commit_is_written_before_the_data() -> None:
    assert red(CommitFirst) > SOME // 2


def test_the_laws_turn_red_if_a_commit_can_be_written_over() -> None:
    assert red(Overwriting, drivers=2) > SOME // 10


def poisoned(index: int, how: BaseException, seed: int, size: int = 64) -> Stage:
    """One unit of 64 samples, one of which ends every process that draws it."""
    from job.records import Unit

    words = CLASSES[0]
    name = lineage.sample_id(RECIPE.id, words.key, index)
    stage = Stage(seed, workers=1, poison={name: how}, units=(Unit(words.key, 0, 0, size),))
    stage.play()
    return stage


@pytest.mark.parametrize("how", [Killed(), Beyond("CUDA error: an illegal memory access")], ids=["killed", "poisoned context"])
@pytest.mark.parametrize("index", [0, 1, 17, 62, 63])
def test_a_sample_that_ends_every_process_is_given_up_and_its_neighbours_come_out_as_ever(index: int, how: BaseException) -> None:
    stage, clean = poisoned(index, how, index), poisoned(-1, how, 0)
    ((sha256, ids, failed),), ((_, every, none),) = outcome(stage).values(), outcome(clean).values()
    assert [(one[0], one[2]) for one in failed] == [(index, GIVEN_UP)]
    assert none == ()
    assert [one for one in every if one in ids] == list(ids)
    assert len(ids) == 63
    cuts = 0   # 64 → 8 → 1
    size = 64
    while size > 1:
        size, cuts = -(-size // PIECES), cuts + 1
    assert stage.actor_kills == TRUSTED + (cuts - 1) + ALONE
    (key,) = [json.loads(stage.store.read(one))["data"] for one, _ in stage.store.list(layout.commits(RECIPE.id))]
    (other,) = [json.loads(clean.store.read(one))["data"] for one, _ in clean.store.list(layout.commits(RECIPE.id))]
    rows = [shards.read(one.store.read(where)).to_pylist() for one, where in ((stage, key), (clean, other))]
    assert rows[0] == [row for row in rows[1] if row["index"] != index]
    assert lineage.sha256(stage.store.read(key)) == sha256


def test_a_unit_in_which_nothing_works_is_given_up_as_a_whole_in_a_bounded_number_of_starts() -> None:
    from job.errors import DataError
    from job.ground.starts import MOST, Starts
    from job.ground.store import Store

    store = Store("memory://hopeless", retry_s=0)
    for _ in range(MOST):
        Starts(store, RUN).begin(UNITS[0])
    with pytest.raises(DataError, match=f"was begun {MOST} times"):
        Starts(store, RUN).begin(UNITS[0])
