"""The report's numbers of a whole run, made without Ray, agree with one another and with what the trials answered."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from job import statistics
from job.ground.store import Store
from job.report.assemble import assemble
from job.report.model import Report
from job.results import TrialResult
from tests.unit.made_run import Made, make_run

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder: Path = tmp_path_factory.mktemp("numbers")
    return make_run(Store(f"{folder}/root"), folder / "real")


def again(made: Made, **change: object) -> Report:
    """The report of the same run, where the rooms had found something else."""
    assert made.found
    return assemble(replace(made.found, **change), [], {}, made.spent, [])


def test_the_mean_over_the_fresh_seeds_is_the_gain(made: Made) -> None:
    report = made.report
    assert [one.seed for one in report.seed_gains] == report.confirmed[0].seeds == report.confirmed[1].seeds
    assert np.mean([one.gain for one in report.seed_gains]) == pytest.approx(report.gain)


def test_every_alpha_but_zero_has_its_paired_interval_on_validation(made: Made) -> None:
    base, *salted = made.report.arms
    assert base.val_gain is None
    for arm, trial in zip(salted, made.found.results[1:], strict=True):
        told = statistics.interval(trial.correct_SN, made.found.results[0].correct_SN)
        assert (arm.val_gain.low, arm.val_gain.high) == (told.low, told.high)
        assert arm.val_gain.mean == pytest.approx(arm.val_accuracy - base.val_accuracy)
        assert (arm.val_gain.n_seeds, arm.val_gain.n_images) == (len(arm.seeds), made.report.n_val)


def test_a_curve_of_an_arm_is_compared_with_zero_as_the_grid_is(made: Made) -> None:
    curve = [replace(one, arm="placebo", trial=f"{one.trial}-placebo") for one in made.found.results[1:]]
    report = again(made, curves=curve)
    assert [arm.val_gain for arm in report.curves[0].arms] == [arm.val_gain for arm in report.arms[1:]]


def test_one_seed_gives_no_interval_on_validation(made: Made) -> None:
    def first(trial: TrialResult) -> TrialResult:
        return replace(trial, seeds=trial.seeds[:1], correct_SN=trial.correct_SN[:1])

    report = again(made, results=[first(one) for one in made.found.results])
    assert not any(arm.val_gain for arm in report.arms)


def test_a_class_with_at_most_half_of_what_is_usual_is_rare(made: Made) -> None:
    assert not any(row.rare for row in made.report.classes)
    n = made.planned.n_train
    report = again(made, plan=replace(made.planned, n_train=(n[0] // 2, *n[1:])))
    assert [row.rare for row in report.classes] == [True, False, False]
