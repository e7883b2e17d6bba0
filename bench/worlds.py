"""Truths that are known, and what the rule of the sweep makes of sweeps and confirmations drawn from them.

An answer is right where ``c + image + image in this arm + seed + noise > 0``: normal effects whose variances sum to 1, so an
arm of accuracy p has ``c = Φ⁻¹(p)`` and its true gain is exact. What is judged by is the code as it stands: ``choose``,
``interior_optimum``, ``verdict``, ``controls``. Every function takes its seed, and a seed gives the same runs.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import chi2

from job import choosing, statistics
from job.results import Choice, Interval, TrialResult, Verdict

GRID = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9)
SWEEP_SEEDS = 5


@dataclass(frozen=True, slots=True)
class World:
    """Accuracy of α = 0, validation images, and the variances of the effects; the noise has what is left of 1."""

    name: str
    accuracy: float
    n_val: int
    image: float
    image_in_arm: float
    seed: float

    @property
    def noise(self) -> float:
        return 1 - self.image - self.image_in_arm - self.seed


# fitted to the mean squares of the demo's arms (10 seeds × 617 images: A .12, B .64, E .05; accuracy ± .008 over seeds)
DIGITS = World("digits", accuracy=0.9, n_val=200, image=0.763, image_in_arm=0.185, seed=0.0018)
# a hard task with a training that hangs on its seed: accuracy ± .03
ROUGH = World("rough", accuracy=0.6, n_val=200, image=0.711, image_in_arm=0.085, seed=0.006)
OTHERS = (
    World("between", accuracy=0.8, n_val=200, image=0.74, image_in_arm=0.13, seed=0.004),
    World("wild", accuracy=0.6, n_val=200, image=0.7, image_in_arm=0.05, seed=0.02),        # accuracy ± .055 over seeds
    World("noisy", accuracy=0.75, n_val=200, image=0.3, image_in_arm=0.05, seed=0.01),
    World("easy", accuracy=0.97, n_val=200, image=0.763, image_in_arm=0.185, seed=0.0018),
    World("twins", accuracy=0.9, n_val=200, image=0.95, image_in_arm=0.0, seed=0.0),        # arms that differ by noise alone
)

TRUTHS = {   # gains over α = 0 in points, at every α above 0
    "flat": (0.0, 0.0, 0.0, 0.0, 0.0),
    "all +3": (3.0, 3.0, 3.0, 3.0, 3.0),
    "all −3": (-3.0, -3.0, -3.0, -3.0, -3.0),
    "rising to +3": (0.6, 1.2, 1.8, 2.4, 3.0),
    "falling to −3": (-0.6, -1.2, -1.8, -2.4, -3.0),
    "up, then flat": (1.5, 3.0, 3.0, 3.0, 3.0),
    "a step of +5": (0.0, 0.0, 5.0, 5.0, 5.0),
    "peak of +3": (0.0, 1.5, 3.0, 1.5, 0.0),
    "peak of +8": (-2.0, 0.0, 8.0, 0.0, -2.0),
}


@dataclass(frozen=True, slots=True)
class Swept:
    """One sweep and what was decided by it."""

    arms: list[TrialResult]
    choice: Choice
    interior: bool
    gains: dict[float, float]    # the truth at every α, fractions

    @property
    def truth(self) -> float:
        return self.gains[self.choice.candidate]

    @property
    def pointed(self) -> bool:
        """What point estimates say of an interior optimum: both neighbours of the candidate are lower."""
        means = [float(one.correct_SN.mean()) for one in self.arms]
        at = GRID.index(self.choice.candidate)
        return at < len(GRID) - 1 and means[at] > max(means[at - 1], means[at + 1])


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The verdict on a sweep's candidate, and the answers that it judged: of the candidate, and of α = 0."""

    swept: Swept
    verdict: Verdict
    pair: tuple[np.ndarray, np.ndarray]

    @property
    def covered(self) -> bool:
        return covered(self.verdict.gain.low, self.swept.truth, self.verdict.gain.high)

    @property
    def error(self) -> float:
        return self.verdict.gain.mean - self.swept.truth


