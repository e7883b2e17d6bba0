"""COLD. The only file that knows what α means: the synthetic share of a training set.

``mix`` builds the training set of one α, ``choose`` names the candidate from validation, ``verdict`` judges it on the
locked test. What is asked for is trained, or refused: nothing is capped.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from job import statistics
from job.errors import DataError, JobError, QualityError, SettingsError
from job.records import ClassTake, ClassWords, Mix
from job.results import Choice, TrialResult, Verdict

ALPHAS = "SALTWORKS_SWEEP__ALPHAS"
FEW_SEEDS = 5
LATE_SHARE = 0.05       # of all that was learnt: more than this over the last tenth of the steps is no plateau
NOTHING_LEARNT = 0.05   # of the first loss: a smaller fall is noise of the batches


def sweep_alphas(alphas: Sequence[float]) -> tuple[float, ...]:
    """The grid, ascending, each once. Raises ``SettingsError`` unless all are in [0, 1], 0 is there, and one is between."""
    grid = sorted({float(alpha) + 0.0 for alpha in alphas})   # + 0.0: no negative zero
    for alpha in grid:
        if not 0 <= alpha <= 1:
            raise SettingsError(f"α = {alpha} is no share of a training set", f"keep {ALPHAS} between 0 and 1")
    if 0.0 not in grid:
        raise SettingsError("without α = 0 there is nothing to compare with", f"add 0 to {ALPHAS}")
    if not any(0 < alpha < 1 for alpha in grid):
        raise SettingsError("no α between 0 and 1 is to be tried", f"add one, such as 0.5, to {ALPHAS}")
    return tuple(grid)


def total_synthetic(alpha: float, n_real: int, alphas: Sequence[float]) -> int:
    """Synthetic images beside ``n_real`` real ones: ``round(α/(1−α)·n_real)``; at α = 1 as many as the largest below 1.

    Raises ``SettingsError`` where α = 1 has no such α to follow, or where a share above 0 comes to no image at all.
    """
    if not 0 <= alpha <= 1:
        raise SettingsError(f"α = {alpha} is no share of a training set", f"keep {ALPHAS} between 0 and 1")
    if alpha == 1:
        below = [one for one in alphas if 0 < one < 1]
        if not below:
            raise SettingsError("α = 1 takes as many images as the largest α below 1, and there is none",
                                f"add one, such as 0.9, to {ALPHAS}")
        return total_synthetic(max(below), n_real, alphas)
    share = Fraction(str(float(alpha)))   # .9 means nine tenths, not the nearest binary fraction
    total = round(share / (1 - share) * n_real)
    if share and not total:
        raise SettingsError(f"α = {alpha} of a set with {n_real} real images is less than one synthetic image",
                            f"raise the smallest α above 0 in {ALPHAS} or leave it out")
    return total


def allocate(total: int, class_counts: Sequence[int], rule: str = "proportional") -> tuple[int, ...]:
    """How many of ``total`` images go to each class, by largest remainder (Hamilton), ties to the earlier class.

    ``proportional`` follows the real ``class_counts``; ``equal`` gives every class the same. Each class gets its exact
    share rounded down or up. Raises ``SettingsError`` on another rule, ``DataError`` where all counts are zero.
    """
    if rule not in ("proportional", "equal"):
        raise SettingsError(f"no allocation is called {rule!r}", "use proportional or equal")
    weights = [int(count) if rule == "proportional" else 1 for count in class_counts]
    whole = sum(weights)
    if not whole:
        raise DataError("no class has a real training image to follow", "give at least one class training images")
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: -(total * weights[at] % whole))   # stable: class order
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return tuple(shares)


def needed(alphas: Sequence[float], class_counts: Sequence[int], rule: str = "proportional") -> tuple[int, ...]:
    """Kept synthetic images of each class that serve every α of the grid. Raises as ``total_synthetic``, ``allocate``."""
    n_real = sum(class_counts)
    takes = [allocate(total_synthetic(alpha, n_real, alphas), class_counts, rule) for alpha in alphas]
    return tuple(max(of_class) for of_class in zip(*takes, strict=True))


def check_supply(needed: Sequence[int], supply: Sequence[int], names: Sequence[str]) -> None:
    """Raise ``SettingsError`` before anything is drawn if a class is to get fewer images than the largest α needs."""
    short = _shortage(needed, supply, names)
    if short:
        raise SettingsError(f"the largest α needs more synthetic images than are planned: {short}",
                            f"set SALTWORKS_GENERATOR__IMAGES_PER_CLASS to {max(needed)} or auto, "
                            f"or lower the largest α below 1 in {ALPHAS}")


def mix(
    alpha: float,
    alphas: Sequence[float],
    real_ids: Sequence[str],
    real_labels: Sequence[int],
    words: Sequence[ClassWords],
    kept: Mapping[str, np.ndarray],
    rule: str = "proportional",
) -> Mix:
    """The training set at one α: all real images (none at α = 1), and the first kept synthetic ones of each class.

    ``kept``: class key → bool over indices from 0. Taking the lowest kept indices keeps the templates in balance, and
    nests the sets: of two α the larger takes all that the smaller takes wherever the exact share of a class grows by
    an image or more (below that, largest remainders may take one image back).
    Raises ``DataError`` without real images or on a label that ``words`` lacks, ``QualityError`` naming the shortfall.
    """
    if not real_ids or len(real_ids) != len(real_labels):
        raise DataError(f"{len(real_ids)} real training images have {len(real_labels)} labels", "give every class real images")
    counts = [0] * len(words)
    place = {one.label: at for at, one in enumerate(words)}
    for label, count in zip(*np.unique(np.asarray(real_labels, dtype=int), return_counts=True), strict=True):
        if label not in place:
            raise DataError(f"a real training image has the unknown label {label}", "index the real images again")
        counts[place[label]] = int(count)
    takes = allocate(total_synthetic(alpha, len(real_ids), alphas), counts, rule)
    none = np.zeros(0, dtype=bool)
    found = [np.flatnonzero(kept.get(one.key, none)) for one in words]
    short = _shortage(takes, [len(indices) for indices in found], [one.name for one in words])
    if short:
        raise QualityError(f"α = {alpha} needs more synthetic images than were kept: {short}",
                           f"lower SALTWORKS_FILTER__MINIMUM or the largest α in {ALPHAS}, or raise SALTWORKS_FILTER__MAX_ROUNDS")
    synthetic = tuple(
        _take(one, kept[one.key], int(indices[count - 1]) + 1, count)
        for one, indices, count in zip(words, found, takes, strict=True) if count
    )
    real = () if alpha == 1 else tuple(real_ids)
    return Mix(alpha, sum(takes) / (sum(takes) + len(real)), real, synthetic)


def choose(results: Sequence[TrialResult]) -> Choice:
    """The candidate: the best mean validation accuracy over α > 0, ties to less salt.

    ``one_se_alpha`` is the smallest α > 0 whose mean difference to it, paired by seed, is within one standard error of
    that difference; with one seed there is no error and only a tie counts.
    Raises ``JobError`` unless all were judged on validation, alike, with one result at α = 0 and another above.
    """
    _alike(results, "val")
    arms = sorted(results, key=lambda one: one.alpha)
    if len({one.alpha for one in arms}) < len(arms) or len(arms) < 2 or arms[0].alpha != 0:
        raise JobError(f"cannot choose among α = {', '.join(str(one.alpha) for one in arms)}")
    baseline, *salted = arms
    best = max(salted, key=lambda one: int(one.correct_SN.sum(dtype=np.int64)))   # whole numbers; the first on a tie
    accuracy = float(best.correct_SN.mean(dtype=float))
    close = next(one.alpha for one in salted if _within_one_error(best.correct_SN, one.correct_SN))
    return Choice(best.alpha, accuracy, accuracy - float(baseline.correct_SN.mean(dtype=float)), close)


def interior_optimum(results: Sequence[TrialResult], candidate: float) -> bool:
    """Whether the curve may be said to rise and fall: both neighbours of the candidate are lower beyond their interval.

    On point estimates that claim is false on most plateaus. Raises ``JobError`` unless all were judged on validation,
    alike, and the candidate is among them.
    """
    _alike(results, "val")
    arms = sorted(results, key=lambda one: one.alpha)
    alphas = [one.alpha for one in arms]
    if candidate not in alphas:
        raise JobError(f"α = {candidate} was not tried")
    at = alphas.index(candidate)
    if not 0 < at < len(arms) - 1 or not statistics.judgeable(arms[at].correct_SN):
        return False
    return all(statistics.interval(arms[at].correct_SN, arms[beside].correct_SN).low > 0 for beside in (at - 1, at + 1))


def verdict(candidate: TrialResult, baseline: TrialResult) -> Verdict:
    """helped, hurt or no detectable difference, from fresh paired seeds on the locked test.

    With one seed, or fewer than ten images, the word is "no verdict", the interval [−1, 1], and ``would_decide`` says why.
    Raises ``JobError`` unless both were judged on the test, alike, and the baseline is α = 0.
    """
    _alike((candidate, baseline), "test")
    if baseline.alpha != 0 or candidate.alpha == 0:
        raise JobError(f"a verdict compares α > 0 with α = 0, not {candidate.alpha} with {baseline.alpha}")
    a, b = candidate.correct_SN, baseline.correct_SN
    if not statistics.judgeable(a):
        why = ("one confirm seed gives no verdict: set SALTWORKS_SWEEP__CONFIRM_SEEDS to at least 5" if len(a) < 2
               else f"{a.shape[1]} test images give no verdict: judge on {statistics.MIN_IMAGES} or more")
        return Verdict(statistics.NO_VERDICT, 0.0, statistics.unknown(a, b), 1.0, why)
    gain = statistics.interval(a, b)
    word = statistics.word(gain)
    open_end = statistics.would_decide(a, b) if word == statistics.UNDECIDED else ""
    star = candidate.alpha if word == statistics.HELPED else 0.0
    return Verdict(word, star, gain, statistics.smallest_detectable(gain), open_end)


def few_seeds(confirm_seeds: int) -> str:
    """A warning where the confirmation has too few seeds to find much; empty where it has enough."""
    if confirm_seeds >= FEW_SEEDS:
        return ""
    finds = "gives no verdict" if confirm_seeds < 2 else "finds only large gains"
    return (f"a confirmation with {confirm_seeds} seed{'s' * (confirm_seeds != 1)} {finds}: "
            f"set SALTWORKS_SWEEP__CONFIRM_SEEDS to {FEW_SEEDS} or more, 10 for a test of 600 images")


def convergence(baseline: TrialResult, steps: int, limit: float = 0.1, low_loss: float = 0.05) -> str:
    """A warning if α = 0 is still learning after ``steps``, for then any larger set looks better; empty if it is not.

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
    budget = f"set SALTWORKS_TRAIN__STEPS={2 * steps}"
    if learnt <= NOTHING_LEARNT * first:
        return (f"α = 0 has learnt nothing: in {steps} steps its training loss went from {first:.3g} to {loss:.3g} (median of "
                f"{len(baseline.seeds)} seeds): raise SALTWORKS_TRAIN__LEARNING_RATE tenfold or {budget}")
    return (f"α = 0 has not converged: in {steps} steps its training loss went from {first:.2g} to {loss:.2g}, by {fall:.0%} over "
            f"the last tenth (median of {len(baseline.seeds)} seeds), so a gain may be the budget's: {budget}")


