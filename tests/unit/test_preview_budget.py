"""A budget that cannot hold what is left to do stops the run before it starts; prices without a source are told to be so."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from job import preview
from job.errors import BudgetError
from job.ground import cost, layout
from job.ground.store import Store
from job.runplan import RunPlan
from job.settings import load
from tests.unit.test_preview import BOTH, commit, fit, planned, store

__all__ = ["planned", "store"]   # fixtures
pytestmark = pytest.mark.unit
DRAW_S, FIT_S = 72, 900   # of a unit, and of a training, on a worker of one CPU at 3600 USD an hour: a second costs one
LEFT = 150 * DRAW_S + 23 * FIT_S   # 50 of 200 units are drawn, and 3 of 26 trainings fitted
SPENT = 4500.0
Afford = Callable[[float], None]


@pytest.fixture
def afford(store: Store, planned: RunPlan) -> Afford:
    """Try a budget on a run that is begun: ``SPENT`` is spent, ``LEFT`` is to be spent at the rates that were measured."""
    dear = replace(planned, price=replace(BOTH, per_cpu_hour=3600.0))
    commit(store, dear, 50, seconds=DRAW_S)
    fit(store, dear, 1, seconds=3 * FIT_S)
    keys = layout.Run(dear.dataset, dear.run)
    cost.Ledger(store, keys).add([("generate", "draw", SPENT, 0.0, 1.0), cost.wall("generate", 1e6)])

    def tried(budget: float) -> None:
        chosen = load([], {"SALTWORKS_BUDGET_USD": str(budget), "SALTWORKS_GENERATOR__NAME": "fake"})
        preview.affordable(store, chosen, dear)

    return tried


@pytest.mark.parametrize("budget", [SPENT + 1, SPENT + LEFT / 2, SPENT + LEFT - 1])
def test_a_budget_above_what_is_spent_and_below_what_all_will_cost_is_refused_with_both_sums(budget: float, afford: Afford) -> None:
    with pytest.raises(BudgetError, match=r"3\.15e\+04 USD are still to be spent, 4500 are, and the budget is") as refused:
        afford(budget)
    assert refused.value.exit_code == 76
    assert "SALTWORKS_BUDGET_USD" in refused.value.cure


@pytest.mark.parametrize("budget", [SPENT + LEFT, SPENT + LEFT + 1])
def test_a_budget_that_just_holds_all_is_allowed(budget: float, afford: Afford) -> None:
    afford(budget)


@pytest.mark.parametrize("budget", [SPENT, SPENT - 1, 0])
def test_a_budget_that_is_spent_is_refused(budget: float, afford: Afford) -> None:
    with pytest.raises(BudgetError):
        afford(budget)


def test_a_finished_run_needs_no_budget(store: Store, planned: RunPlan, afford: Afford) -> None:
    store.create(layout.Run(planned.dataset, planned.run).done(), b"{}")
    afford(0)


@pytest.mark.parametrize(("source", "date", "lacking"), [
    ("", "", "no source and no date"), ("", "2026-01-01", "no source"), ("a list", "", "no date"), ("a list", "2026-01-01", "")])
def test_a_price_without_source_or_date_is_warned_of_in_the_plan(
    source: str, date: str, lacking: str, store: Store, planned: RunPlan
) -> None:
    told = preview.text(store, replace(planned, price=replace(BOTH, source=source, date=date)))
    warnings = [line for line in told.splitlines() if line.startswith("warning")]
    assert len(warnings) == bool(lacking)
    for line in warnings:
        assert f"the prices name {lacking}, so" in line
        assert ("SALTWORKS_PRICE__SOURCE" in line, "SALTWORKS_PRICE__DATE" in line) == (not source, not date)


def test_without_a_price_nobody_is_asked_for_its_source(store: Store, planned: RunPlan) -> None:
    assert "warning" not in preview.text(store, planned)
