"""COLD. Cross-fitting: where the real set is too small for a locked test, every image judges once per repeat.

Repeated stratified K-fold (Burman 1989; groups stay together): fold k is the test, the next one validates, the rest trains. In each
fold the choice of α, and all that learns from real images, happens on its own train and validation alone, so what is judged
is the whole procedure (Chernozhukov et al. 2018 call the same discipline cross-fitting).

The gains of all folds are not independent: repeats judge the same images again, so a plain t-test over them is too sure (Dietterich
1998). Here ``V = s²/K``: s² is the variance of all K·R gains, and R repeats count as one, though they make s² better known and the
mean steadier. It covers other training sets, too, which the interval of a single split cannot. How often: bench/crossfit.py.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from job import statistics
from job.errors import DataError, JobError, SettingsError
from job.records import Split
from job.results import Gain, Interval

FOLDS = "SALTWORKS_SPLIT__FOLDS"
SMALL_TEST = 100     # locked test images: below, only effects of ten points or so are found
ROUNDING = 1e-9      # of gains that are the same
DISCORDANCE = 0.1    # share of images that two trainings answer differently, as on digits: for the size of such an effect


@dataclass(frozen=True, slots=True)
class Fold:
    """What the run of one fold found: gains on its test, as fractions."""

    number: int
    run: str
    where: str                              # its report
    candidate: float
    n_train: int
    n_test: int
    n_seeds: int
    baseline: float                         # the objective of real images alone
    gain: float                             # of the candidate over them
    guarded: float | None                   # difference in accuracy, where the objective is another
    beyond: tuple[tuple[str, float], ...]   # by what the candidate exceeds each arm


@dataclass(frozen=True, slots=True)
class CrossVerdict:
    """The verdict over all folds. ``alpha_star``: the α that most folds chose if it helped, else 0."""

    word: str
    alpha_star: float
    gain: Interval
    smallest_detectable: float
    chosen: tuple[tuple[float, int], ...]   # α, and how many folds chose it
    beyond: tuple[Gain, ...]                # over each arm, with Holm's correction
    why: str                                # of a word that the interval alone does not give


def assign(labels: Sequence[int], groups: Sequence[str], names: Sequence[str], folds: int, fold: int) -> list[str]:
    """train, val or test of every image in one fold; ``fold`` counts through all repeats.

    Raises ``DataError`` for a class of fewer different groups than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    count = Counter(label for label, _ in set(zip(labels, groups, strict=True)))
    for label, name in enumerate(names):
        if count[label] < folds:
            raise DataError(f"class {name!r} has {count[label]} different pictures or groups, and each of {folds} folds needs one",
                            f"add images of it, or lower {FOLDS} to {max(3, count[label])}, at least 3")
    repeat, at = divmod(fold, folds)
    alone = len(set(groups)) == len(groups)   # then every fold has its share of every class to one image
    cut = (StratifiedKFold if alone else StratifiedGroupKFold)(folds, shuffle=True, random_state=repeat)
    of = np.zeros(len(labels), int)
    with warnings.catch_warnings():   # groups may leave a fold without a class: the split's own check names it
        warnings.simplefilter("ignore")
        for number, (_, rows) in enumerate(cut.split(np.zeros((len(labels), 1)), labels, groups)):
            of[rows] = number
    return ["test" if one == at else "val" if one == (at + 1) % folds else "train" for one in of.tolist()]


def over_folds(gains_J: Sequence[float], folds: int) -> Interval:
    """95 % interval of the mean of the gains of K folds through all repeats: ``V = s²/K``, df = J − 1.

    Raises ``JobError`` below two gains.
    """
    values = np.asarray(gains_J, float)
    if len(values) < 2:
        raise JobError(f"{len(values)} folds have no variance")
    mean, error = float(values.mean()), float((values.var(ddof=1) / folds) ** 0.5)
    half = float(stdtrit(len(values) - 1, 0.975)) * error
    return Interval(mean, mean - half, mean + half, error, float(len(values) - 1), 0, 0)


def verdict(found: Sequence[Fold], folds: int, guard: float) -> CrossVerdict:
    """What all folds together say, ``folds`` of them per repeat. ``guard`` counts where accuracy is not itself the objective.

    Raises ``JobError`` unless there are two, all with the same arms.
    """
    gain = over_folds([one.gain for one in found], folds)
    word, why = statistics.word(gain), ""
    if gain.mean and gain.standard_error < ROUNDING:
        word, why = statistics.UNDECIDED, "every fold gained the same, so nothing tells how sure that is: judge more images"
    fell = [one.guarded for one in found if one.guarded is not None]
    if fell and word == statistics.HELPED and float(np.mean(fell)) < -guard:
        word = statistics.UNDECIDED
        why = f"accuracy fell by {-100 * float(np.mean(fell)):.2g} points, more than the {100 * guard:g} that SALTWORKS_SWEEP__GUARD allows"
    chosen = Counter(one.candidate for one in found)
    most = min(chosen, key=lambda alpha: (-chosen[alpha], alpha))   # ties to less salt
    return CrossVerdict(
        word, most if word == statistics.HELPED else 0.0, gain, statistics.smallest_detectable(gain), tuple(sorted(chosen.items())),
        _beyond(found, folds), why)


def _beyond(found: Sequence[Fold], folds: int) -> tuple[Gain, ...]:
    names = [name for name, _ in found[0].beyond]
    if any([name for name, _ in one.beyond] != names for one in found):
        raise JobError("the folds were judged beside other arms")
    return statistics.corrected([(name, over_folds([dict(one.beyond)[name] for one in found], folds)) for name in names])


def told(fold: int | None) -> str:
    """The warning on the report of a single fold; empty for a run that is none."""
    return "" if fold is None else f"this is fold {fold + 1} of a cross-fitting: read the verdict over all of them ({FOLDS})"


def small_test(split: Split) -> str:
    """The warning that a locked test is too small to find much, with the way out; empty where it is large enough."""
    parts = Counter(split.table["part"].to_pylist())
    if parts["test"] >= SMALL_TEST:
        return ""
    effect = 2.8 * (DISCORDANCE / max(1, parts["test"])) ** 0.5
    published = {"val", "test"} & set(split.table["published"].to_pylist())
    return (f"the locked test has {parts['test']} images, which find effects of about {100 * effect:.0f} points or more: "
            + ("publish a larger one" if published else
               f"{FOLDS}=5 judges on all {parts.total() - parts['aside']} real images instead, each once per repeat (cross-fitting)"))


def check(folds: int | None, fold: int | None, repeats: int, published: bool) -> None:
    """Raise ``SettingsError`` for a fold of no folds, one beyond the last, and parts that were published."""
    if folds is None:
        if fold is not None:
            raise SettingsError(f"SALTWORKS_SPLIT__FOLD={fold}, and there are no folds", f"set {FOLDS}, or unset it")
        return
    if fold is None:
        raise JobError("a cross-fitting is split fold by fold")
    if fold >= folds * repeats:
        raise SettingsError(f"SALTWORKS_SPLIT__FOLD={fold} is beyond the last of {folds} folds × {repeats} repeats",
                            f"keep it below {folds * repeats}, or unset it to run all of them")
    if published:
        raise SettingsError("the real source publishes validation or test images, and cross-fitting would train on them",
                            f"unset {FOLDS} to use the published parts, or hand in the images without them")
