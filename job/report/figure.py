"""``mixing_sweep.png``: what validation said of every α, and what the locked test made of the candidate.

Drawn with ``matplotlib.figure.Figure`` alone: no pyplot, so no global state and no window system. The colours are those
of Okabe and Ito, which stay apart for colour-blind eyes; every mark differs in shape as well.
"""

import io
from collections.abc import Iterable, Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator

from job.report.model import Arm, Report
from job.report.words import HEADLINES, bounds, decimals, points, seeds

WIDE, HIGH, DPI = 16, 9, 100
INK, SOFT, RULE, BAND = "#1d2329", "#59636e", "#c3c9cf", "#e9ecef"
CURVE = "#0072b2"
COLOURS = {"helped": "#00795a", "hurt": "#c24e00"}   # Okabe and Ito's green and vermilion, darkened for text on white
FONT = "DejaVu Sans"                                  # comes with matplotlib: the same picture everywhere
LEFT, RIGHT, TOP, BOTTOM = 0.062, 0.665, 0.755, 0.235   # of the curve
ROWS = 2                                              # of labels below the curve
LABELS_AT = (0.93, 0.995)                             # of marks, in the strip above the curve: share of its height
NOT_TAKEN = {"hurt": "worse on the locked test", "no verdict": "not judged", "no detectable difference": "not confirmed"}


def mixing_sweep(report: Report) -> bytes:
    """The figure as PNG, 1600×900 px; the same report gives the same bytes under the same matplotlib."""
    out = io.BytesIO()
    draw(report).savefig(out, format="png", dpi=DPI, metadata={"Software": None})
    return out.getvalue()


