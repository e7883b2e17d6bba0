"""COLD. The candidate that validation names, and what the locked test says of it.

``choose`` looks at validation alone, ``verdict`` at fresh seeds on the locked test; docs/statistics.md has the formulas.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from job import statistics
from job.errors import DataError, JobError
from job.results import Choice, Control, Interval, TrialResult, Verdict
from job.runplan import Objective

ROUNDING = 1e-9         # of sums of weights that are no whole numbers
FEW_SEEDS = 5
LATE_SHARE = 0.05       # of all that was learnt: more than this over the last tenth of the steps is no plateau
NOTHING_LEARNT = 0.05   # of the first loss: a smaller fall is noise of the batches
MOST_BUDGET = 10        # times the steps that were spent: beyond, an extrapolation says nothing


def weights(objective: Objective, labels_N: np.ndarray) -> np.ndarray | None:
    """What each judged image counts in the objective, float (N,) in sum 1; None where all count alike.

    Balanced accuracy is the mean of the classes' recalls (Brodersen et al. 2010); the recall of several classes is theirs.
    Raises ``DataError`` if no judged image is of a class that counts.
    """
    if objective.kind == "accuracy":
        return None
    counted = objective.labels or tuple(np.unique(labels_N).tolist())
    missing = [label for label in counted if not (labels_N == label).any()]
    if missing or not counted:
        raise DataError(f"the objective is {objective.kind}, and no judged image is of class number {missing[:1]}",
                        "name classes of which validation and test have images in SALTWORKS_SWEEP__OBJECTIVE_CLASSES")
    found = np.zeros(len(labels_N))
    for label in counted:
        mine = labels_N == label
        found[mine] = 1 / (len(counted) * mine.sum())
    return found


def choose(results: Sequence[TrialResult], weights_N: np.ndarray | None = None, guard: float = 0.0) -> Choice:
    """The candidate: the best mean objective on validation over α > 0, ties to less salt.

    With ``weights_N`` only an α whose accuracy is not below that of α = 0 by more than ``guard`` is eligible; if none
    is, the best is named all the same, and the verdict will hold the guard against it.

    ``one_se_alpha`` is the smallest α > 0 whose mean difference to it, paired by seed, is within one standard error of
    that difference; with one seed there is no error and only a tie counts.
    Raises ``JobError`` unless all were judged on validation, alike, with one result at α = 0 and another above.
    """
    arms = _curve(results)
    rights = np.array([one.correct_SN.sum(dtype=np.int64) for one in arms], float)   # whole numbers: a tie is a tie
    scores = [statistics.score(one.correct_SN, weights_N=weights_N) for one in arms]
    cells = arms[0].correct_SN.size
    at = int(_best(rights, rights) if weights_N is None else _best(_rounded(scores), rights, (guard + ROUNDING) * cells))
    best = arms[at].correct_SN
    close = next(one.alpha for one in arms[1:] if _within_one_error(best, one.correct_SN, weights_N))
    return Choice(arms[at].alpha, scores[at], scores[at] - scores[0], close)


def stability(
    results: Sequence[TrialResult], weights_N: np.ndarray | None = None, guard: float = 0.0, *, draws: int = 1000, seed: int = 0
) -> tuple[tuple[float, float], ...]:
    """Each α above 0, and the share of bootstrap draws of seeds and images in which ``choose`` would name it: in sum 1.

    The same rule, guard and ties included. ``weights_N`` stay what they are: drawn again is the weighted sum, not how many
    images a class has. Raises ``JobError`` as ``choose`` does.
    """
    arms = _curve(results)
    weights_KN = np.ones((1, arms[0].correct_SN.shape[1]))
    if weights_N is not None:
        weights_KN = np.vstack([weights_N, weights_KN])
    sums = statistics.resampled([one.correct_SN for one in arms], weights_KN, draws=draws, seed=seed)
    scores, rights = sums[0] / len(arms[0].seeds), sums[-1]
    at = _best(rights, rights) if weights_N is None else _best(_rounded(scores), rights, (guard + ROUNDING) * arms[0].correct_SN.size)
    shares = np.bincount(at, minlength=len(arms))[1:] / draws
    return tuple((one.alpha, float(share)) for one, share in zip(arms[1:], shares, strict=True))


def interior_optimum(results: Sequence[TrialResult], candidate: float, weights_N: np.ndarray | None = None) -> bool:
    """Whether the curve may be said to rise and fall: both neighbours of the candidate are lower beyond their interval.

    On point estimates that claim is false on most plateaus. A neighbour of fewer seeds (``halving``) is compared on those.
    Raises ``JobError`` unless all were judged on validation, alike, and the candidate is among them.
    """
    fewest = min(len(one.seeds) for one in results)
    alike([first(one, fewest) for one in results], "val")
    arms = sorted(results, key=lambda one: one.alpha)
    alphas = [one.alpha for one in arms]
    if candidate not in alphas:
        raise JobError(f"α = {candidate} was not tried")
    at = alphas.index(candidate)
    return 0 < at < len(arms) - 1 and all(lead(arms[at], arms[beside], weights_N).low > 0 for beside in (at - 1, at + 1))


def lead(one: TrialResult, other: TrialResult, weights_N: np.ndarray | None = None) -> Interval:
    """By how much one arm of the sweep exceeds another, on the seeds that both have; [−1, 1] where too few are judged."""
    n = min(len(one.seeds), len(other.seeds))
    return statistics.judged(first(one, n).correct_SN, first(other, n).correct_SN, weights_N=weights_N)


def first(one: TrialResult, seeds: int) -> TrialResult:
    """The same with its first so many seeds alone."""
    rows = {name: getattr(one, name)[:seeds] for name in ("seeds", "correct_SN", "first_loss_S", "train_loss_S", "late_gain_S")}
    return replace(one, **rows)


def score(one: TrialResult, weights_N: np.ndarray | None = None) -> float:
    """The objective, rounded so that sums in another order tie."""
    return round(statistics.score(one.correct_SN, weights_N=weights_N) / ROUNDING) * ROUNDING


def verdict(candidate: TrialResult, baseline: TrialResult, weights_N: np.ndarray | None = None, guard: float = 0.0) -> Verdict:
    """helped, hurt or no detectable difference, from fresh paired seeds on the locked test.

    With ``weights_N`` it judges the objective that they make. "helped" is then withheld if accuracy fell by more than
    ``guard``, and the guarded difference of accuracies comes with its interval.

    With one seed, or fewer than ten images, the word is "no verdict", the interval [−1, 1], and ``would_decide`` says why.
    Raises ``JobError`` unless both were judged on the test, alike, and the baseline is α = 0.
    """
    alike((candidate, baseline), "test")
    if baseline.alpha != 0 or candidate.alpha == 0:
        raise JobError(f"a verdict compares α > 0 with α = 0, not {candidate.alpha} with {baseline.alpha}")
    a, b = candidate.correct_SN, baseline.correct_SN
    if not statistics.judgeable(a, weights_N=weights_N):
        n = a.shape[1] if weights_N is None else int((weights_N > 0).sum())
        why = ("one confirm seed gives no verdict: set SALTWORKS_SWEEP__CONFIRM_SEEDS to at least 5" if len(a) < 2
               else f"{n} test images give no verdict: judge on {statistics.MIN_IMAGES} or more")
        guarded = None if weights_N is None else statistics.unknown(a, b)
        return Verdict(statistics.NO_VERDICT, 0.0, statistics.unknown(a, b, weights_N=weights_N), 1.0, why, guarded)
    gain = statistics.interval(a, b, weights_N=weights_N)
    word = statistics.word(gain)
    open_end = statistics.would_decide(a, b, weights_N=weights_N) if word == statistics.UNDECIDED else ""
    guarded = None if weights_N is None else statistics.interval(a, b)
    if word == statistics.HELPED and (why := withheld(gain.mean, guarded, guard)):
        word, open_end = statistics.UNDECIDED, why
    star = candidate.alpha if word == statistics.HELPED else 0.0
    return Verdict(word, star, gain, statistics.smallest_detectable(gain), open_end, guarded)


def withheld(gain: float, guarded: Interval | None, guard: float) -> str:
    """Why a gain in the objective is not called help: accuracy fell by more than ``guard``. Empty where it did not."""
    if guarded is None or guarded.mean >= -guard:
        return ""
    return (f"the objective gained {100 * gain:+.2g} points, and accuracy fell by {-100 * guarded.mean:.2g}, more than the "
            f"{100 * guard:g} that SALTWORKS_SWEEP__GUARD allows")


def controls(
    candidate: TrialResult, baseline: TrialResult, others: Sequence[TrialResult], weights_N: np.ndarray | None = None
) -> tuple[Control, ...]:
    """What the arms of the confirmation say: each against α = 0, and the candidate against each, Holm over each of both.

    Raises ``JobError`` unless all were judged on the test, alike.
    """
    alike((candidate, baseline, *others), "test")
    effects = statistics.gains([(one.arm, one.correct_SN, baseline.correct_SN) for one in others], weights_N=weights_N)
    beyond = statistics.gains([(one.arm, candidate.correct_SN, one.correct_SN) for one in others], weights_N=weights_N)
    return tuple(Control(one.arm, one.alpha, effect, over) for one, effect, over in zip(others, effects, beyond, strict=True))


def few_seeds(confirm_seeds: int) -> str:
    """A warning where the confirmation has too few seeds to find much; empty where it has enough."""
    if confirm_seeds >= FEW_SEEDS:
        return ""
    finds = "gives no verdict" if confirm_seeds < 2 else "finds only large gains"
    return (f"a confirmation with {confirm_seeds} seed{'s' * (confirm_seeds != 1)} {finds}: "
            f"set SALTWORKS_SWEEP__CONFIRM_SEEDS to {FEW_SEEDS} or more, 10 for a test of 600 images")


def confounded(epochs: float | None) -> str:
    """A warning where epochs stand in for steps; empty where they do not."""
    if epochs is None:
        return ""
    return (f"confounded: every α was trained for {epochs:g} epochs, so a larger training set was trained for longer, and a gain may "
            "be the budget's: unset SALTWORKS_TRAIN__EPOCHS")


def convergence(
    baseline: TrialResult, steps: int, limit: float = 0.1, low_loss: float = 0.05, epochs: float | None = None
) -> str:
    """A warning if α = 0 is still learning after ``steps``, for then any larger set looks better; empty if it is not.

    It names the budget at which the loss would reach ``low_loss`` if it went on falling as a power of the steps, at least twice and at
    most ten times this one; in ``epochs`` where those were asked for.

    Still learning, by medians over seeds and unless the loss is at most ``low_loss`` (nothing is left to learn): over
    the last tenth of the steps the mean training loss fell by more than ``limit`` of itself, or by more than
    ``LATE_SHARE`` of all that was learnt since the first tenth; or it is still above half of the first, for a loss
    that never left chance level is flat as well. Raises ``JobError`` if the result is not of α = 0.
    """
    if baseline.alpha != 0:
        raise JobError(f"convergence is judged at α = 0, not at {baseline.alpha}")
    first_S, loss_S, fall_S = (np.asarray(row, float) for row in (baseline.first_loss_S, baseline.train_loss_S, baseline.late_gain_S))
    first, loss, fall = (float(np.median(row)) for row in (first_S, loss_S, fall_S))
    if not np.isfinite([first, loss, fall]).all():
        return f"training at α = 0 diverged (loss {loss}): lower SALTWORKS_TRAIN__LEARNING_RATE"
    late = float(np.median(fall_S * loss_S / np.maximum(1 - fall_S, 1e-9)))   # in nats: share × the loss a tenth before
    learnt = first - loss
    if loss <= low_loss or (fall <= limit and late <= LATE_SHARE * learnt and loss <= first / 2):
        return ""
    power = np.log1p(-fall) / np.log(0.9) if 0 < fall < 1 else 0.0
    more = float(np.clip((loss / low_loss) ** (1 / power), 2, MOST_BUDGET)) if power > 0 else 2.0   # a loss that rises tells nothing
    budget = (f"set SALTWORKS_TRAIN__STEPS={statistics.rounded_up(more * steps)}" if epochs is None else
              f"set SALTWORKS_TRAIN__EPOCHS={more * epochs:.2g}, or unset it")
    if learnt <= NOTHING_LEARNT * first:
        return (f"α = 0 has learnt nothing: in {steps} steps its training loss went from {first:.3g} to {loss:.3g} (median of "
                f"{len(baseline.seeds)} seeds): raise SALTWORKS_TRAIN__LEARNING_RATE tenfold or {budget}")
    return (f"α = 0 has not converged: in {steps} steps its training loss went from {first:.2g} to {loss:.2g}, by {fall:.0%} over "
            f"the last tenth (median of {len(baseline.seeds)} seeds), so a gain may be the budget's: {budget}")


def _curve(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The results by ascending α. Raises ``JobError`` unless they are one sweep, with α = 0 and another."""
    alike(results, "val")
    arms = sorted(results, key=lambda one: one.alpha)
    if len({one.alpha for one in arms}) < len(arms) or len(arms) < 2 or arms[0].alpha != 0:
        raise JobError(f"cannot choose among α = {', '.join(str(one.alpha) for one in arms)}")
    return arms


