"""The left panel: validation at every α, the arms that the sweep tried beside it, and how often each α would be the candidate."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from scipy.optimize import isotonic_regression

from job.report.figure_parts import (
    ARMS,
    BAND,
    CURVE,
    DPI,
    FONT,
    HIGH_PX,
    INK,
    OTHER,
    RULE,
    SOFT,
    WIDE,
    bare,
    below,
    extent,
    limits,
    meet,
    text,
    ticks,
)
from job.report.model import Arm, ArmCurve, Report
from job.report.words import seeds, short

LEFT, RIGHT, TOP, BOTTOM = 0.062, 0.585, 0.775, 0.252   # of curve and bars together
BARS, GAP = 0.092, 0.018                                # height of the bars, and the space above them
ROWS = 2                                                # of labels below
LABELS_AT = (0.93, 0.995)                               # of marks, in the strip above the curve: share of its height
NOT_TAKEN = {"hurt": "worse on the locked test", "no verdict": "not judged", "no detectable difference": "not confirmed"}


def draw(figure: Figure, report: Report, colour: str) -> None:
    """Seeds as dots, means with the interval of their difference to α = 0, real images alone as a dashed line."""
    arms = sorted(report.arms, key=lambda arm: arm.realised_alpha)
    floor = BOTTOM + (BARS + GAP if report.stability else 0)
    axes = figure.add_axes((LEFT, floor, RIGHT - LEFT, TOP - floor))
    text(figure, 0.03, 0.815, f"{short(report.score_name)} on {report.n_val:,} real validation images", 13, RIGHT - 0.03, weight="bold")
    x = [arm.realised_alpha for arm in arms]
    span = x[-1] - x[0] or 1.0
    axes.set_xlim(x[0] - 0.035 * span, x[-1] + 0.035 * span)
    _vertical(axes, [*(value for arm in arms for value in _reach(arm, arms[0])),
                     *(arm.val_accuracy for curve in report.curves for arm in curve.arms)])
    base = arms[0]
    axes.axhline(base.val_accuracy, color=INK, linestyle=(0, (5, 4)), linewidth=1.3, zorder=2)
    gap = min((b - a for a, b in pairwise(x) if b > a), default=span)
    _dots(axes, arms, min(0.012 * span, gap / 5))
    beside_real = [arm for arm in arms if arm.n_real]
    axes.plot([arm.realised_alpha for arm in beside_real], [arm.val_accuracy for arm in beside_real], color=CURVE, linewidth=2)
    if len(beside_real) < len(arms):   # without real images it is another experiment: the line to it is only a guide
        axes.plot(x[-2:], [arm.val_accuracy for arm in arms[-2:]], color=CURVE, linewidth=1.5, linestyle=":")
    axes.plot(x, [arm.val_accuracy for arm in arms], "o", color=CURVE, markersize=8, zorder=4)
    for arm in arms:
        if arm.val_gain:
            axes.errorbar([arm.realised_alpha], [arm.val_accuracy],
                          [[arm.val_gain.mean - arm.val_gain.low], [arm.val_gain.high - arm.val_gain.mean]], fmt="none", ecolor=CURVE,
                          capsize=4, elinewidth=1.8, capthick=1.8, zorder=4)
    _curves(axes, report.curves)
    _margin(axes, base, report.curves)
    _marks(axes, report, arms, colour)
    lowest = _often(figure, axes, report, arms, gap) if report.stability else axes
    _asked(lowest, arms, report)


def _curves(axes: Axes, curves: Sequence[ArmCurve]) -> None:
    """The arms that the sweep tried: thinner lines, each with its own mark."""
    for curve in curves:
        colour, marker, size = ARMS.get(curve.arm, OTHER)
        axes.plot([arm.realised_alpha for arm in curve.arms], [arm.val_accuracy for arm in curve.arms], color=colour, linewidth=1.3,
                  marker=marker, markersize=size, markeredgecolor="white", markeredgewidth=0.8, zorder=3.5)


def _margin(axes: Axes, base: Arm, curves: Sequence[ArmCurve]) -> None:
    """At the right edge, the names of the dashed line and of the arms' curves, as near to their ends as they have room."""
    figure = axes.figure
    ends = [(base.val_accuracy, "", f"real images\nalone: {base.val_accuracy:.3f}", 42.0),
            *((curve.arms[-1].val_accuracy, curve.arm, curve.arm.replace("_", " "), 24.0) for curve in curves)]
    ends.sort(key=lambda one: one[0])
    wanted = np.array([axes.transData.transform((0, value))[1] for value, *_ in ends])
    high = np.array([room for *_, room in ends])
    apart = np.concatenate([[0.0], np.cumsum((high[:-1] + high[1:]) / 2)])
    box = axes.get_window_extent()
    least, most = box.y0 + high[0] / 2 - 6, box.y1 - apart[-1]
    places = np.clip(isotonic_regression(wanted - apart).x, least, max(least, most)) + apart   # nearest in least squares
    for (value, arm, words, _), at in zip(ends, places, strict=True):
        y, beside = at / HIGH_PX, RIGHT + 0.008
        if arm:
            colour, marker, size = ARMS.get(arm, OTHER)
            figure.add_artist(Line2D([beside + 0.004], [y], color=colour, marker=marker, markersize=size, linestyle="none"))
            beside += 0.012
        else:
            edge = axes.transData.transform((0, value))[1] / HIGH_PX
            figure.add_artist(Line2D([RIGHT, RIGHT + 0.006], [edge, y], color=INK, linewidth=1))
        text(figure, beside, y, words, 11.5, 0.69 - beside, va="center_baseline" if arm else "center", linespacing=1.1)


