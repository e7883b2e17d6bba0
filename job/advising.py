"""COLD. What to expect of a run before it is paid for: from the real set and a small pilot of synthetic images.

The pilot trains three arms on the same few seeds and judges them on validation, never on the locked test: real images alone,
half of them, and real images with the pilot's. What it found is carried over to the test that is planned:

- The gain θ has a normal prior around zero. Its spread is half of what is left to gain (an accuracy cannot pass 1), or where the
  pilot lost half of what there is to lose, at most ``MOST_SPREAD``; the pilot's mean and standard error (``statistics.interval``)
  make the posterior (Gelman et al. 2013, ch. 2).
- The test will observe θ with an error of its own, extrapolated from the pilot's variance components to the planned seeds and
  images. "helped" is said if what it observes lies above ``t(.975)`` of that error, "hurt" if below minus that. Both errors
  rest on the pilot's few seeds, so what is expected is a Student's t of so few degrees of freedom.

So each word has a chance, and the advice is the word with the largest. Everything else explains it, and decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from job import mixing, statistics
from job.records import Salting
from job.results import Advice, Interval

ARMS = 3               # of the pilot: real, half of them, mixed
LEAST_SPREAD = 0.005   # of the prior, where next to nothing is left to gain
MOST_SPREAD = 0.05     # published gains are mostly one to five
SCARCE = 50           # real images per class: published gains lie below it, or at 50 to 500 with a good generator (docs/statistics.md)
RICH = 200
FOREIGN = 0.1         # share of pilot images that look more like another class: from here on their labels are in doubt
REACHED = 5           # neighbours that span a validation image's neighbourhood (Naeem et al. 2020)


@dataclass(frozen=True, slots=True)
class Pilot:
    """What the pilot measured. ``*_SN``: 0/1, one row per seed, one column per validation image, paired."""

    n_train: tuple[int, ...]          # real training images per class
    alpha: float                      # of the mix with the pilot's images
    images: int                       # synthetic images in that mix
    real_SN: np.ndarray
    half_SN: np.ndarray
    mixed_SN: np.ndarray
    weights_N: np.ndarray | None      # of the objective
    foreign: float | None             # share of the pilot's images whose class margin is below 0
    rejected: float                   # share of them that the filter rejects
    coverage: float | None            # of validation by the real training images
    coverage_mixed: float | None      # by them and the pilot's images
    distance: float | None            # of the pilot's images to the real ones, in distances between those
    measure: str = "accuracy"         # what is maximised


def reach(alphas: Sequence[float], counts: Sequence[int], salting: Salting, unit_size: int) -> tuple[float, ...]:
    """The α between 0 and 1 that one unit of each class can serve, ascending; the smallest where it can serve none."""
    able = [alpha for alpha in alphas if 0 < alpha < 1 and max(mixing.takes_at(alpha, alphas, counts, salting)) <= unit_size]
    return tuple(able) or (min(alpha for alpha in alphas if alpha),)


def advise(pilot: Pilot, *, confirm_seeds: int, n_test: int) -> Advice:
    """The word to expect from a test with so many seeds and images, its chance, and why.

    Raises ``JobError`` unless the three arms are alike.
    """
    gain = statistics.judged(pilot.mixed_SN, pilot.real_SN, weights_N=pilot.weights_N)
    halved = statistics.judged(pilot.real_SN, pilot.half_SN, weights_N=pilot.weights_N)
    level = statistics.score(pilot.real_SN, weights_N=pilot.weights_N)
    spread = min(MOST_SPREAD, max(LEAST_SPREAD, (1 - level if gain.mean > 0 else level) / 2))
    found = seeds_of_all_arms(pilot) if gain.df else None
    mean, sd = posterior(gain.mean, error_of(found, gain.n_images), spread)
    error, limit = planned_test(found, pilot, confirm_seeds, n_test)
    chances = chances_of(mean, sd, error, limit, ARMS * (gain.n_seeds - 1))
    word = max(chances, key=chances.__getitem__)
    return Advice(
        word=word, chances=tuple(chances.items()), alpha=pilot.alpha, images=pilot.images, level=level, gain=gain, halved=halved,
        foreign=pilot.foreign, rejected=pilot.rejected, coverage=pilot.coverage, coverage_mixed=pilot.coverage_mixed,
        distance=pilot.distance, why=_why(pilot, gain, halved, level),
    )


def seeds_of_all_arms(pilot: Pilot) -> statistics.Squares:
    """Mean squares of the pilot's gain, with what seeds do taken from all three arms where it is more.

    Three seeds of one difference know two degrees of freedom, and are close together by luck too often; three arms know six. Arms are
    taken to feel their seeds independently, so the square of a difference is twice that of an arm.
    """
    found = statistics.squares(pilot.mixed_SN, pilot.real_SN, weights_N=pilot.weights_N)
    each = [statistics.per_seed(one, weights_N=pilot.weights_N).var(ddof=1) for one in (pilot.real_SN, pilot.half_SN, pilot.mixed_SN)]
    return replace(found, between_seeds=max(found.between_seeds, 2 * found.n_images * float(np.mean(each))))


def error_of(found: statistics.Squares | None, images: int) -> float:
    """Standard error of the pilot's gain: at least one image's worth, and everything where nothing could be judged."""
    return 1.0 if found is None else max(found.variance**0.5, 1 / images)


def posterior(gain: float, error: float, spread: float) -> tuple[float, float]:
    """Mean and standard deviation of the true gain: a normal prior around 0, the pilot's mean and error as the likelihood."""
    share = spread**2 / (spread**2 + error**2)
    return share * gain, share**0.5 * error


