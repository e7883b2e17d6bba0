"""From measurements to the ``Report``: no drawing, no decision."""

import json
import os
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np

import job
from job import choosing, halving, statistics
from job.errors import redact, redact_all, redact_json
from job.generate import Committed
from job.ground import layout
from job.ground.bill import DRAWING, per
from job.records import Refusal, Split, Tally
from job.report import advice, beside, speed
from job.report.model import Arm, ClassRow, Confirmed, CostOf, Counts, Gain, Prices, Report, Spent
from job.report.words import verdict_paragraph
from job.results import Advice, Choice, Control, CostLine, Interval, TrialResult, Verdict
from job.runplan import Chip, RunPlan, plain

LIBRARIES = ("ray", "torch", "torchvision", "torchmetrics", "diffusers", "transformers", "pyarrow", "pillow", "numpy", "scikit-learn")
REFUSED = 20   # named in the report; all of them are in refused.json
ASIDE = {   # start of a reason: what all of its kind are counted as, without a name or a number
    "identical to ": "identical to another", "of one group with ": "of one group with a judged one",
    "its perceptual hash differs in ": "nearly identical to a judged one", "beyond the cap": "beyond the cap",
    "set aside by the source": "set aside by the source", "no part was published for it": "no part was published for it",
}
OTHERWISE = "for another reason"


@dataclass(frozen=True, slots=True)
class Found:
    """Everything that the rooms found out. ``tallies`` by class key."""

    plan: RunPlan
    split: Split
    tallies: Mapping[str, Tally]
    committed: Sequence[Committed]
    rounds: int
    results: Sequence[TrialResult]
    choice: Choice
    looks: int
    candidate: TrialResult
    baseline: TrialResult
    verdict: Verdict
    others: Sequence[TrialResult] = ()    # the arms of the confirmation
    controls: Sequence[Control] = ()      # and what they say
    curves: Sequence[TrialResult] = ()    # the arms of the sweep
    advice: Advice | None = None          # what a pilot expected
    chip: Chip | None = None              # what a GPU can do, where it was measured


