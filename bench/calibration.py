"""How often the rule of the sweep is right, by simulation of the code as it stands: ``python -m bench.calibration 5000``.

Each repetition draws a sweep and a confirmation from a truth that is known, and hands both to ``choose``,
``interior_optimum`` and ``verdict``. An answer is right where ``c + image + image in this arm + seed + noise > 0``: normal
effects whose variances sum to 1, so an arm of accuracy p has ``c = Φ⁻¹(p)`` and its true gain is exact. The argument is the
number of repetitions; ``docs/statistics.md`` keeps what it printed.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import chi2

from job import choosing, statistics
from job.results import Choice, TrialResult, Verdict

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

TRUTHS = {   # gains over α = 0 in points, at every α above 0
    "flat": (0.0, 0.0, 0.0, 0.0, 0.0),
    "all +3": (3.0, 3.0, 3.0, 3.0, 3.0),
    "all −3": (-3.0, -3.0, -3.0, -3.0, -3.0),
    "rising to +3": (0.6, 1.2, 1.8, 2.4, 3.0),
    "falling to −3": (-0.6, -1.2, -1.8, -2.4, -3.0),
    "up, then flat": (1.5, 3.0, 3.0, 3.0, 3.0),
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


Confirmed = tuple[Swept, Verdict, list[np.ndarray]]   # the verdict on a sweep's candidate, and the answers that it judged


def answers(world: World, accuracies: Sequence[float], seeds: int, images: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Right or wrong of each arm, paired by image: uint8 (S, N)."""
    def normal(variance: float, *shape: int) -> np.ndarray:
        return variance**0.5 * rng.standard_normal(shape, dtype=np.float32)

    image = normal(world.image, images)
    return [
        (ndtri(p) + image + normal(world.image_in_arm, images) + normal(world.seed, seeds, 1) + normal(world.noise, seeds, images) > 0)
        .astype(np.uint8) for p in accuracies
    ]


def trial(alpha: float, correct_SN: np.ndarray, judged_on: str) -> TrialResult:
    each = (0.0,) * len(correct_SN)
    return TrialResult(f"{alpha}", alpha, alpha, 80, 0, 1, tuple(range(len(correct_SN))), judged_on, correct_SN, each, each, each, 0.0)


def sweeps(world: World, truth: str, repetitions: int, seed: int = 0) -> Iterator[tuple[Swept, np.random.Generator]]:
    """Sweeps of a truth, each with the generator that draws what follows it."""
    gains = dict(zip(GRID, (0.0, *(points / 100 for points in TRUTHS[truth])), strict=True))
    for child in np.random.SeedSequence(seed).spawn(repetitions):
        rng = np.random.default_rng(child)
        drawn = answers(world, [world.accuracy + gain for gain in gains.values()], SWEEP_SEEDS, world.n_val, rng)
        arms = [trial(alpha, correct_SN, "val") for alpha, correct_SN in zip(GRID, drawn, strict=True)]
        choice = choosing.choose(arms)
        yield Swept(arms, choice, choosing.interior_optimum(arms, choice.candidate), gains), rng


def whole_rule(world: World, truth: str, seeds: int, images: int, repetitions: int, seed: int = 0) -> list[Confirmed]:
    """Sweep, choice, confirmation on fresh seeds and other images, verdict; the confirmed answers at the end."""
    found = []
    for swept, rng in sweeps(world, truth, repetitions, seed):
        pair = answers(world, (world.accuracy + swept.truth, world.accuracy), seeds, images, rng)
        arms = [trial(alpha, one, "test") for alpha, one in zip((swept.choice.candidate, 0.0), pair, strict=True)]
        found.append((swept, choosing.verdict(*arms), pair))
    return found


def covered(low: float, truth: float, high: float) -> bool:
    return low - 1e-12 <= truth <= high + 1e-12


