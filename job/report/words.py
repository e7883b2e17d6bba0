"""Numbers in words, and the verdict in plain language. Pure: the page, the figure and the terminal say the same.

Accuracies and gains come in as fractions of 1. Gains are told in points: 1 point = 0.01.
"""

from collections.abc import Sequence
from textwrap import shorten, wrap
from typing import Protocol

from job.report.model import Beside, Drawing, Report, Spent

HEADLINES = {
    "helped": "Synthetic data helped",
    "hurt": "Synthetic data hurt",
    "no detectable difference": "No detectable difference",
    "no verdict": "No verdict",
}
NO_PRICE = "no price was set: no cost is stated"
CONDITIONAL = "All this is conditional on the one real training set that was used: another could gain more or less."
WIDTH = 100   # columns of the summary
BAR = 16


class Difference(Protocol):
    """A paired difference of accuracies, its 95 % interval, and what it rests on."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n_images(self) -> int: ...
    @property
    def n_seeds(self) -> int: ...


def verdict_paragraph(
    *,
    word: str,
    candidate: float,
    gain: Difference,
    baseline_accuracy: float,
    candidate_accuracy: float,
    smallest_detectable: float,
    would_decide: str,
    score_name: str,
    beyond: str = "",
) -> str:
    """The verdict for someone who reads nothing else: three to six sentences, without line breaks.

    ``word`` is one of ``HEADLINES`` (``KeyError`` otherwise); ``gain`` is candidate minus α = 0 on the locked test;
    ``would_decide`` is a clause without a full stop, or empty; ``beyond`` what the control arms say of a gain.
    """
    tested = (f"On {gain.n_images:,} locked real test image{'s' * (gain.n_images != 1)} and "
              f"{seeds(gain.n_seeds, 'fresh')}, training with {_share(candidate)}")
    change = f"({baseline_accuracy:.3f} → {candidate_accuracy:.3f})"
    places = decimals(gain)
    moved = points(gain.mean, places, signed=True)
    parts = [f"{HEADLINES[word]}."]
    if word == "helped":
        parts += [f"{tested} raised {score_name} by {points(gain.mean, places)} points {bounds(gain)} over real images alone "
                  f"{change}.", beyond, f"The recommended share is α* = {candidate:g}."]
    elif word == "hurt":
        # told as a loss, so the interval is turned round with it
        loss = f"[{points(-gain.high, places)}, {points(-gain.low, places)}]"
        parts += [f"{tested} lowered {score_name} by {points(-gain.mean, places)} points {loss} against real images alone "
                  f"{change}.", "The recommendation is to train on real images alone: α* = 0."]
    elif word == "no verdict":
        parts += [f"{tested} moved {score_name} by {moved} points against real images alone {change}, "
                  "but no interval can be put around that.", sentence(would_decide), "Until shown otherwise α* = 0."]
    else:
        interval = f" {bounds(gain, signed=True)}" if gain.high > gain.low else ""
        open_ = gain.low <= 0 <= gain.high   # else help was withheld: accuracy fell further than its guard allows
        parts += [f"{tested} moved {score_name} by {moved} points{interval} against real images alone {change}"
                  f"{': zero lies inside the 95 % interval' if interval and open_ else ''}.",
                  unseen(smallest_detectable) if open_ else "", sentence(would_decide), "Until shown otherwise α* = 0."]
    return " ".join([*filter(None, parts), CONDITIONAL])


def beyond_words(shown: Sequence[str], open_: Sequence[str]) -> str:
    """One sentence: which controls the candidate exceeds beyond their interval, and which it is not shown to exceed."""
    if not open_:
        return f"The gain goes beyond {_listed(shown)}: it is the images' own."
    told = f"The gain is not shown to go beyond {_listed(open_)}, which may be all that it is"
    return f"{told}; it goes beyond {_listed(shown)}." if shown else f"{told}."


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"the {name.replace('_', ' ')} arm" for name in names)


def summary_lines(report: Report, where: str) -> str:
    """What the command prints when it is done: verdict, α*, images, the place of the report, and where the time went.

    ``where`` names the place; only its line may be longer than 100 columns.
    """
    gain, counts = report.gain_detail, report.counts
    interval = "" if report.verdict == "no verdict" else f" {bounds(gain, signed=True)}"
    tested = f"{gain.n_images:,} locked test images × {seeds(gain.n_seeds, 'fresh')}"
    lines = [
        f"verdict    {report.verdict}: {short(report.score_name, 30)} {points(gain.mean, decimals(gain), signed=True)} points{interval}",
        f"           {tested}; candidate α = {report.candidate:g}",
        f"α*         {report.alpha_star:g}",
        *(_arm_line(one) for one in report.beside),
        *(wrap(f"advice     {report.advice.sentence}", WIDTH, subsequent_indent=" " * 11) if report.advice else ()),
        f"optimistic best on validation: α = {report.argmax_alpha:g}, {points(report.argmax_val_gain, signed=True)} points: the best of "
        f"{len(report.arms)}",
        f"images     {counts.planned:,} planned = {counts.kept:,} kept + {counts.rejected:,} rejected + {counts.failed:,} failed"
        f" + {counts.unused:,} unused",
        *(line for warning in report.warnings
          for line in wrap(warning, WIDTH, initial_indent="warning    ", subsequent_indent=" " * 11)),
        f"report     {where}",
        "",
        *_time_table(report),
    ]
    return "\n".join(line.rstrip() for line in lines)


def _arm_line(one: Beside) -> str:
    """An arm of the confirmation: its own effect, and by what the candidate exceeds it."""
    own, over = (f"{points(gain.mean, 1, signed=True)} {bounds(gain, signed=True)}" for gain in (one.effect, one.beyond))
    return _clipped(f"{'arm':<11}{one.arm} {own} against α = 0; the candidate against it {over}", WIDTH)


def points(value: float, places: int = 1, *, signed: bool = False) -> str:
    """A fraction as points: 0.0891 is ``8.9``, or ``+8.9``. A rounded zero has no sign; the minus is a true one."""
    text = f"{100 * value:+.{places}f}"
    if not float(text):
        return text[1:]
    return text.replace("-", "−") if signed or value < 0 else text[1:]


def decimals(gain: Difference) -> int:
    """Decimals (1 to 3) at which the interval has a width, and a bound that is not zero does not look like zero."""
    low, high = 100 * gain.low, 100 * gain.high
    if low == high:
        return 1
    for places in (1, 2):
        if high - low >= 4 * 10**-places and all(not bound or round(bound, places) for bound in (low, high)):
            return places
    return 3


def bounds(gain: Difference, *, signed: bool = False) -> str:
    """The 95 % interval in points: ``[6.6, 11.1]``."""
    places = decimals(gain)
    return f"[{points(gain.low, places, signed=signed)}, {points(gain.high, places, signed=signed)}]"


def duration(seconds: float) -> str:
    """Seconds as a person would say them: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 10 min``, ``3 d 4 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    return f"{round(minutes / 60) // 24} d {round(minutes / 60) % 24} h"


