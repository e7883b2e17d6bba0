"""The right panel: on the locked test, the candidate against real images alone, and under it every arm that ran beside it."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from job.report.figure_parts import (
    ARMS,
    BAND,
    CURVE,
    FONT,
    HIGH_PX,
    INK,
    OTHER,
    RULE,
    SOFT,
    bare,
    limits,
    text,
    ticks,
)
from job.report.model import Beside, Gain, Report
from job.report.words import bounds, decimals, points, seeds

LEFT, WIDTH, TOP = 0.715, 0.255, 0.712
CANDIDATE_PX, HEAD_PX, ARM_PX = 74, 40, 62     # height of its row, of the arms' heading, of an arm's row where there is room
WIDER = 1.6                                    # how far rows may grow to end where the curve ends,
ENDS_PX, FOOT_PX = 0.252 * HIGH_PX, 165        # and how far down they may go: the rest is for notes
FAR = 1.0                                      # arms may widen the axis by so much of what the candidate takes, on either side
BETTER = {"helped": "yes", "hurt": "no, worse"}


def draw(figure: Figure, report: Report, colour: str) -> None:
    """The one comparison that counts, and what it has to exceed; all against α = 0, with the same seeds and images."""
    gain, certain = report.gain_detail, report.verdict != "no verdict"
    text(figure, LEFT, 0.815, "gain on the locked test", 13, WIDTH, weight="bold")
    text(figure, LEFT, 0.764, f"{points(gain.mean, decimals(gain), signed=True)} points", 24, WIDTH, weight="bold", color=colour)
    told = f"{bounds(gain, signed=True)}, 95 % interval" if certain else "no interval"
    text(figure, LEFT, 0.734, told, 11.5, WIDTH, color=SOFT)
    n, top = len(report.beside), TOP * HIGH_PX
    head_px = HEAD_PX if n else 0
    scale = min(WIDER, max((top - ENDS_PX - head_px) / (CANDIDATE_PX + n * ARM_PX), 1.0))
    scale = min(scale, (top - FOOT_PX - head_px) / (CANDIDATE_PX + n * ARM_PX))
    first, row = CANDIDATE_PX * scale, ARM_PX * scale
    floor = top - first - head_px - n * row
    axes = figure.add_axes((LEFT, floor / HIGH_PX, WIDTH, (top - floor) / HIGH_PX))
    axes.set_ylim(floor, top)   # pixels of the sheet, so that words and marks share one measure
    _horizontal(axes, report, certain)
    _candidate(axes, report, colour, (top - first, top), certain)
    if n:
        head = top - first - 26
        text(figure, LEFT, head / HIGH_PX, "arms beside it (dotted: candidate)", 11, 0.63 * WIDTH, color=SOFT)
        text(figure, LEFT + WIDTH, head / HIGH_PX, "candidate better?", 11, 0.36 * WIDTH, color=SOFT, ha="right")
        figure.add_artist(Line2D([LEFT, LEFT + WIDTH], [(head - 8) / HIGH_PX] * 2, color=RULE, linewidth=1))
    for at, one in enumerate(report.beside):
        _arm(axes, one, top - first - head_px - at * row, row, 100 * gain.mean, colour)
    _notes(figure, report, floor, certain)


def _horizontal(axes: Axes, report: Report, certain: bool) -> None:
    """Points from left to right. What is far away must not squeeze the rest: it leaves the axis and is marked at its end."""
    unseen = report.smallest_detectable if certain else 0.0
    values = [0.0, *(one.gain for one in report.seed_gains), *_ends(report.gain_detail, certain), unseen, -unseen]
    low, high = min(values), max(values)
    room = FAR * ((high - low) or 0.02)
    arms = [value for one in report.beside for value in _ends(one.effect, one.effect_word != "no verdict")]
    near = [min(max(value, low - room), high + room) for value in arms]
    axes.set_xlim(*(100 * one for one in limits([low, high, *near], below=0.05, above=0.05, least=0.02)))
    places, shown = ticks(*axes.get_xlim(), 5, signed=True)
    axes.set_xticks(places, labels=shown, fontsize=11, color=SOFT, family=FONT)
    axes.set_yticks([])
    bare(axes)


def _ruled(axes: Axes, low: float, high: float) -> None:
    """The grid and zero across one row only: words stand between the rows."""
    axes.vlines(axes.get_xticks(), low, high, color=BAND, linewidth=1, zorder=0.5)
    axes.vlines(0, low, high, color=INK, linewidth=1.3, zorder=2)


def _candidate(axes: Axes, report: Report, colour: str, row: tuple[float, float], certain: bool) -> None:
    """Its seeds above, its mean and interval below them."""
    gain, (low, top) = report.gain_detail, row
    middle, dots = low + 0.3 * (top - low), low + 0.7 * (top - low)
    _ruled(axes, low, top)
    unseen = 100 * report.smallest_detectable if certain else 0.0
    if unseen:
        axes.fill_between([-unseen, unseen], low, top, color=BAND, linewidth=0, zorder=1)
    axes.plot([100 * one.gain for one in report.seed_gains], [dots + 4 * (at % 5 - 2) for at in range(len(report.seed_gains))], "o",
              color=CURVE, alpha=0.4, markersize=5.5, markeredgewidth=0, zorder=3)
    if certain:
        axes.plot([100 * gain.low, 100 * gain.high], [middle] * 2, color=colour, linewidth=5, solid_capstyle="butt", zorder=4)
    axes.plot(100 * gain.mean, middle, "o", color="white", markeredgecolor=colour, markersize=13, markeredgewidth=3, zorder=5)


def _arm(axes: Axes, one: Beside, top: float, row: float, candidate: float, guide: str) -> None:
    """Name and mean above, its interval below, and at the right what the paired comparison with the candidate says.

    A dotted line recalls the candidate's mean, in points.
    """
    figure, (colour, marker, size) = axes.figure, ARMS.get(one.arm, OTHER)
    certain = one.effect_word != "no verdict"
    said = f"{one.arm.replace('_', ' ')} {points(one.effect.mean, 1, signed=True)}"
    better = f"{BETTER.get(one.beyond_word, 'not shown')}, {points(one.beyond.mean, 1, signed=True)}" if certain else "not judged"
    text(figure, LEFT, (top - 17) / HIGH_PX, said, 11.5, 0.6 * WIDTH, weight="bold" if one.control else "normal")
    text(figure, LEFT + WIDTH, (top - 17) / HIGH_PX, better, 11.5, 0.38 * WIDTH, ha="right",
         color=INK if one.beyond_word in BETTER else SOFT)
    low, high = axes.get_xlim()
    y, mean = top - 22 - 0.44 * (row - 26), 100 * one.effect.mean
    half = 0.2 * row
    _ruled(axes, y - half, y + half)
    axes.vlines(candidate, y - half, y + half, color=guide, linestyle=":", linewidth=1.6, zorder=2)
    ends = [min(max(100 * value, low), high) for value in _ends(one.effect, certain)]
    axes.plot(ends, [y] * len(ends), color=colour, linewidth=3, solid_capstyle="butt", zorder=4)
    if low <= mean <= high:
        axes.plot(mean, y, marker, color=colour, markersize=size + 1, markeredgecolor="white", markeredgewidth=1, zorder=5)
    else:
        axes.plot(low if mean < low else high, y, "<" if mean < low else ">", color=colour, markersize=10, clip_on=False, zorder=5)


def _notes(figure: Figure, report: Report, floor: float, certain: bool) -> None:
    unseen = report.smallest_detectable if certain else 0.0
    controls = any(one.control for one in report.beside)
    dots = f"dots: {seeds(len(report.seed_gains), 'fresh')}"
    lines = [
        f"{dots}; bars: 95 % intervals" if certain else dots,
        *((f"grey: a true effect within ±{points(unseen, decimals(report.gain_detail))} points",
           "is found in fewer than 80 % of such tests") if unseen else ()),
        "bold: controls; a gain counts only beyond them" if controls else "no control arm was run beside it",
    ]
    text(figure, LEFT, (floor - 46) / HIGH_PX, "points against α = 0, paired", 11.5, WIDTH, weight="bold")
    for at, words in enumerate(lines):
        text(figure, LEFT, (floor - 70 - 21 * at) / HIGH_PX, words, 11, WIDTH, color=SOFT)


def _ends(gain: Gain, certain: bool) -> Sequence[float]:
    """The interval's ends; the mean alone where no interval means anything."""
    return (gain.low, gain.high) if certain else (gain.mean, gain.mean)