def _best(scores: np.ndarray, rights: np.ndarray, slack: float = np.inf) -> np.ndarray:
    """Index of the candidate, of arms along the first axis by ascending α: the first of the highest scores above α = 0.

    Only an arm with at most ``slack`` fewer right answers than α = 0 is eligible, or every one if none is.
    """
    able = rights[1:] >= rights[0] - slack
    return 1 + np.where(able | ~able.any(axis=0), scores[1:], -np.inf).argmax(axis=0)


def _rounded(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    return np.round(np.asarray(scores) / ROUNDING)


def alike(results: Sequence[TrialResult], judged_on: str) -> None:
    """Raise ``JobError`` unless all results can be compared image by image and seed by seed."""
    for one in results:
        if one.judged_on != judged_on:
            raise JobError(f"trial {one.trial} was judged on {one.judged_on}, not on {judged_on}")
        if one.seeds != results[0].seeds or len(set(one.seeds)) < len(one.seeds):
            raise JobError(f"trials {results[0].trial} and {one.trial} are not paired by seed")
        if one.correct_SN.shape != results[0].correct_SN.shape or one.correct_SN.shape[:1] != (len(one.seeds),):
            raise JobError(f"trials {results[0].trial} and {one.trial} were not judged on the same images")


def _within_one_error(best_SN: np.ndarray, other_SN: np.ndarray, weights_N: np.ndarray | None) -> bool:
    """Whether the mean paired difference is at most its standard error over seeds."""
    lead = statistics.per_seed(best_SN, weights_N=weights_N) - statistics.per_seed(other_SN, weights_N=weights_N)
    error = float(lead.std(ddof=1)) / len(lead) ** 0.5 if len(lead) > 1 else 0.0
    return float(lead.mean()) <= error + ROUNDING * (weights_N is not None)
