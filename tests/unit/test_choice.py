"""The candidate from validation, the verdict from the locked test, and the warnings beside them."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.choosing import choose, few_seeds, interior_optimum, stability, verdict
from job.errors import JobError
from job.results import TrialResult

pytestmark = pytest.mark.unit


def law(*strategies):
    """``given`` without a deadline: on a busy machine the first example pays for imports."""
    return lambda test: settings(deadline=None)(given(*strategies)(test))


def result(alpha, correct_SN, judged_on="val", **changes):
    correct_SN = np.asarray(correct_SN, dtype=np.uint8)
    seeds = len(correct_SN)
    plain = TrialResult(
        f"trial-{alpha}", alpha, alpha, 80, 0, 19_200, tuple(range(seeds)), judged_on, correct_SN,
        (2.3,) * seeds, (0.2,) * seeds, (0.01,) * seeds, 1.0,
    )
    return replace(plain, **changes)


def right(*counts, images=100):
    """One row per seed, with so many of the images right."""
    return [[1] * count + [0] * (images - count) for count in counts]


def drawn(rng, rate, seeds=5, images=400):
    """Predictions that share the difficulty of their images: (S, N)."""
    return rng.random((seeds, images)) < rate


def test_the_candidate_is_the_best_mean_above_zero():
    rows = {0.0: right(80, 82), 0.5: right(90, 80), 0.9: right(85, 88), 1.0: right(70, 70)}
    found = choose([result(alpha, row) for alpha, row in rows.items()])
    assert (found.candidate, found.val_accuracy) == (0.9, pytest.approx(0.865))
    assert found.val_gain == pytest.approx(0.055)


def test_the_candidate_lies_above_zero_even_where_salt_only_hurts():
    found = choose([result(0.0, right(99, 99)), result(0.25, right(60, 60)), result(0.5, right(50, 50))])
    assert found.candidate == 0.25
    assert found.val_gain < 0


@law(st.permutations([0.0, 0.25, 0.5, 0.75, 0.9, 1.0]))
def test_ties_go_to_less_salt_in_whatever_order_the_results_come(order):
    found = choose([result(alpha, right(90, 70) if alpha % 0.5 else right(80, 80)) for alpha in order])
    assert (found.candidate, found.one_se_alpha) == (0.25, 0.25)


def test_the_one_error_alpha_is_the_least_whose_paired_loss_is_within_its_own_error():
    baseline, best = result(0.0, right(50, 60, 70)), result(0.9, right(80, 90, 99))
    near = result(0.5, right(78, 91, 98))    # loses 2, −1, 1: mean .67, error .88
    steady = result(0.25, right(79, 89, 98))   # loses 1 under every seed: a small loss, and no doubt about it
    assert choose([baseline, best, near, steady]).one_se_alpha == 0.5
    assert choose([baseline, best, steady]).one_se_alpha == 0.9
    assert choose([baseline, replace(best, alpha=0.1), near]).one_se_alpha == 0.1


def test_with_one_seed_only_a_tie_is_within_one_error():
    arms = [result(0.0, right(50)), result(0.25, right(89)), result(0.5, right(90)), result(0.75, right(90))]
    assert (choose(arms).candidate, choose(arms).one_se_alpha) == (0.5, 0.5)


@pytest.mark.parametrize("spoil", [
    lambda arms: [replace(arms[0], judged_on="test"), arms[1]],
    lambda arms: [replace(arms[0], seeds=(7, 8)), arms[1]],
    lambda arms: [replace(arms[0], seeds=(0, 0)), replace(arms[1], seeds=(0, 0))],
    lambda arms: [replace(arms[0], correct_SN=arms[0].correct_SN[:, 1:]), arms[1]],
    lambda arms: [replace(one, correct_SN=one.correct_SN[:1]) for one in arms],
    lambda arms: arms[:1],
    lambda arms: arms[1:],
    lambda arms: [],
    lambda arms: [*arms, arms[1]],
    lambda arms: [replace(one, alpha=one.alpha + 0.1) for one in arms],
])
def test_choosing_among_arms_that_cannot_be_compared_is_a_defect(spoil):
    with pytest.raises(JobError) as defect:
        choose(spoil([result(0.0, right(80, 82)), result(0.5, right(90, 80))]))
    assert defect.value.exit_code == 70


def redrawn(arms, rng):
    """The same seeds and images of every arm, as many as there are, with replacement."""
    seeds, images = (rng.integers(n, size=n) for n in arms[0].correct_SN.shape)
    return [replace(one, correct_SN=one.correct_SN[seeds][:, images]) for one in arms]


def test_the_stability_of_an_alpha_is_how_often_choose_names_it_when_seeds_and_images_are_drawn_again():
    rng = np.random.default_rng(0)
    arms = [result(alpha, drawn(rng, rate, images=60)) for alpha, rate in ((0.0, 0.6), (0.25, 0.62), (0.5, 0.66), (0.75, 0.66))]
    shares = dict(stability(arms, draws=4000))
    assert list(shares) == [0.25, 0.5, 0.75]
    assert sum(shares.values()) == pytest.approx(1)
    named = [choose(redrawn(arms, rng)).candidate for _ in range(2000)]
    for alpha, share in shares.items():
        assert share == pytest.approx(named.count(alpha) / 2000, abs=0.045)   # 3.3 standard errors of both


def test_stability_is_the_same_in_whatever_order_the_results_come_and_gives_a_tie_to_less_salt():
    arms = [result(0.0, right(50, 60)), result(0.25, right(70, 80)), result(0.5, right(70, 80)), result(0.75, right(20, 30))]
    assert stability(arms) == stability(arms[::-1]) == ((0.25, 1.0), (0.5, 0.0), (0.75, 0.0))


def test_stability_holds_the_guard_as_choose_does():
    rare = np.arange(100) < 20
    weights = np.where(rare, 1 / 20, 0.0)
    keen, safe = np.tile(rare, (3, 1)), np.tile(~rare | (np.arange(100) < 10), (3, 1))   # recalls 1 and .5, accuracies .2 and .9
    arms = [result(0.0, safe), result(0.25, safe), result(0.5, keen)]
    assert choose(arms, weights).candidate == 0.25
    assert stability(arms, weights, 0.05) == ((0.25, 1.0), (0.5, 0.0))
    assert stability(arms, weights, 1.0) == ((0.25, 0.0), (0.5, 1.0))
    assert choose(arms, weights, 1.0).candidate == 0.5


def test_an_interior_optimum_is_claimed_only_if_both_neighbours_are_lower_beyond_doubt():
    rng = np.random.default_rng(0)
    peak = [result(alpha, drawn(rng, rate)) for alpha, rate in ((0.0, 0.6), (0.5, 0.9), (0.9, 0.7))]
    plateau = [*peak[:2], result(0.9, drawn(rng, 0.895))]
    assert interior_optimum(peak, 0.5)
    assert not interior_optimum(plateau, 0.5)
    assert not interior_optimum(peak[:2], 0.5)   # the end of the grid has one neighbour
    assert not interior_optimum(peak, 0.0)
    assert not interior_optimum([replace(one, correct_SN=one.correct_SN[:1], seeds=(0,)) for one in peak], 0.5)
    with pytest.raises(JobError, match="was not tried"):
        interior_optimum(peak, 0.75)


def test_on_a_plateau_an_interior_optimum_is_seldom_claimed():
    rng = np.random.default_rng(1)
    claimed = 0
    for _ in range(200):
        arms = [result(alpha, drawn(rng, 0.9, images=200)) for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)]
        claimed += interior_optimum(arms, choose(arms).candidate)
    assert claimed <= 4


def test_a_clear_gain_helped_and_its_alpha_is_recommended():
    rng = np.random.default_rng(0)
    better, worse = drawn(rng, 0.95), drawn(rng, 0.8)
    found = verdict(result(0.9, better, "test"), result(0.0, worse, "test"))
    assert (found.word, found.alpha_star, found.would_decide) == ("helped", 0.9, "")
    assert 0 < found.gain.low < found.gain.mean < found.gain.high
    assert (found.gain.n_seeds, found.gain.n_images) == (5, 400)


def test_a_clear_loss_hurt_and_no_salt_is_recommended():
    rng = np.random.default_rng(0)
    found = verdict(result(0.9, drawn(rng, 0.8), "test"), result(0.0, drawn(rng, 0.95), "test"))
    assert (found.word, found.alpha_star, found.would_decide) == ("hurt", 0.0, "")
    assert found.gain.high < 0


def test_a_gain_within_the_noise_is_no_detectable_difference_and_says_what_would_decide():
    rng = np.random.default_rng(0)
    found = verdict(result(0.5, drawn(rng, 0.905), "test"), result(0.0, drawn(rng, 0.895), "test"))
    assert (found.word, found.alpha_star) == ("no detectable difference", 0.0)
    assert found.smallest_detectable > abs(found.gain.mean)
    assert "confirm seeds" in found.would_decide
    assert "test images" in found.would_decide


def test_a_placebo_that_predicts_the_same_is_no_detectable_difference():
    same = drawn(np.random.default_rng(0), 0.9)
    found = verdict(result(0.9, same, "test"), result(0.0, same, "test"))
    assert (found.word, found.alpha_star) == ("no detectable difference", 0.0)
    assert found.gain.mean == found.gain.low == found.gain.high == found.gain.standard_error == 0.0
    assert "nothing to decide" in found.would_decide


@pytest.mark.parametrize(("seeds", "images", "said"), [(1, 400, "one confirm seed"), (5, 9, "9 test images")])
def test_one_seed_or_a_handful_of_images_gives_no_verdict_and_no_number_that_is_none(seeds, images, said):
    rng = np.random.default_rng(0)
    arms = [result(alpha, drawn(rng, rate, seeds, images), "test") for alpha, rate in ((0.9, 0.9), (0.0, 0.1))]
    found = verdict(*arms)
    assert (found.word, found.alpha_star, found.smallest_detectable) == ("no verdict", 0.0, 1.0)
    assert (found.gain.low, found.gain.high) == (-1.0, 1.0)
    assert found.gain.mean == pytest.approx(arms[0].correct_SN.mean() - arms[1].correct_SN.mean())
    assert all(np.isfinite(getattr(found.gain, field.name)) for field in fields(found.gain))
    assert said in found.would_decide


@pytest.mark.parametrize("spoil", [
    lambda a, b: (replace(a, judged_on="val"), b),
    lambda a, b: (a, replace(b, judged_on="val")),
    lambda a, b: (replace(a, seeds=(0, 1, 2, 3, 9)), b),
    lambda a, b: (a, replace(b, correct_SN=b.correct_SN[:, :-1])),
    lambda a, b: (a, replace(b, alpha=0.25)),
    lambda a, b: (replace(a, alpha=0.0), b),
])
def test_a_verdict_on_anything_but_paired_arms_of_the_test_is_a_defect(spoil):
    rng = np.random.default_rng(0)
    with pytest.raises(JobError):
        verdict(*spoil(result(0.9, drawn(rng, 0.9), "test"), result(0.0, drawn(rng, 0.8), "test")))


def test_picking_the_best_of_four_and_confirming_it_afresh_seldom_helps_where_nothing_does():
    rng = np.random.default_rng(4)
    grid, helped = (0.0, 0.25, 0.5, 0.75, 0.9), 0
    for _ in range(300):
        hard = rng.normal(1.4, 1.0, 200)
        swept = [result(alpha, hard + rng.normal(0, 1, (5, 200)) > 0) for alpha in grid]
        hard = rng.normal(1.4, 1.0, 600)
        fresh = [result(alpha, hard + rng.normal(0, 1, (10, 600)) > 0, "test") for alpha in (choose(swept).candidate, 0.0)]
        helped += verdict(*fresh).word == "helped"
    assert helped / 300 <= 0.045


def test_few_seeds_warn_and_enough_are_silent():
    assert "no verdict" in few_seeds(1)
    assert "only large gains" in few_seeds(4)
    assert few_seeds(5) == few_seeds(10) == ""
