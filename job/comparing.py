"""COLD. Finished runs side by side: which may be compared, what differs between them, and how sure their difference is.

Their candidates are compared as the arms of one run are: on the same test images under the same seeds (common random numbers), by
the interval of ``job/statistics.py``. What a training hangs on beside its images must be alike; what makes those images may differ.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scipy.special import stdtrit

from job import choosing, statistics
from job.errors import DataError
from job.ground.lineage import canonical
from job.records import Split
from job.results import Gain, Interval, TrialResult
from job.runplan import RunPlan, plain

ABSENT = "–"
PARTS = {"test": "locked test", "val": "validation", "train": "training set"}


@dataclass(frozen=True, slots=True)
class Compared:
    """The candidate of one run minus that of the reference."""

    gain: Gain                       # its word by Holm's correction over all that are compared
    at_worst: float                  # with all of them above theirs in 97.5 % of cases
    smallest_detectable: float       # by the word, so among all that are compared
    why: str                         # what would decide, or why the interval's own word does not stand; empty where decided
    guarded: Interval | None         # of accuracy, where the objective is another


def check(reference: tuple[RunPlan, Split], other: tuple[RunPlan, Split]) -> None:
    """Raise ``DataError`` unless both were split, trained and judged alike, naming what differs and the cure."""
    (mine, split), (its, others) = reference, other
    for part, name in PARTS.items():
        here, there = (one.part(part).select(["digest", "label"]) for one in (split, others))
        if not here.equals(there):
            both = len({*here["digest"].to_pylist()} & {*there["digest"].to_pylist()})
            raise DataError(f"{_both(mine, its)}: another {name} ({here.num_rows} and {there.num_rows} images, {both} of them in both)",
                            "run both on the same real images, under the same SALTWORKS_REAL and SALTWORKS_SPLIT")
    wanted, found = _alike(mine), _alike(its)
    other_ones = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    if other_ones:
        told = "; ".join(f"{name} is {_text(wanted, name)} in the first and {_text(found, name)} in the second" for name in other_ones)
        cure = " ".join(f"SALTWORKS_{name.upper().replace('.', '__')}={'' if wanted[name] is None else _text(wanted, name)}"
                        for name in other_ones if name in wanted)
        raise DataError(f"{_both(mine, its)}: {told}", f"run the second one again under {cure or 'the settings of the first'}")


def _both(mine: RunPlan, its: RunPlan) -> str:
    return f"runs {mine.run} and {its.run} cannot be compared"


def differs(plans: Sequence[RunPlan]) -> dict[str, tuple[str, ...]]:
    """What makes the images and their mixes otherwise, or at another speed: setting to its value in every run."""
    told = [_recipe(one) for one in plans]
    rows = {name: tuple(_text(one, name) for one in told) for name in dict.fromkeys(name for one in told for name in one)}
    return {name: values for name, values in rows.items() if len(set(values)) > 1}


def judged(
    reference: TrialResult, others: Mapping[str, TrialResult], weights_N: Any = None, guard: float = 0.0
) -> tuple[Compared, ...]:
    """Every other candidate, by run, minus the reference; words by Holm's correction over all.

    With ``weights_N`` it is the objective that they make, and "helped" is withheld where accuracy fell by more than ``guard``.
    Raises ``JobError`` unless all were judged on the test, alike.
    """
    choosing.alike((reference, *others.values()), "test")
    base = reference.correct_SN
    found = [(run, statistics.judged(one.correct_SN, base, weights_N=weights_N)) for run, one in others.items()]
    guarded = [None if weights_N is None else statistics.judged(one.correct_SN, base) for one in others.values()]
    return tuple(
        _compared(gain, interval, held, guard, len(found),
                  statistics.would_decide(others[run].correct_SN, base, weights_N=weights_N, of=len(found)) if interval.df else "")
        for gain, (run, interval), held in zip(statistics.corrected(found), found, guarded, strict=True))


def _compared(gain: Gain, interval: Interval, guarded: Interval | None, guard: float, of: int, open_end: str) -> Compared:
    alone = statistics.word(interval)
    why = "" if gain.word != statistics.UNDECIDED else open_end if alone == gain.word else (
        f"alone it would be told from zero; corrected for {of} comparisons (Holm, p = {gain.p_holm:.2g}) it is not")
    if gain.word == statistics.HELPED and (lost := choosing.withheld(gain.mean, guarded, guard)):
        gain, why = replace(gain, word=statistics.UNDECIDED), lost
    return Compared(gain, at_worst(interval, of), statistics.smallest_detectable(interval, of), why, guarded)


def at_worst(found: Interval, of: int = 1) -> float:
    """``D̄ − t(1 − .025/of, df)·√V``, −1 at least: of so many differences all lie above theirs in at least 97.5 % of cases.

    Of one it is the interval's low end, of several each has its share of the risk (Bonferroni, Dunn 1961). −1 where nothing can be judged.
    """
    return max(-1.0, found.mean - float(stdtrit(found.df, 1 - 0.025 / of)) * found.standard_error) if found.df else -1.0


def warnings(
    plans: Sequence[RunPlan], candidates: Sequence[TrialResult], baselines: Sequence[TrialResult], weights_N: Any = None
) -> list[str]:
    """What stands between the differences and the recipes that they are put down to; references first."""
    alphas = [one.alpha for one in candidates]
    told = [one for one in (choosing.few_seeds(len(plans[0].confirm_seeds)), choosing.confounded(plans[0].schedule.epochs)) if one]
    if len(set(alphas)) > 1:
        told.append(f"the candidates have other α ({', '.join(f'{one:g}' for one in alphas)}): compared is each recipe at the share that "
                    "its own validation chose")
    for plan, one in zip(plans[1:], baselines[1:], strict=True):
        gap = statistics.judged(one.correct_SN, baselines[0].correct_SN, weights_N=weights_N)
        if gap.df and statistics.word(gap) != statistics.UNDECIDED:
            told.append(f"real images alone, trained alike in both, gain {100 * gap.mean:+.2g} points from the reference to {plan.run}: "
                        "machines or libraries differ, and not the recipes alone")
    return told


def _alike(plan: RunPlan) -> dict[str, Any]:
    """What a training and its judgement hang on beside the images, by setting."""
    names = [plan.classes[label].name for label in plan.objective.labels]
    return dict(_flat({
        "task": {"name": plan.task, "options": json.loads(plan.task_options)}, "train": plain(plan.schedule),
        "sweep": {"objective": plan.objective.kind, "objective_classes": names, "guard": plan.objective.guard,
                  "confirm_seeds": len(plan.confirm_seeds)},   # of which the seeds themselves follow
    }))


def _recipe(plan: RunPlan) -> dict[str, Any]:
    """What the images and the mixes come from, by setting. Of a plan as it was frozen, so without secrets."""
    recipe = plan.recipe
    return dict(_flat({
        "generator": {
            "name": recipe.generator, "options": json.loads(plan.generator_options), "weights": recipe.weights,
            "templates": recipe.templates, "descriptions": {one.name: one.description for one in plan.classes},
            "size_px": recipe.size_px, "seed": recipe.seed, "batch_size": plan.batch_size,
        },
        "images to keep": sum(plan.quotas),
        "measure": {"metrics": {one.name: json.loads(one.options) | {"weights": one.weights} for one in plan.metrics}},
        "filter": plain(plan.filter), "mixing": plain(plan.salting),
        "sweep": {"alphas": plan.alphas, "seeds": len(plan.sweep_seeds), "halving": plan.halving},
    }))


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _text(values: Mapping[str, Any], name: str) -> str:
    """A value in a line: text as it is, else JSON."""
    if name not in values:
        return ABSENT
    return values[name] if isinstance(values[name], str) else canonical(values[name])