def _often(figure: Figure, above: Axes, report: Report, arms: Sequence[Arm], gap: float) -> Axes:
    """A bar per α: how often it would be the candidate if seeds and validation images were drawn again."""
    axes = figure.add_axes((LEFT, BOTTOM, RIGHT - LEFT, BARS))
    axes.set_xlim(above.get_xlim())
    axes.set_ylim(0, 1.32)   # a number stands on the bar
    axes.set_yticks([])
    bare(axes)
    axes.axhline(0, color=RULE, linewidth=1)
    px = (RIGHT - LEFT) * WIDE * DPI / (axes.get_xlim()[1] - axes.get_xlim()[0])
    wide = max(5 / px, min(30 / px, 0.7 * gap))
    places = {arm.alpha: arm.realised_alpha for arm in arms}
    named: list[Annotation] = []
    for one in sorted((one for one in report.stability if one.alpha in places), key=lambda one: (-one.share, one.alpha)):
        mine = one.alpha == report.candidate
        axes.bar(places[one.alpha], one.share, wide, color=CURVE, alpha=1.0 if mine else 0.35, linewidth=0)
        if one.share < 0.005:
            continue
        label = axes.annotate(f"{100 * one.share:.0f} %", (places[one.alpha], one.share), (0, 2), textcoords="offset points", ha="center",
                              va="bottom", fontsize=10.5, family=FONT, color=INK, weight="bold" if mine else "normal")
        if any(meet(label, other, 6) for other in named):
            label.remove()
        else:
            named.append(label)
    text(figure, RIGHT + 0.008, BOTTOM + BARS / 2, "how often each\nα would be\nthe candidate", 10.5, 0.1, va="center", color=SOFT,
         linespacing=1.15)
    return axes


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
            if height == LABELS_AT[-1] or not any(meet(piece, other, 16) for piece in pieces for other in taken):
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
    first, second = (extent(piece).width for piece in pieces)
    free = axes.get_window_extent().x1 - axes.transData.transform((x, 0))[0] - first - 10 - second
    start = min(10.0, free)
    for piece, offset in zip(pieces, (start, start + first + 10), strict=True):
        piece.xyann = (offset * 72 / DPI, 0)
    return pieces, free >= 10


