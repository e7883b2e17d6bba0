"""The interval over seeds and images: its formula, its symmetries, and how often it is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import t

from job.errors import JobError
from job.statistics import (
    HELPED,
    NO_VERDICT,
    UNDECIDED,
    Squares,
    by_class,
    gains,
    holm,
    interval,
    smallest_detectable,
    squares,
    word,
    would_decide,
)

pytestmark = pytest.mark.unit


def law(*strategies):
    """``given`` without a deadline: on a busy machine the first example pays for imports."""
    return lambda test: settings(deadline=None)(given(*strategies)(test))


@st.composite
def two_arms(draw, least_images=2, most_images=25):
    shape = (draw(st.integers(2, 6)), draw(st.integers(least_images, most_images)))
    bits = arrays(np.uint8, shape, elements=st.integers(0, 1))
    return draw(bits), draw(bits)


def simulated(rng, seeds, images, *, gain=0.0, seed_sd=0.1, image_sd=1.0, arm_sd=0.5, base=1.2):
    """Two arms of a probit model with effects of the seed, of the image, and of the image in one arm: uint8 (S, N)."""
    image = image_sd * rng.standard_normal(images)
    arms = []
    for shift in (gain, 0.0):
        of_seed = seed_sd * rng.standard_normal((seeds, 1))
        of_image = image + arm_sd * rng.standard_normal(images)
        arms.append((base + shift + of_seed + of_image + rng.standard_normal((seeds, images)) > 0).astype(np.uint8))
    return arms


@law(two_arms())
def test_the_interval_is_the_formula_as_it_is_written(arms):
    a, b = arms
    difference = a.astype(float) - b
    s, n = difference.shape
    mean, of_seed, of_image = difference.mean(), difference.mean(axis=1), difference.mean(axis=0)
    between_seeds = n * ((of_seed - mean) ** 2).sum() / (s - 1)
    between_images = s * ((of_image - mean) ** 2).sum() / (n - 1)
    rest = ((difference - of_seed[:, None] - of_image + mean) ** 2).sum() / ((s - 1) * (n - 1))
    variance = max(between_seeds, between_images, between_seeds + between_images - rest) / (s * n)
    cap = 1.5 if s == 2 else 1e4
    df = min(cap, (s - 1) * (variance * s * n / between_seeds) ** 2) if between_seeds > 1e-12 else cap
    half = t.ppf(0.975, df) * variance**0.5
    found = interval(a, b)
    assert (found.n_seeds, found.n_images) == (s, n)
    assert [found.mean, found.low, found.high] == pytest.approx([mean, mean - half, mean + half], abs=1e-9)
    assert found.df == pytest.approx(df, rel=1e-6)
    assert smallest_detectable(found) == pytest.approx((t.ppf(0.975, df) + t.ppf(0.8, df)) * variance**0.5, abs=1e-9)


@law(two_arms())
def test_swapping_the_arms_mirrors_the_interval(arms):
    one, other = interval(*arms), interval(*reversed(arms))
    assert (other.mean, other.low, other.high) == (-one.mean, -one.high, -one.low)
    assert (other.standard_error, other.df) == (one.standard_error, one.df)


@law(two_arms(), st.randoms(use_true_random=False))
def test_the_order_of_seeds_and_images_changes_not_one_bit(arms, random):
    a, b = arms
    rows, columns = list(range(a.shape[0])), list(range(a.shape[1]))
    random.shuffle(rows)
    random.shuffle(columns)
    assert interval(a[rows][:, columns], b[rows][:, columns]) == interval(a, b)


@law(arrays(np.uint8, (4, 30), elements=st.integers(0, 1)))
def test_identical_predictions_have_no_variance_and_no_detectable_difference(correct_SN):
    found = interval(correct_SN, correct_SN.copy())
    assert (found.mean, found.low, found.high, found.standard_error) == (0.0, 0.0, 0.0, 0.0)
    assert word(found) == UNDECIDED
    assert "nothing to decide" in would_decide(correct_SN, correct_SN)


@law(two_arms())
def test_seeds_never_count_for_less_than_a_t_test_over_them_would_say(arms):
    a, b = arms
    per_seed = a.mean(axis=1) - b.mean(axis=1)
    found = interval(a, b)
    assert found.standard_error >= per_seed.std(ddof=1) / len(per_seed) ** 0.5 - 1e-12
    assert found.df >= len(per_seed) - 1


@pytest.mark.parametrize("shape", [(1, 30), (5, 1), (0, 30), (30,)])
def test_an_interval_without_two_seeds_and_two_images_is_a_defect(shape):
    with pytest.raises(JobError, match="cannot be compared"):
        interval(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))


def test_arms_of_different_shapes_are_a_defect():
    with pytest.raises(JobError, match="cannot be compared"):
        interval(np.zeros((3, 20), np.uint8), np.zeros((3, 21), np.uint8))


@pytest.mark.parametrize(("seeds", "images", "seed_sd", "arm_sd"), [
    (5, 200, 0.1, 0.5), (10, 600, 0.15, 0.3), (5, 1000, 0.3, 0.2), (3, 300, 0.05, 0.0),
])
def test_without_an_effect_it_seldom_says_helped_and_covers_zero(seeds, images, seed_sd, arm_sd):
    rng = np.random.default_rng([seeds, images])
    found = [interval(*simulated(rng, seeds, images, seed_sd=seed_sd, arm_sd=arm_sd)) for _ in range(600)]
    helped = np.mean([one.low > 0 for one in found])
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert helped <= 0.045
    assert 0.93 <= covered <= 0.99


@pytest.mark.parametrize(("gain", "found_in_most_runs"), [(0.16, False), (0.25, True)])
def test_an_effect_is_covered_and_found_in_most_runs_only_above_what_is_called_detectable(gain, found_in_most_runs):
    rng = np.random.default_rng(7)
    truth = np.mean([np.subtract(*simulated(rng, 20, 20_000, gain=gain), dtype=float).mean() for _ in range(5)])
    found = [interval(*simulated(rng, 10, 600, gain=gain)) for _ in range(400)]
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.985
    assert (np.mean([one.low > 0 for one in found]) >= 0.8) == found_in_most_runs
    assert (truth > np.median([smallest_detectable(one) for one in found])) == found_in_most_runs


@law(two_arms(10, 60))
def test_the_extrapolation_starts_at_the_variance_that_was_found_and_falls_with_more_seeds(arms):
    found = squares(*arms)
    at_more = found.detectable(np.arange(found.n_seeds, 60), np.float64(found.n_images))
    assert (np.diff(at_more) <= 1e-9).all()
    if found.between_seeds >= found.rest:   # else the seeds' component is cut at 0, and with it the degrees of freedom
        assert at_more[0] == pytest.approx(smallest_detectable(interval(*arms)), abs=1e-9)


def test_an_open_verdict_names_seeds_and_images_that_would_close_it():
    rng = np.random.default_rng(3)
    a, b = simulated(rng, 5, 400, gain=0.06, seed_sd=0.15, arm_sd=0.05)
    said = would_decide(a, b)
    seeds = int(said.split("about ")[1].split()[0])
    found = squares(a, b)
    more, one_less = found.detectable(np.array([seeds, seeds - 1]), np.float64(400))
    assert more <= abs(found.mean) < one_less
    assert "test images" in said


@law(two_arms(10, 60))
def test_what_would_decide_is_the_first_number_at_which_the_gain_is_detectable(arms):
    found = squares(*arms)
    seeds, images = np.arange(found.n_seeds + 1, 300), found.n_images * 1.1 ** np.arange(1, 80)
    for more in ((seeds, np.float64(found.n_images)), (np.float64(found.n_seeds), images)):
        enough = np.flatnonzero(found.detectable(*more) <= abs(found.mean))
        assert found.enough(*more) == (enough[0] if enough.size else None)


def test_where_the_images_are_the_limit_no_number_of_seeds_is_promised():
    image_says = np.zeros(200, np.uint8)
    image_says[:9] = 1
    a, b = np.tile(image_says, (5, 1)), np.tile(image_says[::-1], (5, 1))
    b[:, -1] = 0   # one image of difference, the same under every seed
    said = would_decide(a, b)
    assert "no number of confirm seeds alone" in said
    assert "test images would decide" in said


def test_where_the_seeds_are_the_limit_no_number_of_images_is_promised():
    found = Squares(mean=0.01, between_seeds=400.0, between_images=0.3, rest=0.3, n_seeds=4, n_images=1000)
    assert (found.detectable(np.float64(4), 1000 * 2.0 ** np.arange(20)) > 0.01).all()


@law(st.lists(st.floats(0, 1), max_size=12))
def test_holm_never_lowers_a_p_value_keeps_their_order_and_is_at_most_bonferroni(p_values):
    adjusted = holm(p_values)
    assert len(adjusted) == len(p_values)
    for p, one in zip(p_values, adjusted, strict=True):
        assert p <= one <= min(1.0, len(p_values) * p)
    in_order = [adjusted[at] for at in np.argsort(p_values, kind="stable")]
    assert in_order == sorted(in_order)


def test_holm_is_the_textbook_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))


def test_a_single_comparison_needs_no_correction():
    rng = np.random.default_rng(1)
    for gain in np.linspace(-0.6, 0.6, 60):
        a, b = simulated(rng, 5, 300, gain=gain)
        (one,) = gains([("all", a, b)])
        assert one.word == word(interval(a, b))
        assert (one.p_holm < 0.05) == (one.low > 0 or one.high < 0)


def test_classes_are_judged_on_their_own_images_and_a_tiny_one_gets_no_verdict():
    rng = np.random.default_rng(2)
    a, b = simulated(rng, 6, 330)
    groups = np.repeat([4, 0, 2], [160, 160, 10])
    groups[-9:] = 7   # nine images of class 7
    a[:, groups == 4], b[:, groups == 4] = 1, rng.integers(0, 2, (6, 160))
    by_group = {one.name: one for one in by_class(a, b, groups)}
    assert list(by_group) == ["0", "2", "4", "7"]
    assert by_group["4"].word == HELPED
    assert by_group["4"].mean == interval(a[:, groups == 4], b[:, groups == 4]).mean
    assert by_group["7"].word == by_group["2"].word == NO_VERDICT
    assert (by_group["7"].low, by_group["7"].high, by_group["7"].n_images) == (-1.0, 1.0, 9)
    assert by_class(a, b, groups, names=[f"class {at}" for at in range(8)])[0].name == "class 0"


def test_among_ten_classes_without_an_effect_one_is_seldom_called_helped_or_hurt():
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(10), 60)
    false = [any(one.word != UNDECIDED for one in by_class(*simulated(rng, 10, 600), groups)) for _ in range(200)]
    assert np.mean(false) <= 0.08


@law(two_arms())
def test_two_seeds_have_two_degrees_of_freedom_at_most_and_more_seeds_as_many_as_they_show(arms):
    a, b = arms
    assert interval(a[:2], b[:2]).df <= 2
    assert interval(np.ones((3, 20), np.uint8), np.zeros((3, 20), np.uint8)).df > 100
