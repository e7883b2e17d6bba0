"""A batch that does not fit into the device's memory: halved once, in the commit and in the row, and not tried again."""

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from job import plan
from job.generate import Drawer
from job.generators.fake import Fake
from job.ground import layout
from job.ground.store import Store
from job.pool import Place
from job.records import Failure, Sample, SampleSpec, Unit
from job.runplan import Pool
from tests.unit.made_run import make_run

pytestmark = pytest.mark.unit


class OutOfMemoryError(RuntimeError):
    """As PyTorch calls it."""


class Small(Fake):
    """A device with room for ``most`` pictures."""

    def __init__(self, most: int) -> None:
        super().__init__(self.Options())
        self.most, self.asked = most, []

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        self.asked.append(len(specs))
        if len(specs) > self.most:
            raise OutOfMemoryError("CUDA out of memory")
        return super().draw(specs)


@pytest.fixture
def drawer(tmp_path: Path) -> tuple[Drawer, list[Unit]]:
    made = make_run(Store(f"memory://{uuid.uuid4().hex}", 0), tmp_path / "real", finished=False)
    planned = replace(made.planned, batch_size=8, recipe=replace(made.planned.recipe, id="another"))
    place = Place(made.store.url, 0, made.keys, "generate", Pool(1, 1, 0), "stop", 60, "session")
    worker = Drawer(place, planned)
    assert worker.error is None
    return worker, list(plan.first_round(replace(planned, unit_size=8)))[:2]


def test_the_row_and_the_commit_tell_it_and_the_next_unit_is_drawn_as_fits(drawer: tuple[Drawer, list[Unit]]) -> None:
    worker, (first, second) = drawer
    worker.generator = device = Small(5)
    rows = [worker._row(first), worker._row(second)]
    assert [(row["asked"], row["made"] + row["failed"], row["batch_size"], row["ours"]) for row in rows] == [(8, 8, 4, True)] * 2
    assert device.asked == [8, 4, 4, 4, 4]
    for unit in (first, second):
        assert json.loads(worker.store.read(layout.commit("another", unit)))["batch_size"] == 4


def test_it_is_halved_once_in_a_process_and_then_the_setting_is_named(drawer: tuple[Drawer, list[Unit]]) -> None:
    worker, (first, second) = drawer
    worker.generator = Small(5)
    worker._row(first)
    worker.generator = Small(3)
    name, problem, cure = worker._row(second)["error"]
    assert (name, problem) == ("SettingsError", "a batch of 4 does not fit into the device's memory, nor did 8")
    assert "SALTWORKS_GENERATOR__BATCH_SIZE" in cure
