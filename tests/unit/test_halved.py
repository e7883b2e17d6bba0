"""A batch that does not fit into the device's memory: split once, in the commit and in the row, and not tried again."""

import json
import sys
import threading
import uuid
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from job import chip
from job.drawing import beyond, out_of_memory
from job.generate import Drawer, halved, read_commit
from job.generators.fake import Fake
from job.ground import layout
from job.ground.store import Store
from job.pool import Place
from job.records import Failure, Sample, SampleSpec, Unit
from job.runplan import Pool
from tests.unit.made_run import make_run

pytestmark = pytest.mark.unit
DrawerOf = Callable[..., Drawer]


class Small(Fake):
    """A device with room for ``most`` pictures after ``wide`` calls; of what it ``held`` for a call there are weak references."""

    def __init__(self, most: int, wide: int = 0) -> None:
        super().__init__(self.Options(fits=most))
        self.wide, self.asked, self.held = wide, [], []

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        self.asked.append(len(specs))
        if len(self.asked) <= self.wide:
            return [self._one(spec) for spec in specs]
        on_device = np.zeros(8)
        self.held.append(weakref.ref(on_device))
        return super().draw(specs)


@pytest.fixture
def drawer(tmp_path: Path) -> DrawerOf:
    """A worker whose plan has batches of ``batch_size``, on a store of its own."""
    made = make_run(Store(f"memory://{uuid.uuid4().hex}", 0), tmp_path / "real", finished=False)

    def of(batch_size: int, device: Small) -> Drawer:
        planned = replace(made.planned, batch_size=batch_size, recipe=replace(made.planned.recipe, id="another"))
        worker = Drawer(Place(f"memory://{uuid.uuid4().hex}", 0, made.keys, "generate", Pool(1, 1, 0), "stop", 60, "session"), planned)
        assert worker.error is None
        worker.generator = device
        return worker

    return of


def unit(worker: Drawer, number: int, size: int = 8) -> Unit:
    return Unit(worker.plan.classes[0].key, 0, number * size, (number + 1) * size)


def commit(worker: Drawer, one: Unit) -> dict:
    return json.loads(worker.store.read(layout.commit("another", one)))


def test_the_row_and_the_commit_tell_it_and_the_next_unit_is_drawn_as_fits(drawer: DrawerOf) -> None:
    worker = drawer(8, device := Small(5))
    both = [unit(worker, number) for number in range(2)]
    rows = [worker._row(one) for one in both]
    assert [(row["asked"], row["made"] + row["failed"], row["batch_size"], row["halved_from"], row["ours"]) for row in rows] == [
        (8, 8, 4, 8, True)] * 2
    assert device.asked == [8, 4, 4, 4, 4]
    assert {commit(worker, one)["chip"] for one in both} == {chip.processor()}
    assert [(commit(worker, one)["batch_size"], commit(worker, one)["halved_from"]) for one in both] == [(4, 8)] * 2


def test_a_smaller_setting_is_no_halving_and_ids_seeds_and_pictures_are_the_same_either_way(drawer: DrawerOf) -> None:
    split, whole = drawer(8, Small(4)), drawer(4, Small(4))
    for worker in (split, whole):
        worker._row(unit(worker, 0))
    told, plain = (commit(worker, unit(worker, 0)) for worker in (split, whole))
    assert "halved_from" not in plain
    assert [told[name] for name in ("batch_size", "ids", "failed", "sha256")] == [
        plain[name] for name in ("batch_size", "ids", "failed", "sha256")]


def test_only_the_batch_is_split_and_what_was_drawn_before_is_kept(drawer: DrawerOf) -> None:
    worker = drawer(8, device := Small(4, wide=2))
    row = worker._row(unit(worker, 0, size=32))
    assert row["made"] + row["failed"] == 32
    assert device.asked[:5] == [8, 8, 8, 4, 4]


def test_a_unit_that_is_drawn_while_another_is_still_written_knows_what_did_not_fit(drawer: DrawerOf) -> None:
    class Held(Store):
        both = threading.Barrier(2)

        def create(self, key: str, data: bytes) -> bool:
            if "/data/" in key:
                self.both.wait(60)   # until the other unit is to be written too
            return super().create(key, data)

    worker = drawer(8, device := Small(4))
    worker.store = Held(worker.place.url, 0)
    with ThreadPoolExecutor(2) as calls:
        rows = list(calls.map(worker._row, [unit(worker, number) for number in range(2)]))
    assert all("error" not in row for row in rows)
    assert device.asked == [8, 4, 4, 4, 4]


def test_what_the_batch_held_is_let_go_before_the_memory_is_given_back(drawer: DrawerOf, monkeypatch: pytest.MonkeyPatch) -> None:
    device, alive = Small(4), []
    cuda = SimpleNamespace(is_available=lambda: True, empty_cache=lambda: alive.append(device.held[-1]() is not None))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))   # there is no GPU here
    worker = drawer(8, device)
    worker._row(unit(worker, 0))
    assert alive == [False]


def test_it_is_halved_once_in_a_process_and_then_the_setting_is_named(drawer: DrawerOf) -> None:
    worker = drawer(8, Small(5))
    worker._row(unit(worker, 0))
    worker.generator = Small(3)
    name, problem, cure = worker._row(unit(worker, 1))["error"]
    assert (name, problem) == ("SettingsError", "a batch of 4 does not fit into the device's memory, nor did 8")
    assert "set SALTWORKS_GENERATOR__BATCH_SIZE below 4" in cure


def test_one_image_that_does_not_fit_is_no_matter_of_the_batch(drawer: DrawerOf) -> None:
    class Full(Small):
        def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
            return super().draw([*specs, *specs])   # not even one

    for batch_size, said in ((1, ""), (2, ", nor did 2")):
        worker = drawer(batch_size, Full(1))
        _, problem, cure = worker._row(unit(worker, 0))["error"]
        assert problem == f"a batch of 1 does not fit into the device's memory{said}"
        assert "BATCH_SIZE" not in cure


def test_the_warning_counts_the_runs_own_units_and_names_the_smallest_batch(drawer: DrawerOf) -> None:
    worker = drawer(8, Small(4))
    worker._row(unit(worker, 0))
    mine = read_commit(worker.store, worker.plan.recipe, unit(worker, 0))
    assert mine
    assert halved([mine, replace(mine, run="another"), replace(mine, halved_from=0)], mine.run) == (
        "a batch of 8 did not fit into the device's memory, and smaller ones drew 1 of this run's units: "
        "set SALTWORKS_GENERATOR__BATCH_SIZE=4")
    assert halved([replace(mine, run="another")], mine.run) == ""


@pytest.mark.parametrize(("error", "too_little", "broken"), [
    (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True, False),
    (RuntimeError("GET was unable to find an engine to execute this computation"), True, False),
    (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True, False),
    (RuntimeError("Triton Error [CUDA]: out of memory"), True, True),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True, True),
    (RuntimeError("CUDA error: an illegal memory access was encountered"), False, True),
    (RuntimeError("CUDA driver error: an illegal memory access was encountered"), False, True),
    (RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"), False, True),
    (MemoryError("out of memory"), False, True),   # the machine's own
    (ValueError("cannot read this"), False, False),
])
def test_what_libraries_say_of_too_little_memory_and_of_a_broken_device_is_understood(
    error: Exception, too_little: bool, broken: bool
) -> None:
    """A device's lack of memory counts first: the batch is halved before the process is given up."""
    assert (out_of_memory(error), beyond(error)) == (too_little, broken)
