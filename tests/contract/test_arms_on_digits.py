"""The control arms and the embedded generator on the demo's real digits, with real trainings: what cannot help does not."""

from functools import cache

import pytest

from job import choosing
from job.real.digits import NAMES
from job.records import Salting
from job.results import TrialResult
from job.statistics import HELPED, HURT, UNDECIDED
from tests.contract.digits_trials import SCHEDULE, SWEEP_SEEDS, Trials, points, published, trials

pytestmark = [pytest.mark.contract, pytest.mark.timeout(600)]
GRID = (0.25, 0.5, 0.75, 0.9)   # the demo's between none and all


@cache
def demo(drawn_to: float = 0.0) -> Trials:
    """80 real digits to train on, 617 of the locked test; with pictures for α up to ``drawn_to``."""
    templates = {name: ("a photo of a {name}",) for name in NAMES}
    return trials(published(), (0.0, drawn_to or GRID[-1]), Salting(), templates if drawn_to else {})


@cache
def baseline() -> TrialResult:
    assert choosing.convergence(demo().trial(0.0, "val", SWEEP_SEEDS), SCHEDULE.steps) == ""
    return demo().confirm(0.0)


def test_copies_of_the_real_images_make_no_detectable_difference_at_any_alpha() -> None:
    """5 arms × 10 seeds × 617 images, in points over α = 0: copies −.4 [−1.1, .3], .1 [−.4, .6], .2 [−.4, .9], −.1 [−.7, .5] from
    α = .25 to .9; reweighted −.5 [−1.2, .3], which trains the balanced 80 in another order; Holm's p is 1 in all five.
    """
    others = [*(demo().confirm(alpha, "placebo") for alpha in GRID), demo().confirm(0.0, "reweighted")]
    found = choosing.controls(others[-2], baseline(), others)   # Holm over all of them
    print([(one.arm, one.alpha, points(one.effect), one.effect.p_holm) for one in found])
    assert [one.effect.word for one in found] == [UNDECIDED] * len(others)


def test_copies_of_which_30_percent_bear_wrong_labels_never_help() -> None:
    """From α = .25 to .9: −2.4 [−3.6, −1.1], −3.6 [−5.7, −1.5], −2.7 [−5.1, −.3], .3 [−1.9, 2.5] points, 10 seeds, 617 images."""
    found = [choosing.verdict(demo().confirm(alpha, "placebo", wrong=0.3), baseline()) for alpha in GRID]
    print([(alpha, one.word, points(one.gain)) for alpha, one in zip(GRID, found, strict=True)])
    assert {one.word for one in found} <= {HURT, UNDECIDED}


def test_the_embedded_generator_helps_and_with_30_percent_wrong_labels_it_does_not() -> None:
    """At α = .75: 5.8 [4.2, 7.3] points, with wrong labels .3 [−2.0, 2.5]; 10 seeds, 617 images.

    The demo itself (tests/flow/test_demo.py) goes on to α = .9 and trains at 16 px: 9.0 [6.9, 11.1].
    """
    right, wrong = (choosing.verdict(demo(0.75).confirm(0.75, wrong=share), baseline()) for share in (0.0, 0.3))
    print(points(right.gain), "with wrong labels", points(wrong.gain))
    assert (right.word, right.alpha_star) == (HELPED, 0.75)
    assert wrong.word in (HURT, UNDECIDED)
