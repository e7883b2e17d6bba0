"""How often the whole rule is right, by thousands of made-up runs: each sentence of docs/statistics.md that promises a share.

Limits hold beyond three Monte Carlo standard errors. Simpler rules judge the same runs and break the same limits: a limit
that nothing breaks would prove nothing.
"""

from functools import cache

import numpy as np
import pytest

from bench import worlds
from bench.worlds import DIGITS, OTHERS, ROUGH
from job import choosing, statistics
from job.report.words import verdict_paragraph
from job.statistics import HELPED, HURT, NO_VERDICT, UNDECIDED

pytestmark = pytest.mark.unit

CELLS = {   # world, truth, confirm seeds, test images, repetitions
    "digits, no effect": (DIGITS, "flat", 5, 600, 3000),
    "rough, no effect": (ROUGH, "flat", 5, 600, 3000),
    "digits, +3 from 10 seeds": (DIGITS, "all +3", 10, 600, 1200),
    "digits, +3 from 1,000 images": (DIGITS, "all +3", 5, 1000, 1200),
    "rough, +3": (ROUGH, "all +3", 5, 600, 1200),
    "digits, a peak": (DIGITS, "peak of +3", 5, 600, 1200),
}


@cache
def runs(cell):
    world, truth, seeds, images, repetitions = CELLS[cell]
    return worlds.whole_rule(world, truth, seeds, images, repetitions, seed=list(CELLS).index(cell))


def share(found):
    """Mean of truths, and its standard error: of as many tosses of a coin at the limits that matter here (.05 or .95)."""
    return float(np.mean(found)), (0.05 * 0.95 / len(found)) ** 0.5


@pytest.mark.parametrize("cell", ["digits, no effect", "rough, no effect"])
@pytest.mark.parametrize("word", [HELPED, HURT])
def test_without_an_effect_it_says_helped_or_hurt_in_at_most_five_of_a_hundred_runs(cell, word):
    false, error = share([one.verdict.word == word for one in runs(cell)])
    assert false + 3 * error <= 0.05
    assert false > 0    # a rule that never says so would pass, too


@pytest.mark.parametrize("cell", CELLS)
def test_the_interval_covers_the_gain_of_the_candidate_in_93_to_98_of_a_hundred_runs(cell):
    hits, error = share([one.covered for one in runs(cell)])
    assert 0.93 - 3 * error <= hits <= 0.98 + 3 * error


def test_over_all_runs_together_the_interval_covers_within_those_limits_with_nothing_to_spare():
    hits, error = share([one.covered for cell in CELLS for one in runs(cell)])
    assert hits - 3 * error >= 0.93
    assert hits + 3 * error <= 0.98


@pytest.mark.parametrize("cell", CELLS)
def test_the_reported_gain_has_no_bias_though_its_candidate_was_the_best_of_five(cell):
    errors = np.array([one.error for one in runs(cell)])
    assert abs(errors.mean()) <= 3.3 * errors.std() / len(errors) ** 0.5


@pytest.mark.parametrize("cell", ["digits, +3 from 10 seeds", "digits, +3 from 1,000 images"])
def test_three_points_are_found_in_80_of_a_hundred_runs_from_ten_seeds_or_a_thousand_images(cell):
    found, error = share([one.verdict.word == HELPED and one.verdict.alpha_star > 0 for one in runs(cell)])
    assert found - 2 * error >= 0.80
    assert np.median([one.verdict.smallest_detectable for one in runs(cell)]) < 0.03


def test_where_three_points_are_mostly_missed_each_open_verdict_prints_a_larger_detectable_effect():
    found = runs("rough, +3")
    assert np.mean([one.verdict.word == HELPED for one in found]) < 0.5
    open_ends = [one.verdict for one in found if one.verdict.word == UNDECIDED]
    assert np.median([one.smallest_detectable for one in open_ends]) > 0.03
    for one in open_ends:
        assert one.smallest_detectable > abs(one.gain.mean)
        said = verdict_paragraph(word=one.word, candidate=0.5, gain=one.gain, baseline_accuracy=0.6, candidate_accuracy=0.63,
                                 smallest_detectable=one.smallest_detectable, would_decide=one.would_decide, score_name="accuracy")
        assert f"{100 * one.smallest_detectable:.1f} points" in said


@pytest.mark.parametrize(("world", "seeds", "least"), [(DIGITS, 5, 0.75), (ROUGH, 10, 0.72), (ROUGH, 5, 0.66)])
def test_an_effect_of_the_size_that_is_called_detectable_is_found_in_about_80_of_a_hundred_tests(world, seeds, least):
    effect = 0.03
    for pilot in range(2):   # what is detectable depends a little on what is there
        found = worlds.intervals(world, effect, seeds, 600, 300, seed=pilot)
        effect = float(np.median([statistics.smallest_detectable(one) for one in found]))
    found = worlds.intervals(world, effect, seeds, 600, 1000, seed=2)
    # a variance estimated from few seeds is mostly too small, and so is the effect that it calls detectable
    assert least <= np.mean([one.low > 0 for one in found]) <= 0.84


