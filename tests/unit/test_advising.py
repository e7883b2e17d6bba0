"""What a pilot makes one expect: chances that add up, grounds that are told, and distances as they are defined."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from bench.advice import told
from bench.worlds import DIGITS, OTHERS, ROUGH, World
from job.advising import Pilot, advise, chances_of, coverage, posterior, reach, relative_distance
from job.mixing import takes_at
from job.records import Salting
from job.statistics import HELPED, HURT, UNDECIDED

pytestmark = pytest.mark.unit
PLAIN = Salting()


def pilot(real: float, mixed: float, half: float, images: int = 200, counts: tuple[int, ...] = (8,) * 10, **more: object) -> Pilot:
    """Answers that share the difficulty of their images, at these accuracies."""
    rng = np.random.default_rng(0)
    hard, noise = rng.permutation(np.linspace(0, 1, images)), rng.normal(0, 0.03, (3, images))
    one = {name: (hard + noise < rate).astype(np.uint8) for name, rate in (("real_SN", real), ("half_SN", half), ("mixed_SN", mixed))}
    facts = {"n_train": counts, "alpha": 0.5, "images": 80, "weights_N": None, "foreign": 0.02, "rejected": 0.0, "coverage": 0.6,
             "coverage_mixed": 0.8, "distance": 1.1}
    return Pilot(**one, **(facts | more))


@given(st.floats(-0.3, 0.3), st.floats(0, 0.1), st.floats(0.001, 0.1))
def test_the_chances_are_shares_of_one_and_a_larger_gain_makes_help_likelier(mean: float, sd: float, error: float) -> None:
    chances = chances_of(mean, sd, error, 2 * error, 9.0)
    assert sum(chances.values()) == pytest.approx(1)
    assert all(-1e-12 <= one <= 1 + 1e-12 for one in chances.values())
    assert chances_of(mean + 0.01, sd, error, 2 * error, 9.0)[HELPED] >= chances[HELPED] - 1e-12
    assert chances[HELPED] == pytest.approx(chances_of(-mean, sd, error, 2 * error, 9.0)[HURT])


def test_where_the_truth_is_known_to_be_nothing_help_and_hurt_have_the_tests_own_error() -> None:
    assert chances_of(0.0, 0.0, 0.01, 0.0196, 1e4) == {HELPED: pytest.approx(0.025, abs=1e-3), UNDECIDED: pytest.approx(0.95, abs=1e-3),
                                          HURT: pytest.approx(0.025, abs=1e-3)}


@given(st.floats(-0.2, 0.2), st.floats(0.001, 0.2), st.floats(0.02, 0.5))
def test_the_posterior_lies_between_nothing_and_the_pilot_and_is_surer_than_both(mean: float, error: float, spread: float) -> None:
    found, sd = posterior(mean, error, spread)
    assert min(0.0, mean) <= found <= max(0.0, mean)
    assert sd <= min(error, spread)


@pytest.mark.parametrize(("real", "mixed", "expected"), [(0.80, 0.92, HELPED), (0.98, 0.98, UNDECIDED), (0.95, 0.80, HURT)])
def test_the_advice_follows_a_clear_pilot_and_tells_its_grounds(real: float, mixed: float, expected: str) -> None:
    told = advise(pilot(real, mixed, real - 0.05), confirm_seeds=10, n_test=600)
    assert told.word == expected
    assert told.chance == max(dict(told.chances).values()) > 0.5
    assert told.level == pytest.approx(real, abs=0.05)
    text = "\n".join(told.why)
    for part in ("3 seeds × 200 images", "left to gain", "8 real training images per class: scarce", "the second half of them",
                 "cover 60 %", "1.1 times", "2 % of the pilot's images"):
        assert part in text


def test_a_pilot_that_gains_nothing_on_a_set_that_is_almost_solved_expects_nothing() -> None:
    chances = dict(advise(pilot(0.985, 0.985, 0.985, counts=(300, 300)), confirm_seeds=10, n_test=600).chances)
    assert chances[UNDECIDED] > 0.6
    assert max(chances, key=chances.__getitem__) == UNDECIDED


def test_few_validation_images_give_no_ground_for_anything_but_nothing() -> None:
    told = advise(pilot(0.8, 0.9, 0.7, images=6), confirm_seeds=10, n_test=600)
    assert told.word == UNDECIDED
    assert "[" not in told.why[0]


def test_labels_in_doubt_and_a_missing_extractor_are_told_or_left_out() -> None:
    blind = replace(pilot(0.8, 0.8, 0.7), foreign=0.4, coverage=None, coverage_mixed=None, distance=None)
    told = advise(blind, confirm_seeds=5, n_test=600)
    assert any("labels are in doubt" in one for one in told.why)
    assert not any("cover" in one or "times as far" in one for one in told.why)


def test_an_unbalanced_set_is_told_by_its_rarest_class() -> None:
    told = advise(pilot(0.9, 0.9, 0.9, counts=(400, 36)), confirm_seeds=5, n_test=600)
    assert any("36 to 400" in one and "one for 11" in one for one in told.why)


@given(st.integers(1, 300))
def test_the_pilot_reaches_every_alpha_that_a_unit_of_each_class_can_serve(unit: int) -> None:
    alphas, counts = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0), (8, 12)
    able = reach(alphas, counts, PLAIN, unit)
    assert able == tuple(sorted(able))
    for alpha in (0.25, 0.5, 0.75, 0.9):
        assert (alpha in able) == (max(takes_at(alpha, alphas, counts, PLAIN)) <= unit) or able == (0.25,)


def test_coverage_and_distance_are_those_of_their_definitions() -> None:
    rng = np.random.default_rng(3)
    real, by = rng.normal(size=(60, 4)), rng.normal(size=(25, 4))
    among = np.sort(cdist(real, real), axis=1)
    assert coverage(real_ND=real, by_MD=by, k=5) == pytest.approx(float((cdist(real, by).min(1) <= among[:, 5]).mean()))
    assert coverage(real_ND=real, by_MD=real, k=5) == 1.0
    assert coverage(real_ND=real, by_MD=by[:0], k=5) == 0.0
    assert np.isnan(coverage(real_ND=real[:5], by_MD=by, k=5))
    assert relative_distance(real_ND=real, synthetic_MD=real + 1e-9) == pytest.approx(0, abs=1e-5)
    assert relative_distance(real_ND=real, synthetic_MD=by) == pytest.approx(
        float(np.median(cdist(by, real).min(1)) / np.median(among[:, 1])))


@pytest.mark.parametrize("world", [DIGITS, ROUGH, *OTHERS], ids=lambda world: world.name)
def test_the_advice_is_hardly_surer_than_it_is_right_and_better_than_none(world: World) -> None:
    found = told(world, 450)
    right = np.array([one.word == one.came for one in found])
    sure = np.array([one.chance for one in found])
    assert sure.mean() <= right.mean() + 2 * right.std() / len(found) ** 0.5
    always = np.mean([one.came == UNDECIDED for one in found])   # who always says "nothing" is right where seeds drown everything
    assert right.mean() > always - 0.08
    if world.seed < 0.005:
        assert right.mean() > always + 0.03
