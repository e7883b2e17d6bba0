"""Arms are data: what their table promises, which of them are trained where, and what is refused."""

import numpy as np
import pytest

from job import arms, choosing
from job.errors import DataError, SettingsError
from job.results import TrialResult
from job.runplan import Objective
from job.statistics import HELPED, UNDECIDED

pytestmark = pytest.mark.unit
GRID = (0.0, 0.5, 0.9)


def judged(arm: str, alpha: float, correct_SN: np.ndarray) -> TrialResult:
    seeds = tuple(range(len(correct_SN)))
    return TrialResult(f"{arm}-{alpha}", alpha, alpha, 40, 40, 640, seeds, "test", correct_SN.astype(np.uint8), (2.0,) * len(seeds),
                       (0.5,) * len(seeds), (0.01,) * len(seeds), 1.0, arm=arm)


def test_the_confirmation_trains_each_arm_at_its_alpha_in_the_order_of_the_table() -> None:
    asked = arms.in_confirmation(("synthetic_only", "reweighted", "placebo"), 0.9)
    assert asked == (("placebo", 0.9), ("reweighted", 0.0), ("synthetic_only", 1.0))
    assert arms.in_confirmation((), 0.9) == ()


def test_a_curve_without_alphas_has_every_one_above_zero() -> None:
    assert arms.in_sweep({"unfiltered": (), "placebo": (0.9,)}, GRID) == (("placebo", 0.9), ("unfiltered", 0.5), ("unfiltered", 0.9))


@pytest.mark.parametrize(("names", "curves", "augmentation", "told"), [
    (("placebos",), {}, True, "no arm is called 'placebos'"),
    (("augmented",), {}, False, "would train as the others do"),
    ((), {"reweighted": ()}, True, "the same at every α"),
    ((), {"placebo": (0.7,)}, True, "asks for placebo at α = 0.7"),
])
def test_arms_that_cannot_be_are_refused(names: tuple[str, ...], curves: dict, augmentation: bool, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        arms.check(names, curves, GRID, augmentation)
    arms.check(tuple(arms.ARMS), {"placebo": (0.5,)}, GRID, True)


def test_balanced_accuracy_counts_every_class_alike_and_recall_only_its_own() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    balanced, recall = (choosing.weights(Objective(*one), labels) for one in (("balanced_accuracy",), ("recall", (1,))))
    right = np.zeros(100, np.uint8)
    right[:45] = right[90:98] = 1
    assert right @ balanced == pytest.approx((0.5 + 0.8) / 2)
    assert right @ recall == pytest.approx(0.8)
    assert choosing.weights(Objective(), labels) is None
    with pytest.raises(DataError, match="no judged image"):
        choosing.weights(Objective("recall", (2,)), labels)


def test_a_gain_in_recall_that_costs_more_accuracy_than_the_guard_allows_is_no_help() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 300 + [1] * 60)
    weights = choosing.weights(Objective("recall", (1,)), labels)
    before = (rng.random((10, 360)) < np.where(labels == 1, 0.3, 0.95)).astype(np.uint8)
    rare = np.where(labels == 1, (rng.random((10, 360)) < 0.8), before)
    dear = np.where(labels == 0, rare * (rng.random((10, 360)) < 0.8), rare)
    baseline = judged("", 0.0, before)
    good, bad = (choosing.verdict(judged("", 0.5, one), baseline, weights, 0.02) for one in (rare, dear))
    assert (good.word, good.alpha_star) == (HELPED, 0.5)
    assert good.gain.mean > 0.3
    assert good.guarded.mean > -0.02
    assert (bad.word, bad.alpha_star) == (UNDECIDED, 0.0)
    assert "accuracy fell by" in bad.would_decide


def test_what_the_arms_say_is_said_with_holms_correction_over_all_of_them() -> None:
    rng = np.random.default_rng(1)
    base = rng.random((10, 600)) < 0.7
    better = base | (rng.random((10, 600)) < 0.3)
    others = [judged("placebo", 0.5, base), judged("reweighted", 0.0, better)]
    found = choosing.controls(judged("", 0.5, better), judged("", 0.0, base), others)
    assert [(one.arm, one.effect.word, one.beyond.word) for one in found] == [
        ("placebo", UNDECIDED, HELPED), ("reweighted", HELPED, UNDECIDED)]
    assert found[0].effect.mean == 0