def assemble(
    found: Found, warnings: Sequence[str], flags: Mapping[str, str], spent: Sequence[CostLine], refused: Sequence[Refusal],
    gpus: float = 0.0,
) -> Report:
    """The whole report. ``flags``: class key to the reason why it lies far below its peers. It holds no URL's secret.

    ``gpus``: held by a worker that draws, on average.
    """
    plan, choice, verdict = found.plan, found.choice, found.verdict
    on_val, on_test = (choosing.weights(plan.objective, found.split.part(name)["label"].to_numpy()) for name in ("val", "test"))
    arms = [_arm(one, found.results[0], on_val) for one in found.results]
    best = max((arm for arm in arms if len(arm.seeds) == len(arms[0].seeds)), key=lambda arm: (arm.val_accuracy, -arm.alpha))
    others = beside.beside(found, on_test)
    beyond = beside.beyond(verdict.word, others)
    classes = _classes(found, flags)
    curves = beside.curves([(one.arm, _arm(one, found.results[0], on_val)) for one in found.curves])
    counts = Counts(**{name: sum(getattr(row, name) for row in classes) for name in Counts.model_fields})
    rooms = _spent(spent)
    own = [one for one in found.committed if one.run == plan.run]
    confirmed = [_confirmed(one, on_test) for one in (found.baseline, found.candidate)]
    score_name = beside.score_name(plan)
    gain = told_gain(verdict.gain)
    return Report(
        dataset=plan.dataset, run=plan.run, edition=plan.edition,
        verdict=verdict.word, alpha_star=verdict.alpha_star, candidate=choice.candidate,
        sentence=verdict_paragraph(
            word=verdict.word, candidate=choice.candidate, gain=verdict.gain, baseline_accuracy=confirmed[0].test_accuracy,
            candidate_accuracy=confirmed[1].test_accuracy, smallest_detectable=verdict.smallest_detectable,
            would_decide=verdict.would_decide, score_name=score_name, beyond=beyond,
        ),
        gain=gain.mean, gain_interval=(gain.low, gain.high), gain_detail=gain,
        smallest_detectable=verdict.smallest_detectable, would_decide=verdict.would_decide, test_looks=found.looks,
        score_name=score_name, argmax_alpha=best.alpha,
        argmax_val_gain=best.val_accuracy - arms[0].val_accuracy, one_se_alpha=choice.one_se_alpha,
        interior_optimum=choosing.interior_optimum(found.results, choice.candidate, on_val),
        arms=arms, confirmed=confirmed, n_train=sum(plan.n_train), n_val=plan.n_val, n_test=plan.n_test, n_aside=plan.n_aside,
        aside=_aside(found.split), n_refused=len(refused), refused=_told(refused[:REFUSED]),
        counts=counts, rounds=found.rounds, classes=classes, warnings=[*warnings, *_missing(plan, refused)], spent=rooms,
        wall_s=round(sum(one.wall_s for one in rooms), 2), cost=per(1, spent),
        cost_of=_cost_of(spent, counts.kept, sum(one.made for one in own),
                         len(found.results) + len(found.curves) + len(found.others) + 2, verdict),
        drawing=speed.drawing(found.chip, own, rooms, gpus), reused=_reused(found),
        prices=Prices(**plain(plan.price)),
        generator=_shown({
            "name": plan.recipe.generator, **_origin(found), "weights": plan.recipe.weights, "recipe": plan.recipe.id,
            "options": plan.generator_options, "templates": " | ".join(plan.recipe.templates),
        }),
        settings=_shown({name: value for name, value in plain(plan).items() if name not in ("classes", "recipe", "price")}),
        versions={"saltworks": job.__version__, "python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
        hardware={"machine": platform.machine(), "system": platform.system(), "processors": str(os.cpu_count())},
        beside=others, beyond=beyond, curves=curves, seed_gains=beside.seed_gains(*confirmed),
        stability=beside.stability(halving.finalists(found.results), on_val, plan.objective.guard),
        guarded=told_gain(verdict.guarded) if verdict.guarded else None,
        held=beside.held(plan, found.looks), advice=advice.advised(found.advice, verdict) if found.advice else None,
    )


def _shown(value: Any) -> Any:
    """The same with no secret of a URL in it: a plan that goes on holds sources as they were given."""
    def text(one: str) -> str:
        try:
            options = isinstance(json.loads(one), dict)   # of a plug: JSON, where a URL ends with its string
        except ValueError:
            options = False
        return redact_json(one) if options else redact(one)

    return redact_all(value, text)


def _aside(split: Split) -> dict[str, int]:
    """How many real images were set aside, by kind of reason: a reason itself may name a real file."""
    reasons = split.part("aside")["reason"].to_pylist()
    kinds = (next((kind for start, kind in ASIDE.items() if one.startswith(start)), OTHERWISE) for one in reasons)
    return dict(sorted(Counter(kinds).items()))


def _told(refused: Sequence[Refusal]) -> list[str]:
    return [redact(f"{one.item}: {one.reason}") for one in refused]


def _missing(plan: RunPlan, refused: Sequence[Refusal]) -> list[str]:
    """The warning that real files could not be used, if there are any."""
    if not refused:
        return []
    files = "1 real file" if len(refused) == 1 else f"{len(refused)} real files"
    return [f"{files} could not be used, see {layout.Run(plan.dataset, plan.run).refused()}: {_told(refused[:1])[0]}"]


def _origin(found: Found) -> dict[str, str]:
    """Where the images come from, as their commits say."""
    return dict(zip(("model", "revision", "licence"), found.committed[0].origin, strict=True)) if found.committed else {}


def _arm(result: TrialResult, baseline: TrialResult, weights_N: np.ndarray | None) -> Arm:
    """What validation says of a trial, alone and against α = 0."""
    lead = choosing.lead(result, baseline, weights_N) if result.trial != baseline.trial else None
    per_seed = statistics.per_seed(result.correct_SN, weights_N=weights_N)
    error = float(per_seed.std(ddof=1) / np.sqrt(len(per_seed))) if len(per_seed) > 1 else 0.0
    return Arm(
        alpha=result.alpha, realised_alpha=result.realised_alpha, n_real=result.n_real, n_synthetic=result.n_synthetic,
        samples_seen=result.samples_seen, seeds=list(result.seeds), val_accuracy=float(per_seed.mean()),
        val_standard_error=error, val_accuracies=per_seed.tolist(),
        val_gain=told_gain(lead) if lead and lead.df else None,
    )


def _confirmed(result: TrialResult, weights_N: np.ndarray | None) -> Confirmed:
    per_seed = statistics.per_seed(result.correct_SN, weights_N=weights_N)
    return Confirmed(alpha=result.alpha, seeds=list(result.seeds), test_accuracy=float(per_seed.mean()),
                     test_accuracies=per_seed.tolist())


def told_gain(interval: Interval | statistics.Gain, n_seeds: int = 0, standard_error: float = 0.0) -> Gain:
    return Gain(mean=interval.mean, low=interval.low, high=interval.high, n_images=interval.n_images,
                n_seeds=getattr(interval, "n_seeds", n_seeds), standard_error=getattr(interval, "standard_error", standard_error))


def _classes(found: Found, flags: Mapping[str, str]) -> list[ClassRow]:
    """A row per class; its test accuracy and gain where the test has images of it."""
    plan = found.plan
    targets = found.split.part("test")["label"].to_numpy()
    names = [words.name for words in plan.classes]
    gains = {one.name: one for one in statistics.by_class(found.candidate.correct_SN, found.baseline.correct_SN, targets, names)}
    usual = float(np.median(plan.n_train))
    rows = []
    for words, n_real in zip(plan.classes, plan.n_train, strict=True):
        tally = found.tallies[words.key]
        mine = targets == words.label
        gain = gains.get(words.name)
        rows.append(ClassRow(
            name=words.name, n_real=n_real, rare=n_real <= usual / 2, planned=tally.drawn, **tally.states, scores=dict(tally.means),
            flag=flags.get(words.key, ""),
            n_test=int(mine.sum()), test_accuracy_real_only=_accuracy(found.baseline, mine),
            test_accuracy_candidate=_accuracy(found.candidate, mine),
            test_accuracy_beside={one.arm: accuracy for one in found.others if (accuracy := _accuracy(one, mine)) is not None},
            gain=told_gain(gain, len(found.candidate.seeds)) if gain else None, gain_word=gain.word if gain else "",
        ))
    return rows


def _cost_of(spent: Sequence[CostLine], kept: int, drawn: int, trials: int, verdict: Verdict) -> CostOf:
    return CostOf(
        million_drawn=per(drawn / 1e6, spent, "generate"),
        kept_image=per(kept, spent, *DRAWING), published_image=per(kept, spent), trial=per(trials, spent, "sweep", "confirm"),
        point_gained=per(100 * verdict.gain.mean, spent) if verdict.word == statistics.HELPED else None,
    )


def _reused(found: Found) -> dict[str, int]:
    """Images that an earlier run, or another one beside this, has drawn and paid for."""
    reused: Counter[str] = Counter()
    for one in found.committed:
        if one.run != found.plan.run:
            reused[one.run] += one.unit.hi - one.unit.lo - len(one.failed)
    return dict(sorted(reused.items()))


def _accuracy(result: TrialResult, mine: np.ndarray) -> float | None:
    return float(result.correct_SN[:, mine].mean(dtype=float)) if mine.any() else None


def _spent(lines: Sequence[CostLine]) -> list[Spent]:
    """One entry per room, in the river's order."""
    rooms = ("plan", "ray", "generate", "measure", "pilot", "sweep", "confirm", "report")
    entries = []
    for room in [*rooms, *sorted({one.room for one in lines} - set(rooms))]:
        mine = [one for one in lines if one.room == room]
        if mine:
            entries.append(Spent(
                room=room, wall_s=round(sum(one.seconds for one in mine if one.kind == "wall"), 2),
                worker_s={one.kind: one.seconds for one in mine if one.kind != "wall"},
                gpu=any(one.gpu for one in mine), cost=per(1, mine),
            ))
    return entries
