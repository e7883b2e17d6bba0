"""Errors in the room that measures which only a fresh process cures: it gets one, and only so many."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from job import plan
from job.errors import DataError
from job.ground import layout
from job.ground.events import Events
from job.measure import ENDS
from job.pool import work_off
from job.river import River
from job.runplan import MetricPlan, Pool
from tests.fault.kills import frozen
from tests.fault.struck import Struck

pytestmark = [pytest.mark.fault, pytest.mark.long]
QUICK = ("--generator.images_per_class", "8", "--generator.options.seconds_per_image", "0")


def walked(tmp_path: Path) -> tuple[River, list[Any]]:
    """A run whose images are drawn, of two units that lack a score."""
    walk = River(*frozen(tmp_path, *QUICK), Events("json"), {"generate": Pool(1, 0.5, 0), "sweep": Pool(1, 0.5, 0)})
    walk.plan = replace(walk.plan, classes=walk.plan.classes[:1], quotas=walk.plan.quotas[:1])
    walk.draw()
    walk.plan = replace(walk.plan, metrics=(MetricPlan("brightness", "{}", "none", "b" * 64),))
    return walk, list(plan.first_round(walk.plan))


def processes(root: Path) -> int:
    return len(list(root.glob("digits/runs/*/starts/load-*/begun-*.json")))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("error", ["CUDA out of memory. Tried to allocate 2 GiB", "CUDA error: an illegal memory access was encountered"])
def test_an_error_that_a_fresh_process_cures_costs_one_process_and_loses_no_score(local_ray: str, tmp_path: Path, error: str) -> None:
    walk, units = walked(tmp_path)
    before = processes(tmp_path)
    with walk.room("measure", len(units), "units") as floor:
        rows = list(work_off(units, Struck, (walk.plan, error, False, str(tmp_path)), floor, room="measure", deadline_s=60))
    assert sum(row["scored"] for row in rows) == sum(unit.hi - unit.lo for unit in units)
    assert processes(tmp_path) - before == 2
    for unit in units:
        assert walk.store.get(layout.scores("b" * 64, walk.plan.recipe.id, unit.name)) is not None


@pytest.mark.timeout(300)
def test_an_error_that_none_cures_ends_the_room_after_a_bounded_number_of_processes(local_ray: str, tmp_path: Path) -> None:
    walk, units = walked(tmp_path)
    before = processes(tmp_path)
    with walk.room("measure", 1, "units") as floor, pytest.raises(DataError, match=f"begun {ENDS} times and its process ended every time"):
        list(work_off(units[:1], Struck, (walk.plan, "CUDA out of memory.", True, str(tmp_path)), floor, room="measure", deadline_s=60))
    assert processes(tmp_path) - before == ENDS + 1
