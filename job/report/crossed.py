"""The report of a cross-fitting: the verdict over all folds, and what each of them found. ``report.json`` and ``report.html``."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Literal

from pydantic import Field

from job import arms
from job.folds import CrossVerdict, Fold
from job.report import words
from job.report.model import Gain, Part, Report
from job.report.page import around_zero, environment
from job.results import Gain as Judged
from job.results import Interval
from job.statistics import HELPED, HURT

COVERS = "The interval covers other training sets of this kind and size, other seeds and other images."
OF_A_FOLD = ("SALTWORKS_SPLIT__FOLDS", "SALTWORKS_SWEEP__CONFIRM_SEEDS")   # in warnings that concern a fold's own verdict alone
FEW = 10   # folds through all repeats: with fewer, few degrees of freedom make the interval wide


class FoldRow(Part):
    """One fold: a run of its own."""

    number: int
    run: str
    report: str = Field(description="where the fold's own report lies")
    candidate: float
    n_train: int
    n_test: int
    baseline: float = Field(description="real images alone, on this fold")
    gain: float


class CrossReport(Part):
    schema_version: Literal[1] = 1
    dataset: str
    crossfit: str
    folds: int
    repeats: int
    verdict: Literal["helped", "hurt", "no detectable difference"]
    alpha_star: float = Field(description="the α that most folds chose if it helped, else 0")
    sentence: str
    score_name: str
    gain: Gain = Field(description="of choosing α and training with it, over real images alone; the 95 % interval over training sets, "
                                   "seeds and images together")
    smallest_detectable: float
    chosen: dict[str, int] = Field(description="α, and how many folds chose it")
    beyond: dict[str, Gain] = Field(description="by what the candidate exceeds each arm")
    beyond_words: dict[str, str] = Field(description="the same in words, with Holm's correction")
    rows: list[FoldRow]
    warnings: list[str]
    cost: float | None
    currency: str


def crossed(
    dataset: str, name: str, folds: int, found: Sequence[Fold], verdict: CrossVerdict, reports: Sequence[Report]
) -> CrossReport:
    """Everything that the page shows."""
    images = sum(one.n_test for one in found[:folds])
    seeds = sum(one.n_seeds for one in found)

    def gain(one: Interval | Judged) -> Gain:
        return Gain(mean=one.mean, low=one.low, high=one.high, standard_error=one.standard_error, n_images=images, n_seeds=seeds)

    costs = [one.cost for one in reports]
    few = (f"{len(found)} folds leave {len(found) - 1} degrees of freedom: raise SALTWORKS_SPLIT__REPEATS until there are {FEW}"
           if len(found) < FEW else "")
    told = dict.fromkeys(warning for one in reports for warning in one.warnings if not any(name in warning for name in OF_A_FOLD))
    return CrossReport(
        dataset=dataset, crossfit=name, folds=folds, repeats=len(found) // folds, verdict=verdict.word, alpha_star=verdict.alpha_star,
        sentence=sentence(verdict, found, folds, images, reports[0].score_name), score_name=reports[0].score_name, gain=gain(verdict.gain),
        smallest_detectable=verdict.smallest_detectable, chosen={f"{alpha:g}": often for alpha, often in verdict.chosen},
        beyond={one.name: gain(one) for one in verdict.beyond}, beyond_words={one.name: one.word for one in verdict.beyond},
        rows=[FoldRow(number=one.number + 1, run=one.run, report=one.where, candidate=one.candidate, n_train=one.n_train, n_test=one.n_test,
                      baseline=one.baseline, gain=one.gain) for one in found],
        warnings=[text for text in (few, *told) if text], cost=None if None in costs else sum(one for one in costs if one is not None),
        currency=reports[0].prices.currency,
    )


def sentence(verdict: CrossVerdict, found: Sequence[Fold], folds: int, images: int, score_name: str) -> str:
    """The verdict for someone who reads nothing else."""
    gain, repeats = verdict.gain, len(found) // folds
    base = sum(one.baseline for one in found) / len(found)
    tested = (f"Over {folds} folds, drawn {repeats} time{'s' * (repeats != 1)}, in which each of {images:,} real images judged in turn, "
              f"choosing α on validation and training with it moved {score_name} by {words.points(gain.mean, signed=True)} points "
              f"{words.bounds(gain, signed=True)} from {base:.3f}.")
    chosen = ", ".join(f"{alpha:g} ({often})" for alpha, often in verdict.chosen)
    parts = [f"{words.HEADLINES[verdict.word]}.", tested, f"The folds chose α = {chosen}."]
    if verdict.word == HELPED:
        controls = [one for one in verdict.beyond if arms.find(one.name).control]
        shown = [one.name for one in controls if one.word == HELPED]
        open_ = [one.name for one in controls if one.word != HELPED]
        parts += [words.beyond_words(shown, open_) if controls else "", f"The recommended share is α* = {verdict.alpha_star:g}."]
    elif verdict.word == HURT:
        parts.append("The recommendation is to train on real images alone: α* = 0.")
    else:
        parts += [f"{verdict.why[:1].upper()}{verdict.why[1:]}." if verdict.why else words.unseen(verdict.smallest_detectable),
                  "Until shown otherwise α* = 0."]
    return " ".join([*filter(None, parts), COVERS])


def lines(made: CrossReport, where: str) -> str:
    """What the command prints."""
    each = ", ".join(words.points(row.gain, signed=True) for row in made.rows)
    return "\n".join([
        f"verdict    {made.verdict}: {made.score_name} {words.points(made.gain.mean, signed=True)} points "
        f"{words.bounds(made.gain, signed=True)}",
        f"           {made.folds} folds × {made.repeats}, {made.gain.n_images:,} real images, each a judge once per repeat",
        f"α*         {made.alpha_star:g}   (chosen by: {', '.join(f'α {alpha} {often}×' for alpha, often in made.chosen.items())})",
        *wrap(each, words.WIDTH, initial_indent="folds      ", subsequent_indent=" " * 11),
        *(f"arm        {name}: the candidate against it {words.points(gain.mean, 1, signed=True)} {words.bounds(gain, signed=True)}"
          for name, gain in made.beyond.items()),
        *(line for warning in made.warnings
          for line in wrap(warning, words.WIDTH, initial_indent="warning    ", subsequent_indent=" " * 11)),
        f"report     {where}",
    ])


def page(made: CrossReport) -> str:
    """``report.html``: one file, nothing fetched, everything escaped."""
    headline = words.HEADLINES[made.verdict]
    reach = [Gain(mean=row.gain, low=row.gain, high=row.gain, standard_error=0, n_images=row.n_test, n_seeds=1) for row in made.rows]
    return environment().get_template("crossed.html.j2").render(
        report=made, headline=headline, sentence=made.sentence.removeprefix(f"{headline}. "),
        scale=around_zero([made.gain, *reach, *made.beyond.values()], made.smallest_detectable))
