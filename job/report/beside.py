"""What stands beside the candidate in the report: control arms, curves of arms, stability, paired seeds, what was held fixed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from job import arms, choosing, plugs, statistics
from job.report.model import Arm, ArmCurve, Beside, Confirmed, Gain, Often, SeedGain
from job.report.words import beyond_words
from job.results import Gain as Judged
from job.results import TrialResult
from job.runplan import RunPlan
from job.statistics import HELPED
from job.tasks import TASKS

if TYPE_CHECKING:
    from job.report.assemble import Found

OBJECTIVES = {"accuracy": "", "balanced_accuracy": "balanced accuracy", "recall": "recall of {names}"}


def score_name(plan: RunPlan) -> str:
    """What is maximised, in words."""
    names = ", ".join(plan.classes[label].name for label in plan.objective.labels)
    return OBJECTIVES[plan.objective.kind].format(names=names) or plugs.find(TASKS, plan.task, "task").score_name


def beside(found: "Found", weights_N: np.ndarray | None) -> list[Beside]:
    """One entry per arm of the confirmation."""
    def gain(one: Judged) -> Gain:
        return Gain(mean=one.mean, low=one.low, high=one.high, standard_error=one.standard_error, n_images=one.n_images,
                    n_seeds=len(found.candidate.seeds))

    made = []
    for result, control in zip(found.others, found.controls, strict=True):
        arm = arms.find(control.arm)
        values = statistics.per_seed(result.correct_SN, weights_N=weights_N)
        made.append(Beside(
            arm=control.arm, title=arm.title, asks=arm.asks, control=arm.control, alpha=control.alpha, n_real=result.n_real,
            n_synthetic=result.n_synthetic, samples_seen=result.samples_seen, test_accuracy=float(values.mean()),
            test_accuracies=values.tolist(), effect=gain(control.effect), effect_word=control.effect.word,
            beyond=gain(control.beyond), beyond_word=control.beyond.word,
        ))
    return made


def curves(points: Sequence[tuple[str, Arm]]) -> list[ArmCurve]:
    """The arms of the sweep, each with its α ascending."""
    names = dict.fromkeys(name for name, _ in points)
    return [ArmCurve(arm=one, title=arms.find(one).title, arms=[arm for name, arm in points if name == one]) for one in names]


def stability(results: Sequence[TrialResult], weights_N: np.ndarray | None, guard: float) -> list[Often]:
    """How often each α would be the candidate."""
    return [Often(alpha=alpha, share=share) for alpha, share in choosing.stability(results, weights_N, guard)]


def seed_gains(baseline: Confirmed, candidate: Confirmed) -> list[SeedGain]:
    """What each fresh seed says, for the two arms are paired by it."""
    pairs = zip(candidate.seeds, baseline.test_accuracies, candidate.test_accuracies, strict=True)
    return [SeedGain(seed=seed, gain=salted - real) for seed, real, salted in pairs]


def beyond(verdict: str, rows: Sequence[Beside]) -> str:
    """Whether the gain is more than its controls give; empty where nothing was gained, or no control was run."""
    controls = [one for one in rows if one.control]
    if verdict != HELPED or not controls:
        return ""
    return beyond_words([one.arm for one in controls if one.beyond_word == HELPED],
                        [one.arm for one in controls if one.beyond_word != HELPED])


def held(plan: RunPlan, looks: int) -> dict[str, str]:
    """What was the same for every arm, and what was touched how often."""
    schedule, salting = plan.schedule, plan.salting
    seen = (f"{schedule.samples_seen:,} in every training" if schedule.epochs is None
            else f"{schedule.epochs:g} epochs, so a larger set is trained for longer: confounded")
    only = ", ".join(plan.classes[label].name for label in salting.only)
    return {
        "images seen": seen, "batch": f"{schedule.batch_size}, always full",
        "schedule": f"AdamW, learning rate {schedule.learning_rate:g}, weight decay {schedule.weight_decay:g}, {schedule.precision}",
        "model and augmentation": f"{plan.task} {plan.task_options}; augmented arms {plan.augmented_options}",
        "seeds": f"{len(plan.sweep_seeds)} in the sweep, {len(plan.confirm_seeds)} fresh ones in the confirmation, the same for every arm"
                 + ("; the worse half of α left the sweep early (halving)" if plan.halving else ""),
        "salt": f"allocation {salting.allocation}{f' {only}' if only else ''}, supply {salting.supply}, weighting {salting.weighting}",
        "objective": score_name(plan) + (f", accuracy may fall by {100 * plan.objective.guard:g} points"
                                         if plan.objective.kind != "accuracy" else ""),
        "validation": f"{plan.n_val:,} real images, judged {len(plan.alphas) + len(plan.curves)} arms",
        "locked test": f"{plan.n_test:,} real images, judged {2 + len(plan.arms)} arms in one look; looks in all: {looks}",
    }
