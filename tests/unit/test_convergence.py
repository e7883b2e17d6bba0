"""The warning that α = 0 was still learning, for then whatever is larger looks better."""

import numpy as np
import pytest

from job.choosing import convergence
from job.errors import JobError
from job.results import TrialResult

pytestmark = pytest.mark.unit


def trained(first_loss_S, train_loss_S, late_gain_S, alpha=0.0):
    seeds = len(train_loss_S)
    return TrialResult(
        f"trial-{alpha}", alpha, alpha, 80, 0, 19_200, tuple(range(seeds)), "val", np.ones((seeds, 20), np.uint8),
        first_loss_S, train_loss_S, late_gain_S, 1.0,
    )


def test_a_loss_that_still_falls_warns_and_names_the_steps_it_would_take():
    still = trained((2.0, 2.0, 2.0), (0.4, 0.5, 0.3), (0.18, 0.3, 0.02))
    said = convergence(still, 300)
    assert "18%" in said
    assert "SALTWORKS_TRAIN__STEPS=910" in said   # from .4 to .05 as a power of the steps, by 18 % over the last tenth: 3 times as many
    assert "SALTWORKS_TRAIN__LEARNING_RATE" not in said
    assert "set SALTWORKS_TRAIN__EPOCHS=60, or unset it" in convergence(still, 300, epochs=20)   # where steps would change nothing


def test_a_loss_that_is_flat_or_has_nothing_left_to_fall_is_silent():
    assert convergence(trained((2.3, 2.3), (0.2, 0.2), (0.01, 0.01)), 300) == ""
    assert convergence(trained((2.3, 2.3), (0.02, 0.01), (0.5, 0.5)), 300) == ""
    assert convergence(trained((0.06,), (0.04,), (0.1,)), 300) == ""   # above half of the first, but nothing is left
    assert convergence(trained((2.3,), (0.0,), (1.0,)), 300) == ""


def test_a_loss_that_never_left_chance_level_warns_though_it_is_flat_and_names_the_learning_rate():
    said = convergence(trained((2.303,), (2.288,), (0.0014,)), 300)   # the digits at a learning rate of 1e-5; ln 10 = 2.303
    assert "learnt nothing" in said
    assert "2.3 to 2.29" in said
    assert "SALTWORKS_TRAIN__LEARNING_RATE" in said
    assert "SALTWORKS_TRAIN__STEPS=3000" in said   # ten times as many is the most that is ever named


def test_a_training_that_stopped_after_its_first_steps_warns_though_its_last_fall_is_a_small_share_of_the_loss():
    said = convergence(trained((2.303,), (2.07,), (0.018,)), 20)   # the digits after 20 steps at 1e-3
    assert "not converged" in said
    assert "SALTWORKS_TRAIN__STEPS=200" in said


def test_a_loss_that_rose_has_learnt_nothing():
    assert "learnt nothing" in convergence(trained((2.3,), (2.4,), (-0.01,)), 300)


def test_a_late_fall_counts_against_all_that_was_learnt():
    # the same 9 % of the loss: 0.08 of 1.2 learnt is no plateau, 0.03 of 2 learnt is one
    assert "not converged" in convergence(trained((2.0,), (0.8,), (0.09,)), 300)
    assert convergence(trained((2.3,), (0.3,), (0.09,)), 300) == ""


def test_a_loss_that_is_no_number_is_not_taken_for_convergence():
    nan = float("nan")
    assert "diverged" in convergence(trained((2.3,), (nan,), (nan,)), 300)
    assert "diverged" in convergence(trained((nan,), (nan,), (0.0,)), 300)


def test_convergence_is_asked_of_real_only():
    with pytest.raises(JobError):
        convergence(trained((2.3,), (0.2,), (0.01,), alpha=0.5), 300)
