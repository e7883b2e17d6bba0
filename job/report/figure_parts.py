"""What the panels of ``mixing_sweep.png`` share: the sheet, its colours and marks, texts that fit, axes without a frame.

The colours are those of Okabe and Ito, which stay apart for colour-blind eyes; every mark differs in shape as well. Words
are set in ink, and a mark stands in front of them where they name a line.
"""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator

from job.report.words import points

WIDE, HIGH, DPI = 16, 9, 100
HIGH_PX = HIGH * DPI
INK, SOFT, RULE, BAND = "#1d2329", "#59636e", "#c3c9cf", "#e9ecef"
CURVE = "#0072b2"
COLOURS = {"helped": "#00795a", "hurt": "#c24e00"}   # Okabe and Ito's green and vermilion, darkened for text on white
ARMS: Mapping[str, tuple[str, str, int]] = {          # colour, marker and its size, the same in every panel
    "placebo": ("#cc79a7", "D", 8), "reweighted": ("#e69f00", "s", 8), "synthetic_only": (INK, "v", 9), "unfiltered": ("#56b4e9", "^", 9),
    "augmented": ("#9a8c00", "P", 10), "augmented_mix": ("#9a8c00", "X", 10),
}
OTHER = (SOFT, "h", 9)
FONT = "DejaVu Sans"                                  # comes with matplotlib: the same picture everywhere
SMALLEST = 8.0                                        # points; what is still too long is cut


def text(figure: Figure, x: float, y: float, words: str, size: float, room: float, **style: object) -> Text:
    """Words at a place in the figure, made smaller, and then cut, until they take no more than ``room`` of its width."""
    made = figure.text(x, y, words, fontsize=size, family=FONT, parse_math=False, **{"color": INK, **style})
    while extent(made).width > room * WIDE * DPI:
        if size > SMALLEST:
            size -= 0.5
            made.set_fontsize(size)
        else:
            words = words[: int(len(words) * room * WIDE * DPI / extent(made).width) - 1]
            made.set_text(f"{words}…")
    return made


def below(axes: Axes, x: float, down: float, words: str, *, size: float, **style: object) -> Annotation:
    """Words centred below the axes, ``down`` typographic points under their edge."""
    return axes.annotate(words, (x, 0), (0, -down), xycoords=("data", "axes fraction"), textcoords="offset points",
                         ha="center", va="top", fontsize=size, family=FONT, **style)


def extent(of: Text):
    """The box that the words take, in pixels."""
    return of.get_window_extent(of.figure.canvas.get_renderer())


def meet(one: Text, other: Text, room_px: float = 2) -> bool:
    """Whether two texts come closer than ``room_px`` side by side."""
    a, b = extent(one), extent(other)
    return a.x0 < b.x1 + room_px and b.x0 < a.x1 + room_px and a.y0 < b.y1 and b.y0 < a.y1


def bare(axes: Axes) -> None:
    """No frame, no tick marks, and the grid behind everything."""
    axes.set_axisbelow(True)
    axes.tick_params(length=0, pad=6)
    for side in ("top", "left", "right", "bottom"):
        axes.spines[side].set_visible(False)


def ticks(low: float, high: float, most: int, *, signed: bool = False) -> tuple[list[float], list[str]]:
    """A few round places between two values, and what stands at them: points with their sign, or shares."""
    steps = [1, 2, 5, 10] if signed else [1, 2, 2.5, 5, 10]
    places = [one for one in MaxNLocator(most, steps=steps).tick_values(low, high) if low <= one <= high]
    decimals = next((n for n in (0, 1, 2, 3) if all(abs(one - round(one, n)) < 1e-9 for one in places)), 4)
    return places, [points(one / 100, decimals, signed=True) if signed else f"{one:.{max(2, decimals)}f}" for one in places]


def limits(values: Sequence[float], *, below: float, above: float, least: float) -> tuple[float, float]:
    """A range that holds the values and leaves shares of itself free on both sides; ``least`` where they are all one."""
    low, high = min(values), max(values)
    span = (high - low) or least
    whole = span / (1 - below - above)
    start = low - below * whole - (not high - low) * span / 2
    return start, start + whole