def planned_test(found: statistics.Squares | None, pilot: Pilot, seeds: int, images: int) -> tuple[float, float]:
    """Standard error of the planned test, and the gain that it must observe: the pilot's components at its seeds and images."""
    if found is None or seeds < 2:   # what cannot be judged says nothing
        return 1.0, 1.0
    share = found.n_images / pilot.real_SN.shape[1]   # of the images that count in the objective
    error, df = (float(one) for one in found.elsewhere(np.float64(seeds), np.float64(max(1.0, share * images))))
    error = max(error, 1 / max(1, images))
    return error, error * float(stdtrit(df, 0.975))


def chances_of(mean: float, sd: float, error: float, limit: float, df: float) -> dict[str, float]:
    """Of each verdict, in sum 1: what the test observes is ``mean`` with the variances of both, as Student's t of ``df``."""
    total, df = (sd**2 + error**2) ** 0.5, max(df, 1.0)
    helped, hurt = float(stdtr(df, (mean - limit) / total)), float(stdtr(df, (-mean - limit) / total))
    return {statistics.HELPED: helped, statistics.UNDECIDED: 1 - helped - hurt, statistics.HURT: hurt}


def coverage(*, real_ND: np.ndarray, by_MD: np.ndarray, k: int = REACHED) -> float:
    """Share of the real points that have one of the others within the distance to their k-th nearest real neighbour.

    Coverage as in Naeem et al., "Reliable Fidelity and Diversity Metrics for Generative Models", ICML 2020. NaN below k + 1
    real points, 0 where ``by_MD`` is empty.
    """
    if len(real_ND) <= k:
        return float("nan")
    among = np.sort(_distances(real_ND, real_ND), axis=1)[:, k]   # the 0th is the point itself
    return float((_nearest(real_ND, by_MD) <= among).mean()) if len(by_MD) else 0.0


def relative_distance(*, real_ND: np.ndarray, synthetic_MD: np.ndarray) -> float:
    """Median distance of the synthetic points to their nearest real one, in medians of that among the real ones."""
    among = np.sort(_distances(real_ND, real_ND), axis=1)[:, 1] if len(real_ND) > 1 else np.zeros(0)
    own = float(np.median(among)) if len(among) else 0.0
    return float(np.median(_nearest(synthetic_MD, real_ND))) / own if own and len(synthetic_MD) else float("nan")


def _distances(a_ND: np.ndarray, b_MD: np.ndarray) -> np.ndarray:
    squared = np.square(a_ND).sum(1)[:, None] + np.square(b_MD).sum(1) - 2 * a_ND @ b_MD.T
    return np.sqrt(np.maximum(squared, 0))


def _nearest(a_ND: np.ndarray, b_MD: np.ndarray) -> np.ndarray:
    return _distances(a_ND, b_MD).min(axis=1)


def _why(pilot: Pilot, gain: Interval, halved: Interval, level: float) -> tuple[str, ...]:
    """The grounds in sentences, the strongest first."""
    fewest, most = min(pilot.n_train), max(pilot.n_train)
    size = ("scarce: such sets gain most" if fewest < SCARCE else
            "rich: such sets seldom gain" if fewest >= RICH else "neither scarce nor rich")
    balance = f"{fewest} to {most} real training images per class" if fewest < most else f"{fewest} real training images per class"
    told = [
        f"beside {sum(pilot.n_train)} real images, {pilot.images} of the pilot moved {pilot.measure} on validation by {_points(gain)} "
        f"(α = {pilot.alpha:g}, {gain.n_seeds} seed{'s' * (gain.n_seeds != 1)} × {gain.n_images} images)",
        f"{pilot.measure} of real images alone is {100 * level:.1f} % on validation: at most {100 * (1 - level):.1f} points are left "
        "to gain",
        f"{balance}: {size}" + (f"; the rarest class has one for {most / fewest:.0f} of the largest" if most >= 4 * fewest else ""),
        f"the second half of them is worth {_points(halved)}: "
        + ("more images of their kind would still be learnt from" if halved.low > 0 else
           "nothing shows that more images of their kind would help"),
    ]
    if pilot.foreign is not None:
        doubt = ", so its labels are in doubt" if pilot.foreign >= FOREIGN else ""
        told.append(f"{100 * pilot.foreign:.0f} % of the pilot's images look more like another class{doubt}; "
                    f"the filter rejects {100 * pilot.rejected:.0f} %")
    if pilot.coverage is not None and pilot.coverage_mixed is not None:
        told.append(f"the real training images cover {100 * pilot.coverage:.0f} % of validation, with the pilot's "
                    f"{100 * pilot.coverage_mixed:.0f} %")
    if pilot.distance is not None:
        told.append(f"the pilot's images lie {pilot.distance:.2g} times as far from the real ones as these from each other")
    return tuple(told)


def _points(one: Interval) -> str:
    bounds = f" [{100 * one.low:+.1f}, {100 * one.high:+.1f}]" if one.df else ""
    return f"{100 * one.mean:+.1f} points{bounds}"