def coverage(world: World, gain: float, seeds: int, images: int, repetitions: int, seed: int = 0) -> float:
    """Share of intervals that hold the true gain, of two arms that nobody chose."""
    rng, hits = np.random.default_rng(seed), 0
    for _ in range(repetitions):
        found = statistics.interval(*answers(world, (world.accuracy + gain, world.accuracy), seeds, images, rng))
        hits += covered(found.low, gain, found.high)
    return hits / repetitions


def worst_coverage(seeds: int, cells: int = 400) -> float:
    """Least coverage of the interval over all variance components, many images; exact up to the grids of both.

    ``A`` is the only mean square that still varies then, as χ²; V and df are the code's.
    """
    quantiles = chi2.ppf((np.arange(cells) + 0.5) / cells, seeds - 1) / (seeds - 1)
    sizes = (0.0, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
    worst = 1.0
    for seed, image in itertools.product(sizes, sizes):   # n·σ²_seed and S·σ²_image over σ²_rest
        found = [statistics.Squares(0.0, (1 + seed) * one, 1 + image, 1.0, seeds, 1) for one in quantiles]
        half = [stdtrit(one.df, 0.975) * (one.scaled_variance / (1 + seed + image)) ** 0.5 for one in found]
        worst = min(worst, float(np.mean(2 * ndtr(half) - 1)))
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


def alternatives(found: list[Confirmed]) -> dict[str, float]:
    """What simpler rules say of the same runs: shares in 1, and what the lab's best of single seeds claims too much."""
    seeds, images, lab, excess, on_validation = [], [], [], [], []
    for swept, _, (a, b) in found:
        of = statistics.squares(a, b)
        for hits, mean_square, df in ((seeds, of.between_seeds, of.n_seeds - 1), (images, of.between_images, of.n_images - 1)):
            half = stdtrit(df, 0.975) * (mean_square / (of.n_seeds * of.n_images)) ** 0.5
            hits.append(covered(of.mean - half, swept.truth, of.mean + half))
        real_only, *salted = ((float(arm.correct_SN[0].mean()), arm.alpha) for arm in swept.arms)
        best = max(salted)
        lab.append(best[0] > real_only[0])
        excess.append(best[0] - real_only[0] - swept.gains[best[1]])
        chosen = next(arm for arm in swept.arms if arm.alpha == swept.choice.candidate)
        on_validation.append(statistics.interval(chosen.correct_SN, swept.arms[0].correct_SN).low > 0)
    means = [float(np.mean(one)) for one in (seeds, images, lab, excess, on_validation)]
    return dict(zip(("over seeds", "over images", "lab helped", "lab excess", "validation helped"), means, strict=True))


def how_stable(world: World, truth: str, repetitions: int, seed: int = 0) -> dict[float, tuple[float, float]]:
    """Of each α > 0: its mean stability over sweeps, and the share of sweeps whose candidate it was."""
    shares, chosen = [], []
    for swept, _ in sweeps(world, truth, repetitions, seed):
        shares.append([share for _, share in choosing.stability(swept.arms, draws=200)])
        chosen.append(swept.choice.candidate)
    return {alpha: (float(share), chosen.count(alpha) / repetitions)
            for alpha, share in zip(GRID[1:], np.mean(shares, axis=0), strict=True)}


def percent(share: float, n: int) -> str:
    """With its Monte Carlo standard error."""
    return f"{100 * share:.1f} ± {100 * (share * (1 - share) / n) ** 0.5:.1f}"


def table(heads: str, rows: Iterator[Sequence[object]]) -> None:
    """Markdown, row by row as it is measured."""
    print(f"\n| {heads} |\n|{'---|' * (heads.count('|') + 1)}", flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


def rule_rows(n: int) -> Iterator[Sequence[object]]:
    cells = itertools.product((DIGITS, ROUGH), ("flat", "all +3", "all −3", "peak of +3"), ((5, 600), (10, 600), (5, 1000)))
    for cell, (world, truth, (seeds, images)) in enumerate(cells):
        found = whole_rule(world, truth, seeds, images, n, seed=cell)   # runs of its own: chance errors do not line up
        error = np.array([judged.gain.mean - swept.truth for swept, judged, _ in found])
        words = [judged.word for _, judged, _ in found]
        hits = sum(covered(judged.gain.low, swept.truth, judged.gain.high) for swept, judged, _ in found)
        detectable = np.median([judged.smallest_detectable for _, judged, _ in found])
        yield (world.name, truth, f"{seeds} × {images}", percent(words.count("helped") / n, n), percent(words.count("hurt") / n, n),
               percent(hits / n, n), f"{100 * error.mean():+.3f} ± {100 * error.std() / n**0.5:.3f}", f"{100 * detectable:.1f}")


def alternative_rows(n: int) -> Iterator[Sequence[object]]:
    for world, truth in itertools.product((DIGITS, ROUGH), ("flat", "all +3")):
        found = alternatives(whole_rule(world, truth, 10, 600, n))
        yield (world.name, truth, *(percent(found[one], n) for one in ("over seeds", "over images", "lab helped", "validation helped")),
               f"{100 * found['lab excess']:+.1f}")


def interior_rows(n: int) -> Iterator[Sequence[object]]:
    for cell, (world, truth) in enumerate(itertools.product((DIGITS, ROUGH), TRUTHS)):
        yield world.name, truth, percent(sum(swept.interior for swept, _ in sweeps(world, truth, n, seed=cell)) / n, n)


def seed_rows(n: int) -> Iterator[Sequence[object]]:
    for seeds in (2, 3, 4, 5, 10):
        cells = ((DIGITS, 600), (ROUGH, 600), (DIGITS, 60), (DIGITS, 20))
        found = [percent(coverage(world, 0.03, seeds, images, n, seed=cell), n) for cell, (world, images) in enumerate(cells)]
        yield seeds, *found, percent(coverage(DIGITS, 0.03, seeds, 10_000, n // 10), n // 10), f"{100 * worst_coverage(seeds):.1f}"


def weight_rows(n: int) -> Iterator[Sequence[object]]:
    cells = itertools.product((False, True), (36, 100), (0.0, 0.3), (5, 10))
    for cell, (recall, rare, gain, seeds) in enumerate(cells):
        hits, helped = weighted_coverage(rare, gain, recall, seeds, n, seed=cell)
        yield "recall" if recall else "balanced accuracy", rare, f"{100 * gain:+.0f}", seeds, percent(hits, n), percent(helped, n)


def stability_rows(n: int) -> Iterator[Sequence[object]]:
    for world, truth in itertools.product((DIGITS, ROUGH), ("flat", "peak of +3")):
        for alpha, (stable, chosen) in how_stable(world, truth, n).items():
            yield world.name, truth, alpha, f"{100 * stable:.1f}", percent(chosen, n)


TABLES: dict[str, tuple[str, Callable[[int], Iterator[Sequence[object]]]]] = {
    "the whole rule": ("world | truth | seeds × images | helped % | hurt % | covered % | bias of the gain, points | detectable, points",
                       rule_rows),
    "simpler rules": ("world | truth | t over seeds covers % | t over images covers % | lab says helped % | validation says helped % "
                      "| lab claims too much, points", alternative_rows),
    "interior optimum": ("world | truth | claimed %", interior_rows),
    "coverage by seeds": ("seeds | digits, 600 images % | rough, 600 % | digits, 60 % | digits, 20 % | digits, 10,000 % | worst case %",
                          seed_rows),
    "weights": ("statistic | rare images | gain of the rare class, points | seeds | covered % | helped %", weight_rows),
    "stability": ("world | truth | α | mean stability % | candidate in % of sweeps", stability_rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("repetitions", type=int, nargs="?", default=2000)
    parser.add_argument("--only", choices=TABLES, action="append", help="one of the tables; may be given again")
    given = parser.parse_args()
    for name in given.only or TABLES:
        heads, rows = TABLES[name]
        print(f"\n{name}, {given.repetitions} repetitions")
        table(heads, rows(given.repetitions))


if __name__ == "__main__":
    main()
