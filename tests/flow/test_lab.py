"""The lab's own setting, CIFAR-shaped: four classes, 200 real images each, α in 0, .25, .5, .75. No claim on accuracy."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bench.lab import LAB, stand_in
from job.errors import SettingsError

pytestmark = pytest.mark.flow


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    return (*LAB, "--real.options.url", stand_in(tmp_path_factory.mktemp("cifar")), "--train.steps", "20",
            "--sweep.seeds", "2", "--sweep.confirm_seeds", "2")


@pytest.mark.long
def test_the_lab_runs_with_the_realised_alpha_of_the_rule(lab: tuple[str, ...], tmp_path: Path, job: Callable) -> None:
    report, _ = job(tmp_path, *lab)
    assert [(arm.alpha, arm.n_real, arm.n_synthetic) for arm in report.arms] == [
        (0.0, 800, 0), (0.25, 800, 267), (0.5, 800, 800), (0.75, 800, 2400)]
    assert [arm.realised_alpha for arm in report.arms] == pytest.approx([0, 267 / 1067, 0.5, 0.75])
    assert [row.kept for row in report.classes] == [600] * 4
    assert report.n_val == 400


def test_asking_for_more_than_images_per_class_supplies_is_refused_with_the_number_missing(
    lab: tuple[str, ...], tmp_path: Path, job: Callable
) -> None:
    with pytest.raises(SettingsError, match="800 missing"):
        job(tmp_path, *lab, "--generator.images_per_class", "400")
    assert not list(tmp_path.iterdir())
