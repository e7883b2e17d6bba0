"""A budget that is reached in the middle of measuring or of the sweep: all that was begun is committed, and a raised one goes on."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from job import plan
from job.errors import BudgetError
from job.ground import layout
from job.ground.events import Events
from job.pool import work_off
from job.records import Unit
from job.river import River
from job.runplan import MetricPlan, Pool
from tests.fault.kills import frozen
from tests.fault.struck import Unhurried

pytestmark = pytest.mark.fault
POOLS = {"generate": Pool(1, 0.5, 0), "sweep": Pool(1, 0.5, 0)}
FLAGS = ("--price.per_cpu_hour", "3600", "--generator.options.seconds_per_image", "0", "--sweep.alphas", "0,.25,.5")
DIGEST = "b" * 64


def drawn(root: Path, images: int) -> River:
    """A run whose images are there, and that may spend what it likes."""
    walk = River(*frozen(root, *FLAGS, "--generator.images_per_class", str(images)), Events("json"), POOLS)
    walk.draw()
    return walk


def again(walk: River, more: float) -> River:
    """The same run in another driver, which may spend so much more than is spent."""
    return River(walk.store, walk.plan, walk.split, Events("json"), POOLS, budget=walk.ledger.spent(walk.plan.price) + more)


def contents(root: Path, what: str) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in root.glob(what)}


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_budget_that_is_reached_in_the_middle_of_the_sweep_keeps_its_trials_and_a_raised_one_fits_the_others(
    local_ray: str, tmp_path: Path
) -> None:
    walk, kept = drawn(tmp_path, images=8), "digits/runs/*/trials/*.json"
    tallies, _ = again(walk, 1e9).draw()
    asked = [("", alpha) for alpha in walk.plan.alphas]

    def swept(more: float) -> int:
        river = again(walk, 1e9)
        river.draw()   # which costs something, too, on a busy machine: what may be spent is told after it
        river.budget = walk.ledger.spent(walk.plan.price) + more
        return len(river.sweep(tallies, asked, walk.plan.sweep_seeds, "val", "sweep"))

    with pytest.raises(BudgetError, match=r"the budget is reached: .* in this room, 0\.01 were left") as reached:
        swept(0.01)
    assert reached.value.exit_code == 76
    finished = contents(tmp_path, kept)
    assert len(finished) == 1   # one at a time: the first was begun and committed, no other was begun
    with pytest.raises(BudgetError, match="are spent, and the budget is"):
        swept(0.0)
    assert contents(tmp_path, kept) == finished
    assert swept(1e9) == 3
    all_of_them = contents(tmp_path, kept)
    assert len(all_of_them) == 3
    assert {path: all_of_them[path] for path in finished} == finished


@pytest.mark.timeout(300)
def test_a_budget_that_is_reached_in_the_middle_of_measuring_keeps_its_scores_and_a_raised_one_adds_the_others(
    local_ray: str, tmp_path: Path
) -> None:
    walk = drawn(tmp_path, images=32)
    scoring = replace(walk.plan, metrics=(MetricPlan("brightness", "{}", "none", DIGEST),))
    units, scores = plan.first_round(walk.plan)[:8], "scores/**/*.parquet"

    def measured(river: River, of: Sequence[Unit]) -> list[str]:
        with river.room("measure", len(of), "units") as floor:
            return [row["unit"] for row in work_off(of, Unhurried, (scoring,), floor, room="measure", deadline_s=60)]

    with pytest.raises(BudgetError) as reached:
        measured(again(walk, 0.01), units)
    assert reached.value.exit_code == 76
    finished = contents(tmp_path, scores)
    assert 1 <= len(finished) < len(units)
    assert len(list(tmp_path.glob("digits/runs/*/starts/measure-*"))) == len(finished)   # what was begun is there
    missing = [one for one in units if walk.store.get(layout.scores(DIGEST, walk.plan.recipe.id, one.name)) is None]
    assert sorted(measured(again(walk, 1e9), units)) == sorted(one.name for one in units)
    all_of_them = contents(tmp_path, scores)
    assert len(all_of_them) == len(units) == len(finished) + len(missing)
    assert {path: all_of_them[path] for path in finished} == finished