def money(cost: float) -> str:
    """An amount with two decimals, or with two significant digits below 1: a cheap run should not look free."""
    return f"{cost:,.2f}" if cost >= 1 or not cost else f"{cost:.2g}" if cost >= 0.0001 else f"{cost:.0e}"


def short(name: str, width: int = 44) -> str:
    """A name that may go on and on, as that of an objective with many classes, cut between words."""
    return shorten(name, width, placeholder="…")


def seeds(n: int, kind: str = "") -> str:
    """``1 seed``, ``10 fresh seeds``."""
    return f"{n} {kind}{' ' if kind else ''}seed{'s' * (n != 1)}"


def _share(alpha: float) -> str:
    return "synthetic images alone" if alpha == 1 else f"{100 * alpha:.4g} % synthetic images"


def unseen(smallest_detectable: float, least: int = 70) -> str:
    """What the test could not show. ``least``: the per cent of such tests that find it where variances are luckily small."""
    if not smallest_detectable:
        return ""   # identical arms: nothing varied, so nothing can be said about power
    effect = points(smallest_detectable, 1 if smallest_detectable >= 0.002 else 2)
    return f"A true effect of {effect} points would have been found in {least} to 80 % of such tests; a smaller one may be there, unseen."


def sentence(clause: str) -> str:
    """A clause as a sentence; empty where it is."""
    return f"{clause[0].upper()}{clause[1:]}." if clause else ""


def _time_table(report: Report) -> list[str]:
    """Rooms by wall time, the worker seconds of each by kind, and cost where there is a price."""
    longest = max((one.wall_s for one in report.spent), default=0.0)
    priced = report.cost is not None
    head = f"{'where the time went':<25}{'wall':>12}{f'{report.prices.currency:>10}' if priced else ''}   workers"
    total = f"{'in all':<25}{duration(report.wall_s):>12}"
    total += f"   ({NO_PRICE})" if report.cost is None else f"{money(report.cost):>10}   {_cost_of(report)}"
    drawn = [speed(report.drawing)] if report.drawing else []
    return [head, *(line for one in report.spent for line in _time_row(one, longest, priced)), total, *drawn]


def _cost_of(report: Report) -> str:
    of = report.cost_of
    each = (("published image", of.published_image), ("million drawn", of.million_drawn), ("trial", of.trial),
            ("point gained", of.point_gained))
    return ", ".join(f"{money(cost)} per {what}" for what, cost in each if cost is not None)


def _time_row(one: Spent, longest: float, priced: bool) -> list[str]:
    bar = "▇" * round(BAR * one.wall_s / longest) if longest else ""
    cost = f"{'–' if one.cost is None else money(one.cost):>10}" if priced else ""
    device = "GPU" if one.gpu else "CPU"
    kinds = ", ".join(f"{kind} {duration(seconds)}".replace(" ", "\xa0") for kind, seconds in one.worker_s.items())   # kept together
    left = f"{_clipped(one.room, 9):<9}{bar:<{BAR}}{duration(one.wall_s):>12}{cost}   "
    words = wrap(f"{device} {kinds}" if kinds else "", WIDTH - len(left), subsequent_indent=" " * 4) or [""]
    return [((" " * len(left) if at else left) + line.replace("\xa0", " ")).rstrip() for at, line in enumerate(words)]


def speed(drawn: Drawing) -> str:
    """How fast the run drew, in a line."""
    rates = (drawn.images_per_s, "by the clock"), (drawn.images_per_worker_s, "while a worker drew")
    told = ", ".join(f"{rate:.3g}/s {of}" for rate, of in rates if rate is not None)
    peak = f", {100 * drawn.mfu:.0f} % of the measured peak" if drawn.mfu is not None else ""
    on = f" on {', '.join(drawn.chips)}" if drawn.chips else ""
    return f"{drawn.images:,} images drawn{on}{': ' * bool(told)}{told}{peak}"


def _clipped(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
