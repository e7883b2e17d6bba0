"""One unit of work: drawn whole, committed once, never twice; what did not become an image is told with a reason."""

import json
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from job.drawing import REDRAWS
from job.errors import DataError, TemporaryError
from job.generate import Committed, read_commit, read_shard, work_unit
from job.generators.fake import Fake
from job.ground import layout, lineage, pixels
from job.ground.cost import Meter
from job.ground.starts import Starts
from job.ground.store import Store
from job.records import Failure, Origin, Sample, SampleSpec, Unit

pytestmark = pytest.mark.unit
RECIPE = lineage.make_recipe(generator="fake", options="{}", weights="none", templates=("a {name}", "the {name}"), size_px=16,
                             encoding="png", seed=0)
WORDS = lineage.class_words(1, "dog")
UNIT = Unit(WORDS.key, 1, 8, 20)
RUN = layout.Run("dataset", "run")
ORIGIN = Origin("fake", "", "CC0-1.0", 1, ())
BLACK, FLAT, NAN, BLANKED = "black", "uniform", pixels.NOT_FINITE, "blanked by the safety checker"
# how often each sample of the unit comes out bad, and how
WOES = st.dictionaries(st.integers(UNIT.lo, UNIT.hi - 1), st.tuples(st.integers(0, 6), st.sampled_from([BLACK, FLAT, NAN, BLANKED])))


class Painter(Fake):
    """The shipped fake, that remembers what it was asked for and has bad days on request."""

    def __init__(self, woes: dict[int, tuple[int, str]] | None = None, before: Callable[[], object] = lambda: None, **options: float):
        super().__init__(self.Options(**options))
        self.woes, self.before = woes or {}, before
        self.asked: list[list[SampleSpec]] = []

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        self.asked.append(list(specs))
        self.before()
        return [self.spoilt(one) for one in super().draw(specs)]

    def spoilt(self, drawn: Sample | Failure) -> Sample | Failure:
        times, how = self.woes.get(drawn.spec.index, (0, ""))
        if drawn.spec.redraw >= times:
            return drawn
        shape = (RECIPE.size_px, RECIPE.size_px, 3)
        pictures = {BLACK: np.zeros(shape, np.uint8), FLAT: np.full(shape, 200, np.uint8), NAN: np.full(shape, np.nan, np.float32)}
        return Failure(drawn.spec, how) if how == BLANKED else Sample(drawn.spec, pictures[how])


class Diary(Store):
    """A store that writes down what it creates, and fails for keys that hold ``fails``."""

    def __init__(self, url: str, fails: str = "?") -> None:
        super().__init__(url, retry_s=0)
        self.created: list[str] = []
        self.fails = fails

    def create(self, key: str, data: bytes) -> bool:
        if self.fails in key:
            raise TemporaryError(f"no {key} today")
        self.created.append(key)
        return super().create(key, data)


def memory() -> Diary:
    return Diary(f"memory://{uuid.uuid4().hex}")


def work(store: Store, painter: Painter | None = None, batch_size: int = 4, unit: Unit = UNIT) -> Committed:
    marks = Store(f"memory://{uuid.uuid4().hex}")   # of starts and seconds, which are not what is tested here
    return work_unit(store, painter or Painter(), ORIGIN, RECIPE, WORDS, unit, batch_size, run="run", starts=Starts(marks, RUN),
                     meter=Meter(marks, RUN, "generate", gpus=0, cpus=1))[0]


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_a_committed_unit_is_never_drawn_again(place: str, tmp_path: Path) -> None:
    store = memory() if place == "memory" else Diary(str(tmp_path))
    first, idle = work(store), Painter()
    assert work(Diary(store.url), idle) == first == read_commit(store, RECIPE, UNIT)
    assert idle.asked == []
    assert len(store.list("")) == 2


@settings(max_examples=30)
@given(WOES, st.integers(1, 13))
def test_what_was_asked_is_made_or_failed_with_a_reason(woes: dict[int, tuple[int, str]], batch_size: int) -> None:
    store, painter = memory(), Painter(woes)
    done = work(store, painter, batch_size)
    table = read_shard(store, done).to_pylist()
    lost = {index: how for index, (times, how) in woes.items() if times > REDRAWS}
    assert dict(done.failed) == lost
    assert [index for index, _ in done.failed] == sorted(lost)
    assert [row["index"] for row in table] == [index for index in range(UNIT.lo, UNIT.hi) if index not in lost]
    for row in table:
        spec = lineage.spec(RECIPE, WORDS, row["index"], redraw=woes.get(row["index"], (0, ""))[0])
        assert (row["id"], row["redraw"], row["seed_used"], row["prompt"]) == (spec.id, spec.redraw, spec.seed, spec.prompt)
        assert not pixels.fault(pixels.decode(row["image"]["bytes"]))
    record = json.loads(store.read(layout.commit(RECIPE.id, UNIT)))
    every = [one.id for one in lineage.specs(RECIPE, WORDS, UNIT)]
    assert sorted(record["ids"] + [name for _, name, _ in record["failed"]]) == sorted(every)
    assert (record["made"], record["ids"]) == (len(table), [row["id"] for row in table])


