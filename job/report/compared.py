"""The report of a comparison of finished runs: model, words and page. ``report.json`` and ``report.html``."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Literal

import numpy as np
from pydantic import Field

from job import comparing, statistics
from job.comparing import Compared
from job.report import words
from job.report.assemble import told_gain
from job.report.beside import score_name
from job.report.model import Gain, Part, Report
from job.report.page import around_zero, environment
from job.results import TrialResult
from job.runplan import RunPlan
from job.statistics import HELPED, UNDECIDED

VALUE = 40   # letters of an option's value in the terminal


@dataclass(frozen=True, slots=True)
class Side:
    """One run: what it planned and reported, where that lies, and the answers of its confirmation."""

    plan: RunPlan
    report: Report
    where: str
    baseline: TrialResult
    candidate: TrialResult


class Against(Part):
    """The candidate of a run minus that of the reference."""

    gain: Gain = Field(description="with its 95 % interval over seeds and images, not corrected for the number of comparisons")
    word: Literal["helped", "hurt", "no detectable difference"] = Field(description="corrected for it (Holm)")
    p_holm: float
    at_worst: float = Field(description="no worse than this: with all that are compared in 97.5 % of cases (Bonferroni)")
    smallest_detectable: float = Field(description="smallest true difference whose word such tests find in 65 to 80 % of cases")
    why: str = Field(description="what would decide, or why the interval's own word does not stand; empty where decided")
    guarded: Gain | None = Field(description="difference in accuracy, where the objective is another")


class Row(Part):
    """One run, the reference first."""

    run: str
    report: str = Field(description="where its own report lies")
    verdict: str = Field(description="its own: the candidate against real images alone")
    alpha: float = Field(description="of its candidate, which is what is compared")
    alpha_star: float
    score: float = Field(description="of its candidate, on the locked test")
    real_only: float = Field(description="of its α = 0")
    images_per_s: float | None = Field(description="while a worker drew; null where another run drew everything")
    cost_per_1000: float | None = Field(description="drawing and measuring, over a thousand kept images; null without a price, or "
                                                    "where another run drew some of them")
    currency: str
    accepted: float | None = Field(description="share of the drawn images that reached the filter's minimum; null under another rule")
    against: Against | None = Field(description="null for the reference")


class Comparison(Part):
    schema_version: Literal[1] = 1
    dataset: str
    comparison: str
    score_name: str
    n_images: int
    n_seeds: int
    test_looks: int = Field(description="how often the locked test was looked at, this time included")
    differs: dict[str, list[str]] = Field(description="settings that differ, with the value of every run; – where it has none")
    rows: list[Row]
    warnings: list[str]


def compared(name: str, sides: Sequence[Side], weights_N: np.ndarray | None, looks: int) -> Comparison:
    """Everything that the page shows; the first side is the reference."""
    first, *others = sides
    plans, candidates = [one.plan for one in sides], [one.candidate for one in sides]
    found = comparing.judged(first.candidate, {one.plan.run: one.candidate for one in others}, weights_N, first.plan.objective.guard)
    taken = [f"run {one.plan.run} took images that {', '.join(one.report.reused)} drew: what its images cost is not in its bill"
             for one in sides if one.report.reused]
    if len({one.report.prices.model_dump_json() for one in sides}) > 1:
        taken.append("the runs were priced otherwise: their costs do not compare")
    return Comparison(
        dataset=first.plan.dataset, comparison=name, score_name=score_name(first.plan), n_images=found[0].gain.n_images,
        n_seeds=len(first.candidate.seeds), test_looks=looks,
        differs={name: list(values) for name, values in comparing.differs(plans).items()},
        rows=[_row(one, against, weights_N) for one, against in zip(sides, (None, *found), strict=True)],
        warnings=[*comparing.warnings(plans, candidates, [one.baseline for one in sides], weights_N), *taken],
    )


def _row(side: Side, against: Compared | None, weights_N: np.ndarray | None) -> Row:
    made, counts, drawn = side.report, side.report.counts, side.report.drawing
    passed, each = counts.kept + counts.unused, made.cost_of.kept_image
    judged = side.plan.filter.kind == "threshold" and passed + counts.rejected > 0
    return Row(
        run=made.run, report=side.where, verdict=made.verdict, alpha=made.candidate, alpha_star=made.alpha_star,
        score=statistics.score(side.candidate.correct_SN, weights_N=weights_N),
        real_only=statistics.score(side.baseline.correct_SN, weights_N=weights_N),
        images_per_s=drawn.images_per_worker_s if drawn else None,
        cost_per_1000=None if each is None or made.reused else 1000 * each, currency=made.prices.currency,
        accepted=passed / (passed + counts.rejected) if judged else None,
        against=_against(against, len(side.candidate.seeds)) if against else None,
    )


def _against(found: Compared, seeds: int) -> Against:
    return Against(
        gain=told_gain(found.gain, seeds), word=found.gain.word, p_holm=found.gain.p_holm, at_worst=found.at_worst,
        smallest_detectable=found.smallest_detectable, why=found.why,
        guarded=None if found.guarded is None else told_gain(found.guarded, seeds),
    )


def sentence(row: Row, made: Comparison) -> str:
    """What is said of one run, for someone who reads nothing else."""
    against = row.against
    assert against
    gain, places = against.gain, words.decimals(against.gain)
    told = (f"{against.word}: {made.score_name} {words.points(gain.mean, places, signed=True)} points "
            f"{words.bounds(gain, signed=True)} against the reference")
    worse = "" if against.word == HELPED else f"; at worst {words.points(against.at_worst, places, signed=True)}"
    unseen = words.unseen(against.smallest_detectable, 70 if len(made.rows) == 2 else 65) if gain.low <= 0 <= gain.high else ""
    open_ = [unseen, words.sentence(against.why)] if against.word == UNDECIDED else []
    return " ".join(filter(None, [f"{told}{worse}.", *open_]))


def lines(made: Comparison, where: str) -> str:
    """What the command prints."""
    def part(name: str, text: str) -> list[str]:
        return wrap(text, words.WIDTH, initial_indent=f"{name:<11}", subsequent_indent=" " * 11)

    reference, *others = made.rows
    options = (f"{name}: {' | '.join(words.short(one, VALUE) for one in values)}" for name, values in made.differs.items())
    return "\n".join([
        *part("compared", f"{words.short(made.score_name)} of the candidates on {made.n_images:,} locked test images × "
                          f"{words.seeds(made.n_seeds, 'confirm')}, the same for all"),
        *(line for at, text in enumerate(options) for line in part("" if at else "differs", text)),
        "",
        _cells("run", "α", "α*", "score", "points, 95 %", "at worst", "images/s", "1,000 kept", "accepted"),
        *(_line(one) for one in made.rows),
        "",
        *part("reference", reference.run),
        *(line for one in others for line in part("verdict", f"{one.run} {sentence(one, made)}")),
        *(line for warning in made.warnings for line in part("warning", warning)),
        f"looks      {made.test_looks} at these test images, this one included",
        f"report     {where}",
    ])


def _line(row: Row) -> str:
    against = row.against
    gain = against.gain if against else None
    places = words.decimals(gain) if gain else 1
    return _cells(
        row.run, f"{row.alpha:g}", f"{row.alpha_star:g}", f"{row.score:.3f}",
        f"{words.points(gain.mean, places, signed=True)} {words.bounds(gain, signed=True)}" if gain else "",
        words.points(against.at_worst, places, signed=True) if against else "",
        rate(row.images_per_s),
        comparing.ABSENT if row.cost_per_1000 is None else f"{words.money(row.cost_per_1000)} {row.currency}",
        comparing.ABSENT if row.accepted is None else f"{100 * row.accepted:.0f} %")


def rate(images_per_s: float | None) -> str:
    """Images a second, or a dash."""
    return comparing.ABSENT if images_per_s is None else f"{images_per_s:,.{0 if images_per_s >= 100 else 1}f}"


def _cells(run: str, *cells: str) -> str:
    return (f"{run:<16}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, (6, 6, 7, 23, 9, 10, 12, 10), strict=True))).rstrip()


def page(made: Comparison) -> str:
    """``report.html``: one file, nothing fetched, everything escaped."""
    gains = [one.against.gain for one in made.rows if one.against]
    least = max((one.against.smallest_detectable for one in made.rows if one.against), default=0.0)
    said = {one.run: sentence(one, made) for one in made.rows if one.against}
    return environment().get_template("compared.html.j2").render(
        made=made, said=said, rate=rate, scale=around_zero(gains, least), word=next(one.against.word for one in made.rows if one.against)
        if len(gains) == 1 else "")
