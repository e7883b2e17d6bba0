"""What the store lost or damaged between two rooms is told with its key and its cure, and nothing is decided without it."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from job import generate, measure
from job.errors import DataError, JobError, TemporaryError
from job.generators.fake import Fake
from job.ground import layout, shards, starts
from job.ground.cost import Meter
from job.ground.store import Store
from job.publish import records
from job.records import Unit
from tests.unit.made_run import Made, draw_unit, make_run
from tests.unit.publishing import memory, publish_it

pytestmark = pytest.mark.unit


@pytest.fixture
def drawn(real: Path) -> Made:
    """A run whose images are drawn and measured, and nothing decided."""
    return make_run(memory(), real, finished=False)


def units(made: Made) -> list[Unit]:
    return [one.unit for one in made.committed]


def test_a_unit_whose_commit_is_gone_ends_the_room_and_can_be_drawn_again(drawn: Made) -> None:
    unit = units(drawn)[1]
    drawn.store.delete(layout.commit(drawn.planned.recipe.id, unit))
    with pytest.raises(TemporaryError, match=f"1 units have no commit, {unit.name} first → run again to draw them"):
        generate.commits(drawn.store, drawn.planned, units(drawn))
    draw_unit(drawn.store, drawn.planned, unit)
    assert [one.sha256 for one in generate.commits(drawn.store, drawn.planned, units(drawn))] == [one.sha256 for one in drawn.committed]


@pytest.mark.parametrize("what", ["made", "failed"])
def test_a_commit_that_leaves_a_sample_out_is_refused_and_can_be_made_again(what: str, drawn: Made) -> None:
    at = next(at for at, one in enumerate(drawn.committed) if one.failed)
    unit, key = units(drawn)[at], layout.commit(drawn.planned.recipe.id, units(drawn)[at])
    record = json.loads(drawn.store.read(key))
    record[what] = record["made"] - 1 if what == "made" else record["failed"][1:]
    drawn.store.replace(key, json.dumps(record).encode())
    with pytest.raises(DataError) as caught:
        generate.commits(drawn.store, drawn.planned, units(drawn))
    assert str(caught.value).startswith(f"{key} tells of {record['made']} made and {len(record['failed'])} failed, and 8 were asked for → ")
    drawn.store.delete(key)   # the cure
    draw_unit(drawn.store, drawn.planned, unit)
    assert len(generate.commits(drawn.store, drawn.planned, units(drawn))) == len(drawn.committed)


def test_a_sample_that_is_forgotten_on_the_way_leaves_no_shard_and_no_commit(monkeypatch: pytest.MonkeyPatch, drawn: Made) -> None:
    made, unit = drawn, Unit(drawn.planned.classes[0].key, 0, 800, 808)
    recipe, words, marks = made.planned.recipe, made.planned.classes[0], starts.Starts(made.store, made.keys)
    for _ in range(starts.TRUSTED):
        marks.begin(unit)   # processes that ended: from now on the unit is drawn in ranges
    whole, before = starts._cut, made.store.list(layout.SYNTHETIC)

    def draw() -> generate.Committed:
        painter = Fake(Fake.Options())
        return generate.work_unit(made.store, painter, painter.load("", "none", "cpu"), recipe, words, unit, 4, run=made.planned.run,
                                  starts=marks, meter=Meter(made.store, made.keys, "generate", gpus=0, cpus=1))[0]

    monkeypatch.setattr(starts, "_cut", lambda span: whole(span)[:-1])   # a defect of ours
    with pytest.raises(JobError, match=f"{unit.name}: 8 asked, 7 made, 0 failed: samples got lost") as caught:
        draw()
    assert caught.value.exit_code == 70
    assert made.store.list(layout.SYNTHETIC) == before
    monkeypatch.setattr(starts, "_cut", whole)
    assert draw().made == 8


def test_scores_of_which_any_bit_is_another_are_refused_with_their_key_and_can_be_made_again(drawn: Made) -> None:
    planned, unit, (metric,) = drawn.planned, units(drawn)[1], drawn.planned.metrics
    before = measure.scores(drawn.store, planned, drawn.committed)
    key = layout.scores(metric.digest, planned.recipe.id, unit.name)
    whole = drawn.store.read(key)
    for at in range(0, len(whole), len(whole) // 20):
        drawn.store.replace(key, whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        with pytest.raises(DataError) as caught:
            measure.scores(drawn.store, planned, drawn.committed)
        assert str(caught.value) == f"{key} does not hold what was measured → restore it, or delete it to score the unit again"
    drawn.store.delete(key)
    with pytest.raises(TemporaryError, match=f"{key} is gone → run again to score the unit"):
        measure.scores(drawn.store, planned, drawn.committed)
    draw_unit(drawn.store, planned, unit)
    assert measure.scores(drawn.store, planned, drawn.committed).equals(before)


def test_a_score_that_was_changed_by_hand_does_not_decide(drawn: Made) -> None:
    metric, unit = drawn.planned.metrics[0], units(drawn)[0]
    key = layout.scores(metric.digest, drawn.planned.recipe.id, unit.name)
    table = pq.read_table(io.BytesIO(drawn.store.read(key)))
    drawn.store.replace(key, shards.table_bytes(table.set_column(2, table.schema.field(2), table.column(2).combine_chunks())))
    with pytest.raises(DataError, match="does not hold what was measured"):
        measure.scores(drawn.store, drawn.planned, drawn.committed)


class Flickering(Store):
    """A store whose first answer for each key is damaged on its way."""

    def __init__(self, url: str) -> None:
        super().__init__(url, retry_s=0)
        self.read_before: set[str] = set()

    def _persist(self, action: Callable, key: str) -> object:
        found = super()._persist(action, key)
        if key in self.read_before or not isinstance(found, bytes):
            return found
        self.read_before.add(key)
        return found[:-1] + b"?"


def test_what_is_damaged_on_its_way_only_is_read_again(drawn: Made) -> None:
    other = Flickering(drawn.store.url)
    assert measure.scores(other, drawn.planned, drawn.committed).equals(measure.scores(drawn.store, drawn.planned, drawn.committed))
    assert len(other.read_before) == len(drawn.committed)


def test_a_split_that_was_damaged_since_the_run_began_is_not_published(real: Path) -> None:
    made = make_run(memory(), real)
    key = made.keys.split()
    whole = made.store.read(key)
    made.store.replace(key, bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(DataError, match=f"{key} does not hold what was committed"):
        publish_it(made)
    assert records.numbers(made.store, "pets") == []
    made.store.replace(key, whole)
    assert publish_it(made)[0].number == 1
