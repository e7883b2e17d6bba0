"""Report, version and card say the same of money, in the same words; and all that rests on prices nobody vouches for is told."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from job.ground import cost
from job.ground.events import Events
from job.publish import card
from job.report.model import Report
from job.river import River
from job.run import NO_POOLS
from job.runplan import Price
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import memory, publish_it

pytestmark = pytest.mark.unit
LINES = (("generate", "draw", 360.0), ("generate", "idle", 36.0), ("measure", "score", 72.0), ("sweep", "train", 720.0),
         ("confirm", "start", 180.0))
PRICE = Price(None, 36.0, "EUR", "an invoice", "2026-01-31")   # a CPU-second costs a cent


def reported(real: Path, price: Price, lines: Sequence[tuple[str, str, float]] = LINES) -> tuple[Made, Report]:
    """A made run with this ledger, reported as a walk reports it."""
    made = make_run(memory(), real)
    made = replace(made, planned=replace(made.planned, price=price))
    assert made.found
    ledger = cost.Ledger(made.store, made.keys)
    ledger.add([*((room, kind, seconds, 0.0, 1.0) for room, kind, seconds in lines), cost.wall("sweep", 900.0)])
    river = River(made.store, made.planned, made.split, Events("json"), NO_POOLS)
    report = river.report(replace(made.found, plan=made.planned))
    return replace(made, report=report, spent=ledger.total(price)), report


def of_prices(report: Report) -> list[str]:
    """The warnings about prices; another tells that a test of 24 images is small."""
    return [one for one in report.warnings if "locked test" not in one]


def test_report_version_and_card_say_the_same_of_a_published_and_of_a_kept_image(real: Path) -> None:
    made, report = reported(real, PRICE)
    version, _ = publish_it(made)
    kept = report.counts.kept
    assert kept == version.counts.kept == len(made.ids("kept"))
    assert version.cost.total == report.cost == pytest.approx(13.68)
    assert version.cost.per_published_image == report.cost_of.published_image == pytest.approx(13.68 / kept)
    assert version.cost.per_kept_image == report.cost_of.kept_image == pytest.approx(4.68 / kept)
    (row,) = re.findall(r"^\| cost \| (.*) \|$", card.text(version), flags=re.MULTILINE)
    assert row == (f"13.68 EUR; {13.68 / kept:.3g} per published image; {4.68 / kept:.3g} per kept image, to draw and to measure "
                   "(prices: an invoice, 2026-01-31)")
    assert of_prices(report) == []


def test_without_a_price_neither_says_anything_of_money(real: Path) -> None:
    made, report = reported(real, Price(None, None, "USD", "", ""))
    version, _ = publish_it(made)
    assert (version.cost.total, version.cost.per_published_image, version.cost.per_kept_image) == (None, None, None)
    assert (report.cost, report.cost_of.published_image, report.cost_of.kept_image) == (None, None, None)
    assert "not stated: no price was given" in card.text(version)
    assert of_prices(report) == []


def test_a_price_that_nobody_vouches_for_is_told_in_report_and_card(real: Path) -> None:
    made, report = reported(real, replace(PRICE, source="", date=""))
    (warning,) = of_prices(report)
    assert "the prices name no source and no date" in warning
    assert "set SALTWORKS_PRICE__SOURCE and SALTWORKS_PRICE__DATE" in warning
    assert "(prices: no source given, no date given)" in card.text(publish_it(made)[0])