def _asked(axes: Axes, arms: Sequence[Arm], report: Report) -> None:
    """At the foot: every α as it was asked for, and the synthetic images that it took, as far as there is room."""
    axes.set_xticks([arm.realised_alpha for arm in arms], labels=[""] * len(arms))
    first = sorted(arms, key=lambda arm: (arm.alpha not in (0, report.candidate, 1), arm.alpha))
    taken: list[Annotation] = []
    unnamed: list[str] = []
    rows, brackets = 0, False
    for arm in first:
        off = abs(arm.realised_alpha - arm.alpha) >= 0.005
        asked = f"{arm.alpha:g} ({arm.realised_alpha:.2g})" if off else f"{arm.alpha:g}"
        took = f"+{_count(arm.n_synthetic)}" if arm.n_real else f"{_count(arm.n_synthetic)} alone"
        for row in range(ROWS):
            pieces = [below(axes, arm.realised_alpha, 7 + 36 * row, asked, size=13, weight="bold", color=INK),
                      below(axes, arm.realised_alpha, 25 + 36 * row, took, size=10.5, color=SOFT)]
            if not any(meet(piece, other, 8) for piece in pieces for other in taken):
                taken += pieces
                rows, brackets = max(rows, row), brackets or off
                break
            for piece in pieces:
                piece.remove()
        else:
            unnamed.append(f"{arm.alpha:g}")
    _notes(axes.figure, 0.158 - 0.05 * rows, arms, brackets, unnamed)


def _notes(figure: Figure, y: float, arms: Sequence[Arm], brackets: bool, unnamed: Sequence[str]) -> None:
    """What the axis is, and what the marks are."""
    n_seeds, fewest = (of(len(arm.seeds) for arm in arms) for of in (max, min))
    early = f" ({fewest} at least, where α left early)" if fewest < n_seeds else ""
    text(figure, LEFT, y, f"α, the synthetic share of the training set{' (in brackets: as trained)' if brackets else ''}", 13, 0.6,
         weight="bold")
    left_out = f"; no room to name {', '.join(unnamed) if len(unnamed) < 4 else len(unnamed)}" if unnamed else ""
    text(figure, LEFT, y - 0.027, f"small: synthetic images beside {max(arm.n_real for arm in arms):,} real ones; "
         f"dots: {seeds(n_seeds)}{early}{', offset, and their mean' if n_seeds > 1 else ''}{left_out}", 11, 0.6, color=SOFT)
    if any(arm.val_gain for arm in arms):
        text(figure, LEFT, y - 0.052, "bars: 95 % interval of each difference to α = 0, paired; before choosing, so not corrected for it",
             11, 0.6, color=SOFT)


def _dots(axes: Axes, arms: Sequence[Arm], reach: float) -> None:
    """One faint dot per seed, each seed at the same offset in every arm, so that a pair can be followed."""
    for arm in arms:
        n = len(arm.val_accuracies)
        x = [arm.realised_alpha + reach * (2 * at / (n - 1) - 1 if n > 1 else 0) for at in range(n)]
        axes.plot(x, arm.val_accuracies, "o", color=CURVE, alpha=0.3, markersize=5.5, markeredgewidth=0, zorder=3)


def _vertical(axes: Axes, values: Sequence[float]) -> None:
    """Room for labels above the values, a few ticks with faint lines below them."""
    axes.set_ylim(*limits(values, below=0.05, above=0.18, least=0.02))
    low, high = axes.get_ylim()
    places, shown = ticks(low, min(high - 0.12 * (high - low), 1.0000001), 6)
    axes.set_yticks(places, labels=shown, fontsize=11, color=SOFT, family=FONT)
    axes.set_xticks([])
    axes.grid(axis="y", color=BAND, linewidth=1)
    bare(axes)


def _reach(arm: Arm, base: Arm) -> Iterable[float]:
    """All that is drawn of an arm: its seeds, its mean, and the ends of its interval."""
    bars = (base.val_accuracy + arm.val_gain.low, base.val_accuracy + arm.val_gain.high) if arm.val_gain else ()
    return (*arm.val_accuracies, arm.val_accuracy, *bars)


def _count(number: int) -> str:
    return f"{number:,}" if number < 100_000 else f"{number / 1e3:.3g}k" if number < 1_000_000 else f"{number / 1e6:.3g}M"
