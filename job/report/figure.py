"""``mixing_sweep.png``: what validation said of every α, and what the locked test made of the candidate and of the arms beside it.

Drawn with ``matplotlib.figure.Figure`` alone: no pyplot, so no global state and no window system.
"""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from job.report import figure_curve, figure_gain
from job.report.figure_parts import COLOURS, DPI, HIGH, SOFT, WIDE, text
from job.report.model import Report
from job.report.words import HEADLINES, bounds, decimals, points, seeds, short


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
    figure_curve.draw(figure, report, colour)
    figure_gain.draw(figure, report, colour)
    _footer(figure, report)
    return figure


def _headline(figure: Figure, report: Report, colour: str) -> None:
    gain = report.gain_detail
    star = f"α* = {report.alpha_star:g}" + ("" if report.alpha_star else ", real images alone")
    text(figure, 0.03, 0.925, f"{HEADLINES[report.verdict]}: {star}", 25, 0.94, weight="bold")
    interval = "no interval" if report.verdict == "no verdict" else f"95 % interval {bounds(gain, signed=True)}"
    moved = f"{short(report.score_name)} by {points(gain.mean, decimals(gain), signed=True)} points"
    text(figure, 0.03, 0.880,
         f"On {gain.n_images:,} locked real test images and {seeds(gain.n_seeds, 'fresh')}, α = {report.candidate:g} moved {moved} "
         f"against real images alone ({interval}).", 13.5, 0.94, color=SOFT)
    figure.add_artist(Line2D([0.03, 0.97], [0.982, 0.982], color=colour, linewidth=6, solid_capstyle="butt"))


def _footer(figure: Figure, report: Report) -> None:
    seen = {arm.samples_seen for arm in report.arms}
    same = f"{seen.pop():,} images seen in every training" if len(seen) == 1 else "images seen differ between trainings"
    text(figure, 0.03, 0.018, f"{report.dataset}, run {report.run}; {same}; validation and test are real images only; "
         "conditional on the one real training set", 10, 0.94, color=SOFT)
