"""How often a cross-fitting is right: whole procedures on small sets, against their true gain. ``python -m bench.crossfit 1000``.

A population of two normal classes with a nuisance of many dimensions; a "generator" that knows the classes but for a shift. The
procedure adds n_syn = n·α/(1−α) of its images, fits linear discriminants (Ledoit and Wolf's shrinkage), chooses α on validation and
trains with it. Its true gain over real images alone is the mean over many sets of the same size, judged by the population.
Each repetition draws a set, cuts it as ``job.folds`` does, and asks ``job.folds.over_folds``, a plain t-test over all folds, and the
corrected one of Nadeau and Bengio (2003), ``V = (1/J + 1/(K − 1))·s²``.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from job import folds, statistics

DIMENSIONS, SHIFT_AT = 12, 1
ALPHAS = (0.5, 0.75)


@dataclass(frozen=True, slots=True)
class World:
    """How far the classes lie apart, and how far the generator's images lie from them."""

    name: str
    apart: float
    shift: float


CELLS = (   # shifts at which the procedure neither gains nor loses at that size, and others
    (World("no gain", 1.6, 2.07), 60, 2), (World("no gain", 1.6, 1.32), 150, 2), (World("no gain", 1.6, 1.32), 150, 4),
    (World("no gain", 1.6, 1.32), 150, 1), (World("good generator", 1.6, 0.0), 60, 2), (World("good generator", 1.6, 0.0), 150, 2),
    (World("good generator", 1.6, 0.0), 400, 2), (World("poor generator", 1.6, 4.0), 150, 2),
)
FOLDS = 5


def draw(world: World, count: int, shift: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """``count`` images of each class: (2·count, D) and their labels, the classes in turn."""
    labels = np.tile([0, 1], count)
    points = rng.normal(size=(2 * count, DIMENSIONS))
    points[:, 0] += world.apart * labels
    points[:, SHIFT_AT] += shift * labels
    return points, labels


def fit(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, float]:
    """A linear discriminant with a shrunken covariance: weights and threshold."""
    means = np.stack([points[labels == label].mean(0) for label in (0, 1)])
    centred = points - means[labels]
    covariance = centred.T @ centred / len(points)
    shrink = min(1.0, DIMENSIONS / len(points))
    covariance = (1 - shrink) * covariance + shrink * np.trace(covariance) / DIMENSIONS * np.eye(DIMENSIONS)
    weight = np.linalg.solve(covariance, means[1] - means[0])
    return weight, float(weight @ means.mean(0))


def right(model: tuple[np.ndarray, float], points: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return ((points @ model[0] > model[1]) == labels.astype(bool)).astype(np.uint8)


def procedure(
    world: World, train: tuple[np.ndarray, np.ndarray], val: tuple[np.ndarray, np.ndarray], rng: np.random.Generator
) -> tuple[tuple[np.ndarray, float], tuple[np.ndarray, float]]:
    """Real images alone, and with the α that validation chose."""
    base, best, score = fit(*train), None, -1.0
    for alpha in ALPHAS:
        more = draw(world, round(alpha / (1 - alpha) * len(train[0]) / 2), world.shift, rng)
        model = fit(np.concatenate([train[0], more[0]]), np.concatenate([train[1], more[1]]))
        if (found := float(right(model, *val).mean())) > score:
            best, score = model, found
    assert best is not None
    return base, best


def truth(world: World, n_train: int, n_val: int, repetitions: int = 4000, seed: int = 1) -> float:
    """Mean gain of the procedure over sets of this size, on 2,000 images of the population each."""
    rng, gains = np.random.default_rng(seed), []
    for _ in range(repetitions):
        base, best = procedure(world, draw(world, n_train // 2, 0.0, rng), draw(world, n_val // 2, 0.0, rng), rng)
        judged = draw(world, 1000, 0.0, rng)
        gains.append(float(right(best, *judged).mean()) - float(right(base, *judged).mean()))
    return float(np.mean(gains))


def crossed(world: World, n: int, k: int, repeats: int, rng: np.random.Generator) -> list[float]:
    """Gains of all folds on one set of n images."""
    points, labels = draw(world, n // 2, 0.0, rng)
    names, gains = [str(number) for number in range(n)], []
    for fold in range(k * repeats):
        part = np.asarray(folds.assign(labels.tolist(), names, ("a", "b"), k, fold))
        cut = {name: (points[part == name], labels[part == name]) for name in ("train", "val", "test")}
        base, best = procedure(world, cut["train"], cut["val"], rng)
        gains.append(float(right(best, *cut["test"]).mean()) - float(right(base, *cut["test"]).mean()))
    return gains


def tried(world: World, n: int, k: int, repeats: int, repetitions: int, seed: int = 0) -> dict[str, float]:
    """Shares over all repetitions: what the rule says and covers, and what the others would."""
    true = truth(world, round(n * (k - 2) / k), round(n / k))
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(repetitions):
        gains = crossed(world, n, k, repeats, rng)
        one, plain, corrected = (folds.over_folds(gains, by) for by in (k, len(gains), 1 / (1 / len(gains) + 1 / (k - 1))))
        found.append((one.low > 0, one.high < 0, one.low <= true <= one.high, plain.low <= true <= plain.high,
                      corrected.low <= true <= corrected.high, one.mean - true, statistics.smallest_detectable(one),
                      statistics.smallest_detectable(corrected)))
    means = np.asarray(found, float).mean(0)
    names = ("helped", "hurt", "covered", "plain covered", "corrected covered", "bias", "detectable", "corrected detectable")
    return {"truth": true, **dict(zip(names, map(float, means), strict=True))}


def rows(repetitions: int) -> Iterator[tuple[object, ...]]:
    for world, n, repeats in CELLS:
        one = tried(world, n, FOLDS, repeats, repetitions)
        share = [f"{100 * one[name]:.1f}" for name in ("helped", "hurt", "covered", "plain covered", "corrected covered")]
        yield (world.name, f"{100 * one['truth']:+.2f}", n, f"{FOLDS} × {repeats}", *share, f"{100 * one['bias']:+.2f}",
               f"{100 * one['detectable']:.1f}", f"{100 * one['corrected detectable']:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("repetitions", type=int, nargs="?", default=1000)
    given = parser.parse_args()
    heads = ("world", "true gain, points", "images", "folds", "helped %", "hurt %", "covered %", "plain t covers %", "corrected t covers %",
             "bias, points", "detectable, points", "by the corrected t")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows(given.repetitions):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