def answers(world: World, accuracies: Sequence[float], seeds: int, images: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Right or wrong of each arm, paired by image: uint8 (S, N)."""
    def normal(variance: float, *shape: int) -> np.ndarray:
        return np.float32(variance**0.5) * rng.standard_normal(shape, dtype=np.float32)

    image = normal(world.image, images)
    return [
        (np.float32(ndtri(p)) + image + normal(world.image_in_arm, images) + normal(world.seed, seeds, 1)
         + normal(world.noise, seeds, images) > 0).astype(np.uint8) for p in accuracies
    ]


def trial(alpha: float, correct_SN: np.ndarray, judged_on: str, arm: str = "") -> TrialResult:
    seeds, each = tuple(range(len(correct_SN))), (0.0,) * len(correct_SN)
    return TrialResult(f"{alpha}", alpha, alpha, 80, 0, 1, seeds, judged_on, correct_SN, each, each, each, 0.0, arm=arm)


def sweeps(world: World, truth: str, repetitions: int, seed: int = 0) -> Iterator[tuple[Swept, np.random.Generator]]:
    """Sweeps of a truth, each with the generator that draws what follows it."""
    gains = dict(zip(GRID, (0.0, *(points / 100 for points in TRUTHS[truth])), strict=True))
    for child in np.random.SeedSequence(seed).spawn(repetitions):
        rng = np.random.default_rng(child)
        drawn = answers(world, [world.accuracy + gain for gain in gains.values()], SWEEP_SEEDS, world.n_val, rng)
        arms = [trial(alpha, correct_SN, "val") for alpha, correct_SN in zip(GRID, drawn, strict=True)]
        choice = choosing.choose(arms)
        yield Swept(arms, choice, choosing.interior_optimum(arms, choice.candidate), gains), rng


def whole_rule(
    world: World, truth: str, seeds: int, images: int, repetitions: int, seed: int = 0, one_error: bool = False
) -> list[Confirmed]:
    """Sweep, choice, confirmation on fresh seeds and other images, verdict. ``one_error``: on the one-standard-error α instead."""
    found = []
    for swept, rng in sweeps(world, truth, repetitions, seed):
        if one_error:
            swept = replace(swept, choice=replace(swept.choice, candidate=swept.choice.one_se_alpha))
        a, b = answers(world, (world.accuracy + swept.truth, world.accuracy), seeds, images, rng)
        found.append(Confirmed(swept, choosing.verdict(trial(swept.choice.candidate, a, "test"), trial(0.0, b, "test")), (a, b)))
    return found


def covered(low: float, truth: float, high: float) -> bool:
    return low - 1e-12 <= truth <= high + 1e-12


def intervals(world: World, gain: float, seeds: int, images: int, repetitions: int, seed: int = 0) -> list[Interval]:
    """Of two arms that nobody chose, one of them better by so much."""
    rng = np.random.default_rng(seed)
    return [statistics.interval(*answers(world, (world.accuracy + gain, world.accuracy), seeds, images, rng)) for _ in range(repetitions)]


def coverage(world: World, gain: float, seeds: int, images: int, repetitions: int, seed: int = 0) -> float:
    """Share of such intervals that hold the true gain."""
    return float(np.mean([covered(one.low, gain, one.high) for one in intervals(world, gain, seeds, images, repetitions, seed)]))


def worst_coverage(seeds: int, cells: int = 400) -> float:
    """Least coverage of the interval over all variance components, many images; exact up to the grids of both.

    ``A`` is the only mean square that still varies then, as χ²; V and df are the code's.
    """
    quantiles = chi2.ppf((np.arange(cells) + 0.5) / cells, seeds - 1) / (seeds - 1)
    sizes = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
    worst = 1.0
    for seed, image in itertools.product(sizes, sizes):   # n·σ²_seed and S·σ²_image over σ²_rest
        found = [statistics.Squares(0.0, (1 + seed) * one, 1 + image, 1.0, seeds, 1) for one in quantiles]
        variance, df = np.array([(one.scaled_variance, one.df) for one in found]).T
        worst = min(worst, float(np.mean(2 * ndtr(stdtrit(df, 0.975) * (variance / (1 + seed + image)) ** 0.5) - 1)))
    return worst


def weighted_coverage(rare: int, gain: float, recall: bool, seeds: int, repetitions: int, seed: int = 0) -> tuple[float, float]:
    """Coverage of a weighted gain and its power: 600 common images at .95 and some rare at .5 that gain; the common do not."""
    rng, of_rare = np.random.default_rng(seed), np.repeat([False, True], [600, rare])
    weights_N = np.where(of_rare, 1 / rare, 0.0) if recall else np.where(of_rare, 0.5 / rare, 0.5 / 600)
    truth, hits, helped = gain if recall else gain / 2, 0, 0
    for _ in range(repetitions):
        # an arm is two classes beside each other: what it knows of one says nothing about the other
        common = answers(DIGITS, (0.95, 0.95), seeds, 600, rng)
        few = answers(DIGITS, (0.5 + gain, 0.5), seeds, rare, rng)
        a, b = (np.concatenate(pair, axis=1) for pair in zip(common, few, strict=True))
        found = statistics.interval(a, b, weights_N=weights_N)
        hits += covered(found.low, truth, found.high)
        helped += found.low > 0
    return hits / repetitions, helped / repetitions


def families(
    world: World, candidate: float, arms: float, count: int, seeds: int, images: int, repetitions: int, seed: int = 0
) -> tuple[float, float, float]:
    """Arms of one true gain beside a candidate of another: how often any is called helped or hurt against α = 0, and how
    often the candidate is said to go beyond any of them, and beyond all."""
    rng, words, beyond = np.random.default_rng(seed), [], []
    accuracies = [world.accuracy + gain for gain in (candidate, 0.0, *(count * [arms]))]
    for _ in range(repetitions):
        best, baseline, *others = (trial(float(at == 0), one, "test", f"arm {at}")
                                   for at, one in enumerate(answers(world, accuracies, seeds, images, rng)))
        found = choosing.controls(best, baseline, others)
        words.append(any(one.effect.word != statistics.UNDECIDED for one in found))
        beyond.append([one.beyond.word == statistics.HELPED for one in found])
    return float(np.mean(words)), float(np.any(beyond, axis=1).mean()), float(np.all(beyond, axis=1).mean())


def false_classes(world: World, classes: int, seeds: int, images: int, repetitions: int, seed: int = 0) -> float:
    """Without an effect: how often any class is called helped or hurt."""
    rng, groups = np.random.default_rng(seed), np.arange(images) % classes
    return float(np.mean([
        any(one.word != statistics.UNDECIDED for one in statistics.by_class(
            *answers(world, (world.accuracy, world.accuracy), seeds, images, rng), groups))
        for _ in range(repetitions)
    ]))


def simpler(found: Sequence[Confirmed]) -> dict[str, np.ndarray]:
    """What simpler rules say of the same runs, one entry per run.

    Whether a t-interval over seeds, or over images, holds the truth; whether the best single seed on validation beats
    α = 0 there, and what that gain claims too much; what the candidate's gain on validation claims too much, and whether
    the interval there says helped.
    """
    rows = []
    for one in found:
        swept, of = one.swept, statistics.squares(*one.pair)
        hits = []
        for mean_square, df in ((of.between_seeds, of.n_seeds - 1), (of.between_images, of.n_images - 1)):
            half = stdtrit(df, 0.975) * (mean_square / (of.n_seeds * of.n_images)) ** 0.5
            hits.append(covered(of.mean - half, swept.truth, of.mean + half))
        real_only, *salted = ((float(arm.correct_SN[0].mean()), arm.alpha) for arm in swept.arms)
        best = max(salted)
        chosen = next(arm for arm in swept.arms if arm.alpha == swept.choice.candidate)
        rows.append((*hits, best[0] > real_only[0], best[0] - real_only[0] - swept.gains[best[1]], swept.choice.val_gain - swept.truth,
                     statistics.interval(chosen.correct_SN, swept.arms[0].correct_SN).low > 0))
    names = ("over seeds", "over images", "lab helped", "lab excess", "validation excess", "validation helped")
    return dict(zip(names, np.array(rows, float).T, strict=True))


def how_stable(world: World, truth: str, repetitions: int, seed: int = 0) -> dict[float, tuple[float, float]]:
    """Of each α > 0: its mean stability over sweeps, and the share of sweeps whose candidate it was."""
    shares, chosen = [], []
    for swept, _ in sweeps(world, truth, repetitions, seed):
        shares.append([share for _, share in choosing.stability(swept.arms, draws=200)])
        chosen.append(swept.choice.candidate)
    return {alpha: (float(share), chosen.count(alpha) / repetitions)
            for alpha, share in zip(GRID[1:], np.mean(shares, axis=0), strict=True)}