def draw(report: Report) -> Figure:
    """The figure before it becomes pixels; tests look for texts that overlap."""
    figure = Figure(figsize=(WIDE, HIGH), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    colour = COLOURS.get(report.verdict, SOFT)
    _headline(figure, report, colour)
    _curve(figure, report, colour)
    _gain(figure, report, colour)
    _footer(figure, report)
    return figure


def _headline(figure: Figure, report: Report, colour: str) -> None:
    gain = report.gain_detail
    star = f"α* = {report.alpha_star:g}" + ("" if report.alpha_star else ", real images alone")
    _text(figure, 0.03, 0.925, f"{HEADLINES[report.verdict]}: {star}", 25, 0.94, weight="bold")
    interval = "no interval" if report.verdict == "no verdict" else f"95 % interval {bounds(gain, signed=True)}"
    moved = points(gain.mean, decimals(gain), signed=True)
    _text(figure, 0.03, 0.875,
          f"On {gain.n_images:,} locked real test images and {seeds(gain.n_seeds, 'fresh')}, α = "
          f"{report.candidate:g} moved {report.score_name} by {moved} points against real images alone ({interval}).",
          13.5, 0.94, color=SOFT)
    figure.add_artist(Line2D([0.03, 0.97], [0.982, 0.982], color=colour, linewidth=6, solid_capstyle="butt"))


def _curve(figure: Figure, report: Report, colour: str) -> None:
    """Validation at every α: seeds as dots, mean and standard error, real images alone as a dashed line."""
    arms = sorted(report.arms, key=lambda arm: arm.realised_alpha)
    axes = figure.add_axes((LEFT, BOTTOM, RIGHT - LEFT, TOP - BOTTOM))
    _text(figure, 0.03, 0.805, f"{report.score_name} on {report.n_val:,} real validation images", 13, 0.6, weight="bold")
    x = [arm.realised_alpha for arm in arms]
    span = x[-1] - x[0] or 1.0
    axes.set_xlim(x[0] - 0.035 * span, x[-1] + 0.035 * span)
    _vertical(axes, [value for arm in arms for value in _reach(arm)], below=0.06, above=0.18)
    base = arms[0]
    axes.axhline(base.val_accuracy, color=INK, linestyle=(0, (5, 4)), linewidth=1.3, zorder=2)
    _beside(axes, base)
    gap = min((b - a for a, b in pairwise(x) if b > a), default=span)
    _dots(axes, arms, min(0.012 * span, gap / 5))
    beside_real = [arm for arm in arms if arm.n_real]
    axes.plot([arm.realised_alpha for arm in beside_real], [arm.val_accuracy for arm in beside_real], color=CURVE, linewidth=2)
    if len(beside_real) < len(arms):   # without real images it is another experiment: the line to it is only a guide
        axes.plot(x[-2:], [arm.val_accuracy for arm in arms[-2:]], color=CURVE, linewidth=1.5, linestyle=":")
    axes.errorbar(x, [arm.val_accuracy for arm in arms], [arm.val_standard_error for arm in arms], fmt="o", color=CURVE,
                  markersize=8, capsize=4, elinewidth=1.8, capthick=1.8, zorder=4)
    _marks(axes, report, arms, colour)
    _asked(axes, arms, report.candidate)


def _marks(axes: Axes, report: Report, arms: Sequence[Arm], colour: str) -> None:
    """A star on α*; where the candidate is not α*, it is hollow and says so."""
    by_alpha = {arm.alpha: arm for arm in arms}
    star, candidate = by_alpha[report.alpha_star], by_alpha[report.candidate]
    colour = colour if star is candidate else INK
    said = [(star, f"α* = {star.alpha:g}", "confirmed on the locked test" if star is candidate else "real images alone")]
    axes.plot(star.realised_alpha, star.val_accuracy, "*", color=colour, markersize=27, markeredgecolor="white",
              markeredgewidth=1.4, zorder=6)
    if star is not candidate:
        axes.plot(candidate.realised_alpha, candidate.val_accuracy, "o", color="white", markeredgecolor=CURVE,
                  markersize=14, markeredgewidth=2.4, zorder=5)
        said.append((candidate, f"candidate α = {candidate.alpha:g}", f"best above 0 on validation, {NOT_TAKEN[report.verdict]}"))
    low, high = axes.get_ylim()
    taken: list[Annotation] = []
    for arm, bold, soft in reversed(said):   # the right one first: the left one goes above it if they meet
        for height in LABELS_AT:
            pieces, beside = _label(axes, arm.realised_alpha, height, bold, soft, colour if arm is star else CURVE)
            if height == LABELS_AT[-1] or not any(_meet(piece, other, 16) for piece in pieces for other in taken):
                break
            for piece in pieces:
                piece.remove()
        taken += pieces
        end = height if beside else height - 0.05
        axes.plot([arm.realised_alpha] * 2, [arm.val_accuracy, low + end * (high - low)], color=RULE, linewidth=1, zorder=1)


def _label(axes: Axes, x: float, height: float, bold: str, soft: str, colour: str) -> tuple[list[Annotation], bool]:
    """Two words in the free strip at the top, and whether they stand beside the line that leads down to the mark.

    Near the right edge they move to the left until they fit, and the line ends below them.
    """
    pieces = [
        axes.annotate(words, (x, height), (0, 0), xycoords=("data", "axes fraction"), textcoords="offset points", va="top",
                      fontsize=12, family=FONT, **style)
        for words, style in ((bold, {"weight": "bold", "color": colour}), (soft, {"color": SOFT}))
    ]
    first, second = (_extent(piece).width for piece in pieces)
    free = axes.get_window_extent().x1 - axes.transData.transform((x, 0))[0] - first - 10 - second
    start = min(10.0, free)
    for piece, offset in zip(pieces, (start, start + first + 10), strict=True):
        piece.xyann = (offset * 72 / DPI, 0)
    return pieces, free >= 10


def _asked(axes: Axes, arms: Sequence[Arm], candidate: float) -> None:
    """Below the curve: every α as it was asked for, and the synthetic images that it took, as far as there is room."""
    axes.set_xticks([arm.realised_alpha for arm in arms], labels=[""] * len(arms))
    first = sorted(arms, key=lambda arm: (arm.alpha not in (0, candidate, 1), arm.alpha))
    taken: list[Annotation] = []
    unnamed: list[str] = []
    rows, brackets = 0, False
    for arm in first:
        off = abs(arm.realised_alpha - arm.alpha) >= 0.005
        asked = f"{arm.alpha:g} ({arm.realised_alpha:.2g})" if off else f"{arm.alpha:g}"
        took = f"+{_count(arm.n_synthetic)}" if arm.n_real else f"{_count(arm.n_synthetic)} alone"
        for row in range(ROWS):
            pieces = [_below(axes, arm.realised_alpha, 9 + 36 * row, asked, size=13, weight="bold", color=INK),
                      _below(axes, arm.realised_alpha, 27 + 36 * row, took, size=10.5, color=SOFT)]
            if not any(_meet(piece, other, 8) for piece in pieces for other in taken):
                taken += pieces
                rows, brackets = max(rows, row), brackets or off
                break
            for piece in pieces:
                piece.remove()
        else:
            unnamed.append(f"{arm.alpha:g}")
    shown = " (in brackets: as trained)" if brackets else ""
    n_seeds = len(arms[0].seeds)
    marks = f"dots: one seed each, offset; bars: mean ± 1 standard error over {seeds(n_seeds)}" if n_seeds > 1 else "one seed each"
    y = 0.137 - 0.049 * rows
    _text(axes.figure, LEFT, y, f"α, the synthetic share of the training set{shown}", 13, 0.6, weight="bold")
    _text(axes.figure, LEFT, y - 0.027, f"small: synthetic images beside {max(arm.n_real for arm in arms):,} real ones; {marks}"
          + (f"; no room to name {', '.join(unnamed) if len(unnamed) < 4 else len(unnamed)}" if unnamed else ""), 11, 0.6, color=SOFT)


def _gain(figure: Figure, report: Report, colour: str) -> None:
    """The one comparison that counts: the candidate against real images alone, on the locked test."""
    gain, left, width = report.gain_detail, 0.79, 0.18
    certain = report.verdict != "no verdict"
    _text(figure, left, 0.805, "gain on the locked test", 13, width, weight="bold")
    _text(figure, left, 0.752, f"{points(gain.mean, decimals(gain), signed=True)} points", 24, width, weight="bold", color=colour)
    _text(figure, left, 0.722, f"{bounds(gain, signed=True)}, 95 % interval" if certain else "no interval", 11.5, width,
          color=SOFT)
    axes = figure.add_axes((left + 0.03, BOTTOM, width - 0.03, 0.455))
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    dots = [100 * one for one in _per_seed(report)]
    reach = [100 * gain.low, 100 * gain.high] if certain else [100 * gain.mean]
    unseen = 100 * report.smallest_detectable if certain else 0.0
    _vertical(axes, [0.0, *dots, *reach, unseen, -unseen], below=0.06, above=0.06, signed=True)
    axes.axhspan(-unseen, unseen, color=BAND, linewidth=0, zorder=0)
    axes.axhline(0, color=INK, linewidth=1.3, zorder=2)
    axes.plot([0.28 + 0.012 * (at % 5 - 2) for at in range(len(dots))], dots, "o", color=CURVE, alpha=0.4, markersize=5.5,
              markeredgewidth=0, zorder=3)
    if certain:
        axes.plot([0.62, 0.62], reach, color=colour, linewidth=5, solid_capstyle="butt", zorder=4)
    axes.plot(0.62, 100 * gain.mean, "o", color="white", markeredgecolor=colour, markersize=13, markeredgewidth=3, zorder=5)
    if unseen:
        _text(figure, left, 0.137, f"grey: a true effect within ±{points(report.smallest_detectable, decimals(gain))} points", 11,
              width, color=SOFT)
        _text(figure, left, 0.110, "is found in fewer than 80 % of tests", 11, width, color=SOFT)
    _text(figure, left, 0.178, f"dots: {seeds(len(dots), 'fresh')}; bar: 95 % interval" if certain else seeds(gain.n_seeds, "fresh"),
          11, width, color=SOFT)


def _footer(figure: Figure, report: Report) -> None:
    seen = {arm.samples_seen for arm in report.arms}
    same = f"{seen.pop():,} images seen in every training" if len(seen) == 1 else "images seen differ between trainings"
    _text(figure, 0.03, 0.025, f"{report.dataset}, run {report.run}; {same}; validation and test are real images only; "
          "conditional on the one real training set", 10, 0.94, color=SOFT)


def _per_seed(report: Report) -> list[float]:
    """Gain of every fresh seed; empty where the two arms are not paired."""
    by_alpha = {one.alpha: one for one in report.confirmed}
    base, salted = by_alpha.get(0.0), by_alpha.get(report.candidate)
    if base is None or salted is None or base.seeds != salted.seeds:
        return []
    return [b - a for a, b in zip(base.test_accuracies, salted.test_accuracies, strict=True)]


def _dots(axes: Axes, arms: Sequence[Arm], reach: float) -> None:
    """One faint dot per seed, each seed at the same offset in every arm, so that a pair can be followed."""
    for arm in arms:
        n = len(arm.val_accuracies)
        x = [arm.realised_alpha + reach * (2 * at / (n - 1) - 1 if n > 1 else 0) for at in range(n)]
        axes.plot(x, arm.val_accuracies, "o", color=CURVE, alpha=0.3, markersize=5.5, markeredgewidth=0, zorder=3)


def _beside(axes: Axes, base: Arm) -> None:
    """The name of the dashed line, in the margin at its end, where nothing else stands."""
    axes.annotate(f"real images\nalone: {base.val_accuracy:.3f}", (1, base.val_accuracy), (8, 0),
                  xycoords=("axes fraction", "data"), textcoords="offset points", va="center", fontsize=11.5, color=INK, family=FONT)


def _vertical(axes: Axes, values: Sequence[float], *, below: float, above: float, signed: bool = False) -> None:
    """Limits that leave shares of the height free, a few ticks with faint lines, and no frame."""
    low, high = min(values), max(values)
    span = (high - low) or (2.0 if signed else 0.02)
    height = span / (1 - below - above)
    axes.set_ylim(low - below * height - (not high - low) * span / 2, low - below * height + height)
    low, high = axes.get_ylim()
    ticks = [tick for tick in MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
             if low <= tick <= high - max(0.0, above - 0.06) * height and (signed or tick <= 1.0000001)]
    places = next((n for n in (0, 1, 2, 3) if all(abs(tick - round(tick, n)) < 1e-9 for tick in ticks)), 4)
    shown = [points(tick / 100, places, signed=True) if signed else f"{tick:.{max(2, places)}f}" for tick in ticks]
    axes.set_yticks(ticks, labels=shown, fontsize=11, color=SOFT, family=FONT)
    axes.grid(axis="y", color=BAND, linewidth=1)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _reach(arm: Arm) -> Iterable[float]:
    error = arm.val_standard_error
    return (*arm.val_accuracies, arm.val_accuracy - error, arm.val_accuracy + error)


def _text(figure: Figure, x: float, y: float, words: str, size: float, room: float, **style: object) -> Text:
    """Words at a place in the figure, made smaller until they take no more than ``room`` of its width."""
    made = figure.text(x, y, words, fontsize=size, family=FONT, parse_math=False, **{"color": INK, **style})
    while _extent(made).width > room * WIDE * DPI and size > 5:
        size -= 0.5
        made.set_fontsize(size)
    return made


def _below(axes: Axes, x: float, down: float, words: str, *, size: float, **style: object) -> Annotation:
    return axes.annotate(words, (x, 0), (0, -down), xycoords=("data", "axes fraction"), textcoords="offset points",
                         ha="center", va="top", fontsize=size, family=FONT, **style)


def _extent(text: Text):
    return text.get_window_extent(text.figure.canvas.get_renderer())


def _meet(one: Text, other: Text, room_px: float = 2) -> bool:
    a, b = _extent(one), _extent(other)
    return a.x0 < b.x1 + room_px and b.x0 < a.x1 + room_px and a.y0 < b.y1 and b.y0 < a.y1


def _count(number: int) -> str:
    return f"{number:,}" if number < 100_000 else f"{number / 1e3:.3g}k" if number < 1_000_000 else f"{number / 1e6:.3g}M"
