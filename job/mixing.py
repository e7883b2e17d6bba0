"""COLD. The only file that knows what α means: the synthetic share of a training set.

``mix`` builds the training set of one α, or of an arm that stands beside it. What is asked for is trained, or refused:
nothing is capped.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from job.arms import COPIES, PLAIN, Arm
from job.errors import DataError, QualityError, SettingsError
from job.records import ClassTake, ClassWords, Mix, Salting, Share

ALPHAS = "SALTWORKS_SWEEP__ALPHAS"
PROPORTIONAL = Salting()


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


def allocate(total: int, class_counts: Sequence[int], salting: Salting = PROPORTIONAL) -> tuple[int, ...]:
    """How many of ``total`` images go to each class, by largest remainder (Hamilton), ties to the earlier class.

    ``proportional`` follows the real ``class_counts``, ``equal`` gives every class the same, ``only`` follows the counts of
    its own classes and leaves the others without. Each class gets its exact share rounded down or up. Raises
    ``SettingsError`` on another rule or an ``only`` of none, ``DataError`` where all counts that are followed are zero.
    """
    rule = salting.allocation
    if rule not in ("proportional", "equal", "only"):
        raise SettingsError(f"no allocation is called {rule!r}", "use proportional, equal or only")
    if (rule == "only") != bool(salting.only):
        raise SettingsError(f"the allocation is {rule}, and {len(salting.only)} classes are named for it",
                            "set SALTWORKS_MIXING__ALLOCATION=only and name its classes in SALTWORKS_MIXING__ONLY, or neither")
    weights = [1 if rule == "equal" else int(count) if rule == "proportional" or at in salting.only else 0
               for at, count in enumerate(class_counts)]
    whole = sum(weights)
    if not whole:
        raise DataError("no class that is to get synthetic images has a real training image to follow",
                        "give at least one such class training images")
    shares = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda at: -(total * weights[at] % whole))   # stable: class order
    for at in by_remainder[: total - sum(shares)]:
        shares[at] += 1
    return tuple(shares)


def takes_at(alpha: float, alphas: Sequence[float], class_counts: Sequence[int], salting: Salting = PROPORTIONAL) -> tuple[int, ...]:
    """Synthetic images that each class gets at one α. Raises as ``total_synthetic``, ``allocate``."""
    return allocate(total_synthetic(alpha, sum(class_counts), alphas), class_counts, salting)


def needed(alphas: Sequence[float], class_counts: Sequence[int], salting: Salting = PROPORTIONAL) -> tuple[int, ...]:
    """Kept synthetic images of each class that serve every α of the grid. Raises as ``takes_at``."""
    takes = [takes_at(alpha, alphas, class_counts, salting) for alpha in alphas]
    return tuple(max(of_class) for of_class in zip(*takes, strict=True))


def check_alone(alphas: Sequence[float], alone: bool, class_counts: Sequence[int], salting: Salting, names: Sequence[str]) -> None:
    """Raise ``SettingsError`` if a training on synthetic images alone would lack a class: α = 1, or an arm at it (``alone``)."""
    if 1 not in alphas and not alone:
        return
    missing = [name for name, count, take in zip(names, class_counts, allocate(sum(class_counts) * len(names), class_counts, salting),
                                                 strict=True) if count and not take]
    if missing:
        raise SettingsError(f"synthetic images alone would be no image of {', '.join(missing[:3])}: {salting.allocation} gives it none",
                            f"leave 1 out of {ALPHAS}, and synthetic_only out of SALTWORKS_SWEEP__ARMS")


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
    there: Mapping[str, np.ndarray],
    salting: Salting = PROPORTIONAL,
    arm: Arm = PLAIN,
) -> Mix:
    """The training set at one α: all real images (none at α = 1), and the first synthetic ones of each class.

    ``there``: class key → bool over indices from 0, what the arm may take: kept, or for some all that were made. Taking the
    lowest of them keeps the templates in balance, and nests the sets: of two α the larger takes all that the smaller takes
    wherever the exact share of a class grows by an image or more (below that, largest remainders may take one image back).
    An arm of copies takes real images in their place, class by class as many. Raises ``DataError`` without real images or
    on a label that ``words`` lacks, ``QualityError`` naming the shortfall.
    """
    if not real_ids or len(real_ids) != len(real_labels):
        raise DataError(f"{len(real_ids)} real training images have {len(real_labels)} labels", "give every class real images")
    labels = np.asarray(real_labels, dtype=int)
    counts = _counts(labels, words)
    takes = takes_at(alpha, alphas, counts, salting)
    real = () if alpha == 1 else tuple(real_ids)
    if arm.balanced:
        present = [one.label for one, count in zip(words, counts, strict=True) if count]
        return Mix(alpha, 0.0, real, (), shares=tuple(Share(label, True, 1 / len(present)) for label in present))
    none = np.zeros(0, dtype=bool)
    found = [np.flatnonzero(there.get(one.key, none)) for one in words]
    asked = takes   # what the share is made of; what stands there may be more
    if salting.supply == "all" and alpha:
        takes = tuple(max(count, len(indices)) if count else 0 for count, indices in zip(takes, found, strict=True))
    shares = _shares(alpha, counts, asked, words) if salting.supply == "all" and 0 < alpha < 1 else ()
    realised = alpha if shares else sum(takes) / (sum(takes) + len(real))
    if arm.fills == COPIES:
        copies = _copies(real_ids, labels, words, takes)
        return Mix(alpha, realised, real, (), copies, shares, bool(shares) and salting.weighting == "loss")
    short = _shortage(takes, [len(indices) for indices in found], [one.name for one in words])
    if short:
        raise QualityError(f"α = {alpha} needs more synthetic images than were kept: {short}",
                           f"lower SALTWORKS_FILTER__MINIMUM or the largest α in {ALPHAS}, or raise SALTWORKS_FILTER__MAX_ROUNDS")
    synthetic = tuple(
        _take(one, there[one.key], int(indices[count - 1]) + 1, count)
        for one, indices, count in zip(words, found, takes, strict=True) if count
    )
    return Mix(alpha, realised, real, synthetic, (), shares, bool(shares) and salting.weighting == "loss")


def _counts(labels: np.ndarray, words: Sequence[ClassWords]) -> list[int]:
    """Real images of each class. Raises ``DataError`` on a label that is none."""
    counts = [0] * len(words)
    place = {one.label: at for at, one in enumerate(words)}
    for label, count in zip(*np.unique(labels, return_counts=True), strict=True):
        if label not in place:
            raise DataError(f"a real training image has the unknown label {label}", "index the real images again")
        counts[place[label]] = int(count)
    return counts


def _shares(alpha: float, counts: Sequence[int], asked: Sequence[int], words: Sequence[ClassWords]) -> tuple[Share, ...]:
    """What each kind of image gets where its number does not say it: the same as if as many stood there as were asked for."""
    real = [Share(one.label, True, (1 - alpha) * count / sum(counts)) for one, count in zip(words, counts, strict=True) if count]
    salt = [Share(one.label, False, alpha * count / sum(asked)) for one, count in zip(words, asked, strict=True) if count]
    return (*real, *salt)


def _copies(
    real_ids: Sequence[str], labels: np.ndarray, words: Sequence[ClassWords], takes: Sequence[int]
) -> tuple[tuple[str, int], ...]:
    """Real images of each class, in turn, as many in all as it would get synthetic ones."""
    copies = []
    for one, count in zip(words, takes, strict=True):
        rows = np.flatnonzero(labels == one.label)
        if count and not len(rows):
            raise DataError(f"class {one.name} has no real image to copy", "leave the placebo out, or give the class real images")
        often = count // max(1, len(rows)), count % max(1, len(rows))
        copies += [(real_ids[row], often[0] + (at < often[1])) for at, row in enumerate(rows) if often[0] + (at < often[1])]
    return tuple(copies)


def _take(words: ClassWords, kept: np.ndarray, hi: int, count: int) -> ClassTake:
    # ends at the last taken index, so that images kept beyond it leave the id of the mix alone
    return ClassTake(words, hi, np.packbits(np.asarray(kept[:hi], dtype=bool)).tobytes(), count)


def _shortage(needed: Sequence[int], supply: Sequence[int], names: Sequence[str], shown: int = 3) -> str:
    """What is missing, in total and by class; empty where nothing is."""
    short = [(name, want, have) for name, want, have in zip(names, needed, supply, strict=True) if have < want]
    listed = ", ".join(f"{name} {want - have} ({have} of {want})" for name, want, have in short[:shown])
    more = f" and {len(short) - shown} more classes" if len(short) > shown else ""
    return f"{sum(want - have for _, want, have in short)} missing: {listed}{more}" if short else ""


