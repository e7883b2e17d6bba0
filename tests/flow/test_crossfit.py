"""A cross-fitting on local Ray: a run per fold, one verdict over all, and again without Ray."""

import json
from pathlib import Path

import pytest

from job import crossfit, settings
from job.__main__ import main
from job.errors import BudgetError
from job.ground.events import Events
from job.ground.store import Store
from tests.flow.conftest import SMALL
from tests.folders import class_folders, write

pytestmark = [pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(900)]


def test_every_fold_is_a_run_and_all_of_them_give_one_verdict_that_can_be_made_again(
    local_ray: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write(tmp_path / "photos", class_folders({"a": 9, "b": 9}))
    flags = (*SMALL, "--root", str(tmp_path / "out"), "--dataset", "noise", "--real.name", "image_folder", "--real.options.url", photos,
             "--split.folds", "3", "--split.repeats", "1", "--sweep.seeds", "1", "--train.steps", "10", "--train.size_px", "8",
             "--edition", "spring")
    assert main(["plan", *flags]) == 0
    assert "folds        3 such runs" in capsys.readouterr().out
    chosen = settings.load(flags)
    with pytest.raises(BudgetError, match="the budget is 0"):
        crossfit.all_folds(settings.load([*flags, "--budget_usd", "0", "--price.per_cpu_hour", "1"]), Events("json"))
    made, where = crossfit.all_folds(chosen, Events("json"))
    assert [(row.n_train, row.n_test) for row in made.rows] == [(6, 6)] * 3
    assert len({row.run for row in made.rows}) == 3
    assert made.gain.n_images == 18
    assert made.gain.mean == pytest.approx(sum(row.gain for row in made.rows) / 3)
    assert made.beyond == {}
    assert "3 folds leave 2 degrees of freedom" in made.warnings[0]
    assert made.sentence.startswith({"helped": "Synthetic data helped"}.get(made.verdict, made.sentence[:5]))
    store = Store(str(tmp_path / "out"))
    stored = json.loads(store.read(f"noise/crossfits/{made.crossfit}/report.json"))
    assert stored == json.loads(made.model_dump_json())
    page = store.read(f"noise/crossfits/{made.crossfit}/report.html").decode()
    assert all(row.run in page for row in made.rows)
    assert not store.list("noise/versions/")   # a cross-fitting publishes nothing
    assert main(["publish", *flags]) == 64
    before = len(store.list("noise/runs/"))
    assert (crossfit.again(chosen, Events("json"))[0], where) == (made, f"{store.shown}/noise/crossfits/{made.crossfit}/")
    assert crossfit.all_folds(chosen, Events("json"))[0] == made   # and a second run repeats nothing
    assert len(store.list("noise/runs/")) == before