@pytest.mark.parametrize(("seeds", "images"), [(5, 200), (10, 600)])
@pytest.mark.parametrize("world", OTHERS, ids=lambda world: world.name)
def test_in_worlds_between_and_beyond_it_covers_no_less_and_is_seldom_wrong(world, seeds, images):
    found = worlds.intervals(world, 0.0, seeds, images, 1000)
    hits, error = share([one.low <= 0 <= one.high for one in found])
    assert 0.93 - 3 * error <= hits
    assert max(np.mean([one.low > 0 for one in found]), np.mean([one.high < 0 for one in found])) <= 0.05
    if world.name != "twins":    # arms that differ by noise alone: V is the largest of three guesses of one number, and too large
        assert hits <= 0.98 + 3 * error


@pytest.mark.parametrize(("seeds", "least"), [(2, 0.925), (3, 0.92), (4, 0.935), (5, 0.94), (10, 0.947), (20, 0.949)])
def test_no_mixture_of_variances_makes_it_cover_less_where_images_are_many(seeds, least):
    assert worlds.worst_coverage(seeds, cells=200) >= least


TRUTHS = ("flat", "rising to +3", "falling to −3", "up, then flat", "a step of +5", "all +3", "all −3")


@pytest.mark.parametrize("world", [DIGITS, ROUGH], ids=lambda world: world.name)
@pytest.mark.parametrize("truth", TRUTHS)
def test_an_interior_optimum_is_claimed_in_at_most_five_of_a_hundred_sweeps_of_a_flat_or_monotone_truth(world, truth):
    claimed = np.mean([swept.interior for swept, _ in worlds.sweeps(world, truth, 800, seed=TRUTHS.index(truth))])
    assert claimed <= 0.05


def test_a_clear_peak_is_called_an_interior_optimum_in_most_sweeps():
    assert np.mean([swept.interior for swept, _ in worlds.sweeps(DIGITS, "peak of +8", 200)]) > 0.8


def test_fewer_than_five_confirm_seeds_warn_and_one_gives_no_verdict_whatever_the_truth():
    assert all(choosing.few_seeds(seeds) for seeds in range(1, 5))
    assert not choosing.few_seeds(5)
    for truth in ("flat", "peak of +8"):
        assert {one.verdict.word for one in worlds.whole_rule(DIGITS, truth, 1, 600, 30)} == {NO_VERDICT}


@pytest.mark.parametrize("count", [2, 6])
def test_of_several_arms_without_an_effect_any_is_called_helped_or_hurt_or_exceeded_in_at_most_five_of_a_hundred_runs(count):
    named, beyond_any, _ = worlds.families(DIGITS, 0.0, 0.0, count, 5, 300, 600)
    assert named <= 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5
    assert beyond_any <= 0.05


def test_a_gain_that_the_control_arms_have_too_is_seldom_said_to_go_beyond_them():
    named, beyond_any, beyond_all = worlds.families(DIGITS, 0.03, 0.03, 2, 10, 600, 500)
    assert named > 0.8    # the arms do gain
    assert beyond_all <= beyond_any <= 0.05
    assert worlds.families(DIGITS, 0.06, 0.0, 2, 10, 600, 100)[2] > 0.8    # and one that they lack is seen


def test_a_rare_class_of_36_test_images_is_judged_by_an_interval_that_covers():
    for recall in (False, True):
        hits, helped = worlds.weighted_coverage(36, 0.0, recall, 5, 1000)
        assert 0.93 - 3 * (0.05 * 0.95 / 1000) ** 0.5 <= hits <= 0.98 + 3 * (0.02 * 0.98 / 1000) ** 0.5
        assert helped <= 0.05


# What follows are rules that are simpler, and wrong by the very limits above.

def test_intervals_over_seeds_alone_or_images_alone_cover_far_too_little():
    over_seeds = worlds.simpler(runs("digits, no effect"))["over seeds"]
    over_images = worlds.simpler(runs("rough, no effect"))["over images"]
    for hits, error in (share(over_seeds), share(over_images)):
        assert hits < 0.93 - 10 * error


def test_an_image_test_in_a_world_that_hangs_on_its_seeds_says_helped_without_an_effect():
    false = []
    for one in runs("rough, no effect"):
        of = statistics.squares(*one.pair)
        false.append(of.mean > 1.96 * (of.between_images / (of.n_seeds * of.n_images)) ** 0.5)
    assert np.mean(false) > 0.1


@pytest.mark.parametrize("cell", ["digits, no effect", "rough, no effect"])
def test_the_gain_on_validation_that_chose_the_candidate_is_too_large(cell):
    excess = worlds.simpler(runs(cell))["validation excess"]
    assert excess.mean() > 20 * excess.std() / len(excess) ** 0.5


def test_the_best_single_seed_says_helped_in_most_runs_without_any_effect():
    assert worlds.simpler(runs("digits, no effect"))["lab helped"].mean() > 0.5


def test_by_point_estimates_most_flat_truths_would_have_an_interior_optimum():
    assert np.mean([one.swept.pointed for one in runs("digits, no effect")]) > 0.5
