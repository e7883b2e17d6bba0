"""Laws of mixing_sweep.png: no text covers another, every number of it is the report's, and nothing far away squeezes the rest."""

import io
from collections.abc import Callable
from functools import cache
from itertools import combinations

import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from job.report import words
from job.report.figure import draw, mixing_sweep
from job.report.model import Report
from tests.unit.report_sample import EFFECTS, SAMPLES, beside, crowded, helped, hurt, no_verdict, six, undecided

pytestmark = pytest.mark.unit

each = pytest.mark.parametrize("name", SAMPLES)
CURVES = ("augmented_mix", "placebo", "unfiltered")


@cache
def drawn(name: str) -> tuple[Report, Figure]:
    """A sample and its figure."""
    made = SAMPLES[name]()
    return made, draw(made)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text)]


def refuse_collisions(figure: Figure) -> None:
    figure.draw_without_rendering()
    extents = [(text.get_text(), text.get_window_extent()) for text in figure.findobj(Text)
               if text.get_visible() and text.get_text().strip()]
    for (one, a), (other, b) in combinations(extents, 2):
        assert not a.overlaps(b), f"{one!r} covers {other!r}"
    for words_, box in extents:
        assert min(box.x0, box.y0) >= 0, words_
        assert (box.x1 <= 1600, box.y1 <= 900) == (True, True), words_


def test_the_figure_is_a_png_of_1600_by_900_without_a_clock_in_it() -> None:
    image = Image.open(io.BytesIO(mixing_sweep(helped())))
    assert (image.format, image.size) == ("PNG", (1600, 900))
    assert not image.text


def test_the_same_report_gives_the_same_bytes() -> None:
    assert mixing_sweep(six()) == mixing_sweep(six())


@each
def test_no_text_of_the_figure_covers_another_or_leaves_the_picture(name: str) -> None:
    refuse_collisions(drawn(name)[1])


@pytest.mark.parametrize("make", [undecided, crowded], ids=["undecided", "crowded"])
def test_texts_keep_apart_wherever_the_candidate_lies(make: Callable[[], Report]) -> None:
    made = make()
    for arm in made.arms[1:]:
        refuse_collisions(draw(made.model_copy(update={"candidate": arm.alpha})))


@pytest.mark.parametrize("make", [helped, hurt, no_verdict, undecided, crowded], ids=lambda make: make.__name__)
@pytest.mark.parametrize("arms", [0, 2, 6])
def test_texts_keep_apart_however_many_arms_and_curves_there_are(make: Callable[[], Report], arms: int) -> None:
    made = make()
    tried = [arm.alpha for arm in made.arms[1:] if arm.n_real]
    refuse_collisions(draw(beside(made, tuple(EFFECTS)[:arms], dict.fromkeys(CURVES[: arms // 2], tried))))


@pytest.mark.parametrize("n", range(2, 12))
def test_texts_keep_apart_however_many_alphas_there_are(n: int) -> None:
    alphas = tuple(at / n for at in range(n))
    refuse_collisions(draw(helped(alphas=alphas, curve=tuple(0.895 + 0.05 * alpha for alpha in alphas))))


def test_texts_keep_apart_where_every_curve_ends_at_the_dashed_line() -> None:
    made = six()
    flat = [arm.model_copy(update={"val_accuracy": made.arms[0].val_accuracy}) for arm in made.arms[1:-1]]
    curves = [one.model_copy(update={"arms": flat}) for one in made.curves]
    refuse_collisions(draw(made.model_copy(update={"curves": curves})))


@each
def test_the_figure_names_the_verdict_and_alpha_star(name: str) -> None:
    made, figure = drawn(name)
    told = texts(figure)
    assert any(text.startswith(f"{words.HEADLINES[made.verdict]}: α* = {made.alpha_star:g}") for text in told)
    assert (f"candidate α = {made.candidate:g}" in told) == (made.verdict != "helped")
    assert any("not confirmed" in text or "not judged" in text or "worse on" in text for text in told) == (
        made.verdict != "helped")


@each
def test_the_bars_of_the_curve_are_the_paired_intervals_laid_on_real_images_alone(name: str) -> None:
    made, figure = drawn(name)
    base = made.arms[0].val_accuracy
    wanted = [value for arm in made.arms if arm.val_gain for value in (base + arm.val_gain.low, base + arm.val_gain.high)]
    bars = [y for one in figure.axes[0].containers if isinstance(one, ErrorbarContainer)
            for bar in one.lines[2] for _, y in bar.get_segments()[0]]
    assert bars == pytest.approx(wanted, abs=1e-9)
    assert any("not corrected" in text for text in texts(figure)) == bool(wanted)


@each
def test_every_alpha_has_a_bar_as_high_as_it_is_often_the_candidate(name: str) -> None:
    made, figure = drawn(name)
    heights = [one.get_height() for one in figure.axes[1].patches]
    assert sorted(heights) == pytest.approx(sorted(one.share for one in made.stability))


def test_without_shares_there_are_no_bars() -> None:
    figure = draw(helped().model_copy(update={"stability": []}))
    assert len(figure.axes) == 2
    refuse_collisions(figure)


@each
def test_every_arm_and_every_curve_is_named_where_it_stands(name: str) -> None:
    made, figure = drawn(name)
    told = texts(figure)
    for one in made.beside:
        assert f"{one.arm.replace('_', ' ')} {words.points(one.effect.mean, 1, signed=True)}" in told
    assert all(one.arm.replace("_", " ") in told for one in made.curves)
    assert ("no control arm was run beside it" in told) == (not any(one.control for one in made.beside))


def test_an_arm_is_said_to_be_exceeded_only_where_the_corrected_comparison_says_so() -> None:
    made, figure = drawn("six")
    told = texts(figure)
    assert sum(text.startswith("yes, ") for text in told) == sum(one.beyond_word == "helped" for one in made.beside)
    assert sum(text.startswith("not shown, ") for text in told) == sum(one.beyond_word == "no detectable difference" for one in made.beside)
    assert not [text for text in texts(drawn("no verdict")[1]) if text.startswith(("yes", "not shown", "no, worse"))]


def test_an_arm_far_away_leaves_the_axis_rather_than_squeezing_the_rest() -> None:
    made, figure = drawn("six")
    low, high = figure.axes[-1].get_xlim()
    assert min(100 * one.effect.mean for one in made.beside) < low
    assert high - low < 5 * 100 * made.gain


def test_a_long_name_is_cut_between_words_and_leaves_the_numbers_alone() -> None:
    told = texts(drawn("long")[1])
    assert any(text.endswith("… on 200 real validation images") for text in told)
    assert any("… by −4.2 points" in text for text in told)