@settings(max_examples=30)
@given(WOES)
def test_only_what_came_out_bad_is_drawn_again(woes: dict[int, tuple[int, str]]) -> None:
    painter = Painter(woes)
    work(memory(), painter, batch_size=1)
    asked = [(spec.index, spec.redraw) for (spec,) in painter.asked]
    assert sorted(asked) == sorted(
        (index, redraw) for index in range(UNIT.lo, UNIT.hi) for redraw in range(min(woes.get(index, (0, ""))[0], REDRAWS) + 1))
    assert [redraw for _, redraw in asked] == sorted(redraw for _, redraw in asked)


@settings(max_examples=30)
@given(WOES, st.integers(1, 13), st.integers(1, 13))
def test_the_batch_size_changes_nothing_but_the_batches(woes: dict[int, tuple[int, str]], one: int, other: int) -> None:
    stores, painters = (memory(), memory()), (Painter(woes), Painter(woes))
    sizes = (one, other)
    done = [work(*args) for args in zip(stores, painters, sizes, strict=True)]
    assert (done[0].key, done[0].sha256, done[0].failed) == (done[1].key, done[1].sha256, done[1].failed)
    assert stores[0].read(done[0].key) == stores[1].read(done[1].key)
    for painter, size, store in zip(painters, sizes, stores, strict=True):
        assert {len(batch) for batch in painter.asked} == {size}   # a short one is padded: one shape, one compilation
        assert json.loads(store.read(layout.commit(RECIPE.id, UNIT)))["batch_size"] == size


def test_a_sample_is_the_same_in_whatever_unit_it_is_drawn() -> None:
    store = memory()
    halves = [work(store, batch_size=3, unit=Unit(WORDS.key, 1, lo, lo + 6)) for lo in (8, 14)]
    rows = [row for half in halves for row in read_shard(store, half).to_pylist()]
    assert rows == read_shard(store, work(store)).to_pylist()


def test_the_data_come_first_and_then_the_commit_that_names_them() -> None:
    store = memory()
    done = work(store)
    assert store.created == [done.key, layout.commit(RECIPE.id, UNIT)]
    assert done.key == layout.shard(RECIPE.id, UNIT, lineage.sha256(store.read(done.key)))


def test_data_without_a_commit_are_no_data(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError):
        work(Diary(str(tmp_path), fails="commits/"))
    orphan = Diary(str(tmp_path))
    assert [key.partition("/data/")[1] for key, _ in orphan.list("")] == ["/data/"]
    assert read_commit(orphan, RECIPE, UNIT) is None
    painter = Painter()
    done = work(orphan, painter)
    assert painter.asked
    assert len(orphan.list("")) == 2   # the same bytes have the same name
    assert read_shard(orphan, done).num_rows == UNIT.hi - UNIT.lo


@pytest.mark.parametrize("fails", ["data/", "?"])
def test_a_worker_that_dies_on_the_way_leaves_nothing_that_counts(fails: str) -> None:
    def die() -> None:
        if fails == "?" and len(painter.asked) == 2:
            raise TemporaryError("preempted")

    store, painter = memory(), Painter(before=die)
    with pytest.raises(TemporaryError):
        work(Diary(store.url, fails), painter)
    assert store.list("") == []
    assert work(store).failed == ()


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_the_commit_of_another_writer_is_adopted(place: str, tmp_path: Path) -> None:
    store = memory() if place == "memory" else Diary(str(tmp_path))
    winners = []
    late = Painter(before=lambda: winners or winners.append(work(Diary(store.url), Painter(noise=0.9))))
    done = work(store, late)
    assert late.asked
    assert done == winners[0]
    assert read_shard(store, done).equals(read_shard(store, read_commit(store, RECIPE, UNIT)))
    assert done.key not in store.created   # ours lies beside it, an orphan
    assert len(store.list("")) == 3


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 12), min_size=2, max_size=4))
def test_writers_of_one_unit_at_the_same_time_agree(tmp_path: Path, sizes: list[int]) -> None:
    root, start = str(tmp_path / uuid.uuid4().hex), threading.Barrier(len(sizes))

    def one(size: int) -> Committed:
        painter = Painter(noise=size / 20, before=lambda: start.wait(60) if len(painter.asked) == 1 else None)
        return work(Diary(root), painter, size)

    with ThreadPoolExecutor(len(sizes)) as writers:
        done = list(writers.map(one, sizes))
    assert set(done) == {read_commit(Diary(root), RECIPE, UNIT)}
    assert len(Diary(root).list(layout.commits(RECIPE.id))) == 1
    assert read_shard(Diary(root), done[0]).num_rows == UNIT.hi - UNIT.lo


def test_a_shard_that_is_not_what_was_committed_is_refused() -> None:
    store = memory()
    done = work(store)
    store.replace(done.key, store.read(done.key)[:-1] + b"?")
    with pytest.raises(DataError, match="does not hold what was committed"):
        read_shard(store, done)