def _take(words: ClassWords, kept: np.ndarray, hi: int, count: int) -> ClassTake:
    # ends at the last taken index, so that images kept beyond it leave the id of the mix alone
    return ClassTake(words, hi, np.packbits(np.asarray(kept[:hi], dtype=bool)).tobytes(), count)


def _shortage(needed: Sequence[int], supply: Sequence[int], names: Sequence[str], shown: int = 3) -> str:
    """What is missing, in total and by class; empty where nothing is."""
    short = [(name, want, have) for name, want, have in zip(names, needed, supply, strict=True) if have < want]
    listed = ", ".join(f"{name} {want - have} ({have} of {want})" for name, want, have in short[:shown])
    more = f" and {len(short) - shown} more classes" if len(short) > shown else ""
    return f"{sum(want - have for _, want, have in short)} missing: {listed}{more}" if short else ""


def _alike(results: Sequence[TrialResult], judged_on: str) -> None:
    """Raise ``JobError`` unless all results can be compared image by image and seed by seed."""
    for one in results:
        if one.judged_on != judged_on:
            raise JobError(f"trial {one.trial} was judged on {one.judged_on}, not on {judged_on}")
        if one.seeds != results[0].seeds or len(set(one.seeds)) < len(one.seeds):
            raise JobError(f"trials {results[0].trial} and {one.trial} are not paired by seed")
        if one.correct_SN.shape != results[0].correct_SN.shape or one.correct_SN.shape[:1] != (len(one.seeds),):
            raise JobError(f"trials {results[0].trial} and {one.trial} were not judged on the same images")


def _within_one_error(best_SN: np.ndarray, other_SN: np.ndarray) -> bool:
    """Whether the mean paired difference is at most its standard error over seeds."""
    per_seed = best_SN.mean(axis=1, dtype=float) - other_SN.mean(axis=1, dtype=float)
    error = float(per_seed.std(ddof=1)) / len(per_seed) ** 0.5 if len(per_seed) > 1 else 0.0
    return float(per_seed.mean()) <= error
