"""What a commit tells of its seconds, and what a driver tells of its room's: read back from the store."""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from job.generate import work_unit
from job.generators.fake import Fake
from job.ground import layout, lineage
from job.ground.bill import with_repeated
from job.ground.cost import Ledger, Meter
from job.ground.events import Events
from job.ground.starts import Starts
from job.ground.store import Store
from job.records import Failure, Origin, Sample, SampleSpec, Unit
from job.run import River
from job.runplan import Pool, Price
from tests.unit.made_run import make_run
from tests.unit.publishing import memory

pytestmark = pytest.mark.unit
RUN = layout.Run("dataset", "run")
FREE = Price(None, None, "USD", "", "")
RECIPE = lineage.make_recipe(generator="fake", options="{}", weights="none", templates=("a {name}",), size_px=8, encoding="png", seed=0)
WORDS = lineage.class_words(0, "cat")
ORIGIN = Origin("fake", "", "CC0-1.0", 1, ())


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Fake):
    """Takes two seconds for a batch."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(self.Options())
        self.clock = clock

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        self.clock.now += 2
        return super().draw(specs)


class Far(Store):
    """Takes three seconds to store a shard."""

    clock: Clock

    def create(self, key: str, data: bytes) -> bool:
        self.clock.now += 3 * ("/data/" in key)
        return super().create(key, data)


def test_commits_tell_their_seconds_by_kind_and_together_all_that_their_process_spent() -> None:
    clock, store = Clock(), Far(f"memory://{uuid.uuid4().hex}", retry_s=0)
    store.clock = clock
    meter = Meter(store, RUN, "generate", gpus=0.5, cpus=2, clock=clock)
    with meter.spending("load"):
        clock.now += 11
    told = []
    for lo, waited in ((0, 0.0), (8, 5.0)):   # two batches of four each
        clock.now += waited
        unit = Unit(WORDS.key, 0, lo, lo + 8)
        work_unit(store, Slow(clock), ORIGIN, RECIPE, WORDS, unit, 4, run="run", starts=Starts(store, RUN), meter=meter)
        told.append(json.loads(store.read(layout.commit(RECIPE.id, unit))))
    assert [one["spent_s"] for one in told] == [{"load": 11, "draw": 4, "upload": 3}, {"draw": 4, "upload": 3, "idle": 5}]
    assert {(one["gpus"], one["cpus"], one["process"]) for one in told} == {(0.5, 2, meter.process)}
    assert {(one["draw_s"], one["encode_s"]) for one in told} == {(4, 0)}
    meter.beat()
    billed = {one.kind: one.seconds for one in Ledger(store, RUN).total(FREE)}
    assert billed == {kind: sum(one["spent_s"].get(kind, 0.0) for one in told) for kind in ("load", "draw", "upload", "idle")}
    clean = with_repeated(Ledger(store, RUN).total(FREE), {"generate": sum(one["draw_s"] + one["encode_s"] for one in told)})
    assert {one.kind: one.seconds for one in clean} == billed   # to store it is work that leads to a commit, too


def test_the_wall_of_a_room_is_told_while_it_is_open_and_once_when_it_is_left_or_breaks(tmp_path: Path) -> None:
    made, clock = make_run(memory(), tmp_path / "real"), Clock()
    ledger = Ledger(made.store, made.keys, clock=clock)
    walk = River(made.store, made.planned, made.split, Events("json"), {"generate": Pool(1, 1, 0)}, ledger=ledger)

    def wall() -> float:
        return sum(one.seconds for one in Ledger(made.store, made.keys).total(FREE) if (one.room, one.kind) == ("generate", "wall"))

    with walk.room("generate", 1, "images"):
        clock.now += 40
        ledger.beat()
        assert wall() == 40
        clock.now += 5
    assert wall() == 45

    def broken() -> None:
        with walk.room("generate", 1, "images"):
            clock.now += 7
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert wall() == 52
