"""Laws of the report's words: an interval never hides its side of zero, a number never looks like another, a terminal is wide enough."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.report import words
from job.report.model import Gain, Report
from tests.unit.report_sample import SAMPLES, helped, hurt, identical, no_verdict, undecided

pytestmark = pytest.mark.unit

each = pytest.mark.parametrize("made", [make() for make in SAMPLES.values()], ids=list(SAMPLES))


@each
def test_every_verdict_is_told_in_words_with_its_condition(made: Report) -> None:
    assert made.sentence.startswith(words.HEADLINES[made.verdict])
    assert "one real training set" in made.sentence
    assert f"{made.gain_detail.n_images} locked real test images" in made.sentence
    assert "\n" not in made.sentence


def test_the_paragraph_tells_gain_interval_and_accuracies() -> None:
    assert ("training with 90 % synthetic images raised accuracy by 8.9 points [6.6, 11.1] over real images alone (0.895 → 0.984)"
            in helped().sentence)
    assert "lowered accuracy by 4.2 points [2.1, 6.3] against" in hurt().sentence
    assert "moved accuracy by +0.4 points [−1.1, +1.9]" in undecided().sentence
    assert "A true effect of 2.1 points" in undecided().sentence
    assert "For a gain of +0.4 points about 150 confirm seeds would decide; about 9,400 test images" in undecided().sentence
    assert "no interval" in no_verdict().sentence
    assert "A true effect" not in identical().sentence


def test_a_gain_whose_help_is_withheld_is_not_said_to_hold_zero_or_to_lie_unseen() -> None:
    gain = Gain(mean=0.82, low=0.72, high=0.92, standard_error=0.05, n_images=360, n_seeds=10)
    why = "the objective gained +82 points, and accuracy fell by 11, more than the 2 that SALTWORKS_SWEEP__GUARD allows"
    said = words.verdict_paragraph(
        word="no detectable difference", candidate=0.5, gain=gain, baseline_accuracy=0.1, candidate_accuracy=0.92,
        smallest_detectable=0.139, would_decide=why, score_name="recall")
    assert "recall by +82.0 points [+72.0, +92.0] against real images alone (0.100 → 0.920)." in said
    assert "accuracy fell by 11" in said
    assert "zero lies" not in said
    assert "unseen" not in said


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_an_interval_in_words_never_hides_on_which_side_of_zero_it_lies(a: float, b: float) -> None:
    low, high = sorted((a, b))
    gain = Gain(mean=(low + high) / 2, low=low, high=high, standard_error=0, n_images=1, n_seeds=1)
    told = [float(part.replace("−", "-")) for part in words.bounds(gain, signed=True).strip("[]").split(", ")]
    for bound, text in zip((low, high), told, strict=True):
        assert abs(100 * bound) < 0.001 or low == high or (text > 0) == (bound > 0)
        assert abs(text - 100 * bound) <= 0.051


@given(st.floats(-1, 1), st.integers(0, 3), st.booleans())
def test_points_carry_a_true_minus_and_zero_has_no_sign(value: float, places: int, signed: bool) -> None:
    text = words.points(value, places, signed=signed)
    assert re.fullmatch(r"[+−]?\d+(\.\d+)?", text)
    assert float(text.replace("−", "-")) == pytest.approx(100 * value, abs=0.51 * 10**-places)
    assert float(text.replace("−", "-")) or text[0].isdigit()
    assert signed or text[0] != "+"


@pytest.mark.parametrize(("seconds", "told"), [
    (0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (192.4, "3 min 12 s"),
    (3599.6, "1 h 00 min"), (7800, "2 h 10 min"), (272_000, "3 d 4 h"),
])
def test_a_duration_is_told_as_a_person_would(seconds: float, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(("cost", "told"), [(0, "0.00"), (1234.5, "1,234.50"), (0.0731, "0.073"), (0.00000312, "3e-06")])
def test_a_small_cost_does_not_look_free(cost: float, told: str) -> None:
    assert words.money(cost) == told


@each
def test_the_summary_fits_a_terminal_and_holds_verdict_place_and_time(made: Report) -> None:
    where = "s3://bucket/" + "deep/" * 30
    lines = words.summary_lines(made, where).splitlines()
    assert all(len(line) <= words.WIDTH for line in lines if where not in line)
    text = "\n".join(lines)
    assert made.verdict in lines[0]
    assert where in text
    assert all(one.room in text for one in made.spent)
    assert (words.NO_PRICE in text) == (made.cost is None)
