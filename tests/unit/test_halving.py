"""Early halving: which α get further seeds, and that nothing else changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.choosing import choose, interior_optimum
from job.errors import JobError
from job.halving import finalists, joined, rounds, survivors, trainings
from job.results import TrialResult

pytestmark = pytest.mark.unit


def result(alpha: float, correct_SN: np.ndarray, first: int = 0) -> TrialResult:
    n = len(correct_SN)
    seeds = tuple(range(first, first + n))
    return TrialResult(f"trial-{alpha}-{first}", alpha, alpha, 80, 0, 640, seeds, "val", correct_SN.astype(np.uint8),
                       (2.0,) * n, (0.2,) * n, (0.01,) * n, 1.5, 0.5)


def drawn(alpha: float, rate: float, seeds: int = 5, images: int = 200) -> TrialResult:
    return result(alpha, np.random.default_rng(round(1000 * alpha)).random((seeds, images)) < rate)


@given(st.integers(1, 40), st.booleans())
def test_the_rounds_hold_every_seed_once_in_order_and_the_first_has_at_least_two(seeds: int, halving: bool) -> None:
    its = rounds(range(seeds), halving)
    assert [seed for one in its for seed in one] == list(range(seeds))
    assert all(its)
    assert len(its[0]) >= min(2, seeds)
    assert halving or len(its) == 1


@given(st.integers(2, 12), st.integers(1, 20))
def test_halving_never_trains_more_and_without_it_every_alpha_has_every_seed(alphas: int, seeds: int) -> None:
    assert trainings(alphas, seeds, False) == alphas * seeds
    assert trainings(alphas, seeds, True) <= alphas * seeds
    assert trainings(alphas, seeds, True) >= 2 * seeds   # α = 0 and the best of the rest


def test_eleven_alphas_at_five_seeds_take_thirty_eight_trainings_instead_of_fifty_five() -> None:
    assert trainings(11, 5, False) == 55
    assert trainings(11, 5, True) == 11 * 2 + 6 * 2 + 4 * 1


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.randoms())
def test_those_that_stay_are_the_better_half_and_no_alpha_that_left_is_better(right: list[int], random) -> None:
    arms = [result(0.0, np.zeros((2, 20)))]
    arms += [result((at + 1) / 10, np.tile(np.arange(20) < count, (2, 1))) for at, count in enumerate(right)]
    random.shuffle(arms)
    stay = survivors(arms)
    assert stay[0] == 0.0
    assert len(stay) == 1 + -(-len(right) // 2)
    left = [count for at, count in enumerate(right) if (at + 1) / 10 not in stay]
    kept = [count for at, count in enumerate(right) if (at + 1) / 10 in stay]
    assert max(left, default=-1) <= min(kept)
    tied = [(at + 1) / 10 for at, count in enumerate(right) if count == min(kept)]
    assert [alpha for alpha in tied if alpha in stay] == tied[: sum(alpha in stay for alpha in tied)]   # ties to less salt


def test_by_recall_those_stay_that_are_right_on_the_images_that_count() -> None:
    weights = np.r_[np.zeros(90), np.full(10, 0.1)]
    common, rare = (np.tile(one, (2, 1)) for one in (np.arange(100) < 90, np.arange(100) >= 90))
    arms = [result(0.0, common), result(0.3, common), result(0.6, rare)]
    assert survivors(arms) == (0.0, 0.3)
    assert survivors(arms, weights, guard=1.0) == (0.0, 0.6)
    assert survivors(arms, weights, guard=0.02) == (0.0, 0.3)   # nobody would choose what loses 80 points of accuracy


def test_trials_that_are_not_alike_are_not_compared() -> None:
    with pytest.raises(JobError, match="not paired by seed"):
        survivors([drawn(0.0, 0.8, 2), drawn(0.5, 0.8, 3)])


def test_the_rounds_of_an_alpha_are_one_result_with_the_seconds_of_all() -> None:
    a, b = result(0.5, np.eye(2)), result(0.5, np.ones((1, 2)), first=2)
    both = joined([a, b])
    assert (both.seeds, both.seconds, both.load_s) == ((0, 1, 2), 3.0, 1.0)
    assert both.correct_SN.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert len(both.first_loss_S) == len(both.late_gain_S) == len(both.train_loss_S) == 3
    assert joined([a]) is a


def test_the_candidate_has_all_seeds_and_a_neighbour_that_left_is_compared_on_its_own() -> None:
    full = [drawn(0.0, 0.7), drawn(0.5, 0.95), drawn(0.9, 0.7)]
    lucky = drawn(0.75, 1.0, seeds=2)   # perfect, on two seeds
    assert choose(finalists([*full, lucky])).candidate == 0.5
    for rate, told in ((0.5, True), (0.93, False)):
        assert interior_optimum([full[0], drawn(0.25, rate, seeds=2), full[1], full[2]], 0.5) is told
