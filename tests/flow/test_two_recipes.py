"""Digits drawn with two numbers of steps, and compared: two small runs on local Ray, one look more in the reports of both."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from job import settings
from job.__main__ import main
from job.ground.events import Events
from job.ground.store import Store
from job.run import redo_report
from tests.flow.conftest import SMALL

pytestmark = [pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(900)]


def test_two_recipes_are_two_runs_and_their_difference_is_told_and_the_look_counted(
    job: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = "--generator.name", "text_to_image", "--price.per_cpu_hour", "1"
    flags = [(*drawn, "--generator.options.steps", steps) for steps in ("4", "2")]
    runs = [job(tmp_path, *one)[0] for one in flags]
    capsys.readouterr()
    assert main(["compare", *(one.run for one in runs), "--root", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    store = Store(str(tmp_path))
    (key,) = [key for key, _ in store.list("digits/comparisons/") if key.endswith(".json")]
    made = json.loads(store.read(key))
    assert made["differs"]["generator.options.steps"] == ["4", "2"]
    assert [row["run"] for row in made["rows"]] == [one.run for one in runs]
    accuracies = [one.confirmed[1].test_accuracy for one in runs]
    assert made["rows"][1]["against"]["gain"]["mean"] == pytest.approx(accuracies[1] - accuracies[0])
    assert all(row["images_per_s"] > 0 for row in made["rows"])
    assert all(row["cost_per_1000"] > 0 for row in made["rows"])
    assert not [one for one in made["warnings"] if "machines" in one]   # α = 0 is the same training in both
    assert "generator.options.steps: 4 | 2" in text
    assert "looks      3 at these test images" in text
    assert [one.test_looks for one in runs] == [1, 2]
    for one in flags:
        again, _ = redo_report(settings.load([*SMALL, "--root", str(tmp_path), *one]), Events("json"))
        assert again.test_looks == 3
