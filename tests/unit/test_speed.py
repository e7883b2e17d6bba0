"""How fast images come and what a million of them costs: told while they come and in the report, and never invented."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.generate import Committed
from job.ground import layout
from job.ground.cost import Ledger, wall
from job.ground.events import Events
from job.ground.store import Store
from job.records import Unit
from job.report import words
from job.report.model import Drawing, Spent
from job.report.page import render
from job.report.speed import drawing
from job.river import River
from job.run import NO_POOLS
from job.runplan import Chip, Price
from job.watch import Pace, Watch
from tests.unit.made_run import make_run
from tests.unit.publishing import memory
from tests.unit.report_sample import gallery, helped, picture

pytestmark = pytest.mark.unit
CHIP = Chip(peak_tflops=790.0, tflop_per_image=50.7)
ROOMS = [Spent(room="generate", wall_s=200.0, worker_s={"draw": 150.0}, gpu=True, cost=None)]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def units(*draw_s: float, made: int = 256) -> list[Committed]:
    return [Committed(Unit("cat", 0, at * 256, at * 256 + 256), "key", "0" * 64, 1, made, (), seconds, 1.0, ("", "", ""), "run", 8)
            for at, seconds in enumerate(draw_s)]


def paced(spent: float = 0.0) -> tuple[Pace, Clock]:
    clock = Clock()
    return Pace(lambda: spent, "EUR", clock), clock


def test_nothing_is_told_before_the_first_image_and_nothing_of_money_without_a_price() -> None:
    pace, clock = paced()
    clock.now += 10
    assert pace.told() == {}
    pace.count(81)
    assert pace.told() == {"images_per_s": 8.1}


@given(st.integers(1, 10**6), st.floats(0.1, 10**5), st.floats(0.01, 10**4))
def test_rate_and_cost_follow_from_images_seconds_and_money(images: int, seconds: float, spent: float) -> None:
    pace, clock = paced(spent)
    pace.count(images)
    clock.now += seconds
    told = pace.told()
    assert told["images_per_s"] == pytest.approx(images / seconds, rel=0.01)
    assert told["cost_per_million"] == pytest.approx(1e6 * spent / images, rel=0.01)
    assert told["currency"] == "EUR"


def test_only_images_that_were_made_or_measured_here_and_now_count() -> None:
    watch, (pace, clock) = Watch("d"), paced()
    watch.images("generate", {"made": 5})   # between two rooms: nobody's
    watch.pace = pace
    watch.images("generate", {"made": 7, "failed": 1, "ours": True})
    watch.images("generate", {"made": 8, "failed": 0, "ours": False})
    watch.images("measure", {"scored": 2, "blind": 1})
    clock.now += 1
    assert pace.told()["images_per_s"] == 10


def test_a_line_of_progress_and_the_end_of_a_room_tell_them(capsys: pytest.CaptureFixture[str]) -> None:
    more: dict[str, float | str] = {"images_per_s": 8.1, "cost_per_million": 122.0, "currency": "EUR"}
    with Events("json").room("generate", 8, "images", lambda: more) as advance:
        advance(8)
    with Events("json").room("sweep", 1, "trainings") as advance:
        advance()
    _, end, _, other = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (end["done"], end["images_per_s"], end["cost_per_million"], end["currency"]) == (8, 8.1, 122.0, "EUR")
    assert "images_per_s" not in other


@pytest.mark.parametrize(("more", "shown"), [({}, ""), ({"images_per_s": 8.1}, "8.1/s"), (
    {"images_per_s": 8.1, "cost_per_million": 1220.4, "currency": "EUR"}, "8.1/s  1,220 EUR per million")])
def test_so_does_the_end_of_a_bar(more: dict[str, float | str], shown: str, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    with Events("bars").room("generate", 8, "images", lambda: more) as advance:
        advance(8)
    assert shown in capsys.readouterr().err


def test_a_room_that_draws_tells_what_its_workers_made_and_cost(real: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_run(memory(), real)
    priced = replace(made.planned, price=Price(None, 36.0, "EUR", "an invoice", "2026-01-31"))   # a CPU-second costs a cent
    walk = River(made.store, priced, made.split, Events("json"), NO_POOLS)
    with walk.room("generate", 8, "images") as floor:
        floor.heard("a worker", [["generate", "load", 4.0, 0.0, 1.0], ["generate", "draw", 12.0, 0.0, 1.0]])
        floor.watch.images("generate", {"made": 8, "failed": 0, "ours": True})
    with walk.room("sweep", 1, "trainings"):
        pass
    _, end, _, other = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert end["images_per_s"] > 0
    assert (end["cost_per_million"], end["currency"]) == (1e6 * 0.16 / 8, "EUR")
    assert "images_per_s" not in other


def test_the_report_tells_rates_of_the_run_s_own_images_and_the_share_of_the_peak() -> None:
    found = drawing(CHIP, units(32.0, 32.0), ROOMS, gpus=1.0)
    assert found
    assert (found.images, found.images_per_s, found.images_per_worker_s) == (512, 512 / 200, 8.0)
    assert found.mfu == pytest.approx(8 * 50.7 / 790)
    assert found.chips == []   # of a version before they were told
    two = [replace(one, chip=chip) for one, chip in zip(units(32.0, 32.0, 1.0), ("H200", "A10G", "H200"), strict=True)]
    assert drawing(CHIP, two, ROOMS, gpus=1.0).chips == ["A10G", "H200"]
    half = drawing(CHIP, units(64.0, 64.0), ROOMS, gpus=0.5)   # two workers on one GPU, each half as fast
    assert half
    assert half.mfu == found.mfu


@pytest.mark.parametrize(("chip", "gpus"), [(None, 1.0), (CHIP, 0.0)])
def test_without_a_peak_or_a_gpu_there_is_no_utilisation(chip: Chip | None, gpus: float) -> None:
    found = drawing(chip, units(32.0), ROOMS, gpus)
    assert found
    assert found.mfu is None


def test_a_run_that_drew_nothing_itself_has_no_speed() -> None:
    assert drawing(CHIP, [], ROOMS, 1.0) is None
    assert drawing(CHIP, units(3.0, made=0), ROOMS, 1.0) is None


def test_the_ledger_knows_how_many_gpus_a_worker_held_while_it_drew() -> None:
    ledger = Ledger(Store(f"memory://{uuid.uuid4().hex}", retry_s=0), layout.Run("dataset", "run"))
    assert ledger.gpus("generate", "draw") == 0
    ledger.add([("generate", "draw", 30.0, 1.0, 2.0), ("generate", "draw", 10.0, 0.5, 2.0), ("generate", "idle", 99.0, 4.0, 2.0),
                wall("generate", 50.0)])
    assert ledger.gpus("generate", "draw") == pytest.approx(35 / 40)


def test_page_and_summary_say_how_fast_it_was() -> None:
    fast = Drawing(images=1200, chips=["H200"], images_per_s=6.0, images_per_worker_s=8.123, tflop_per_image=50.7,
                   peak_tflops=790.0, mfu=0.52)
    said = words.speed(fast)
    assert said == "1,200 images drawn on H200: 6/s by the clock, 8.12/s while a worker drew, 52 % of the measured peak"
    assert words.speed(fast.model_copy(update={"mfu": None})) == said.removesuffix(", 52 % of the measured peak")
    assert words.speed(fast.model_copy(update={"chips": []})) == said.replace(" on H200", "")
    report = helped().model_copy(update={"drawing": fast})
    assert said in render(report, picture(0), gallery())
    assert said not in render(helped(), picture(0), gallery())
