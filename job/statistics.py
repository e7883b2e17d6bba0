"""COLD. How sure a paired difference is, over training seeds and test images at once. Knows nothing of α.

``D_SN[s, i] = correct_a − correct_b`` is read as a two-way crossed random layout without replication (Searle, Casella
and McCulloch 1992, ch. 4): another set of seeds *and* another set of images could have been drawn. Either one alone
makes the interval too short. The degrees of freedom are Satterthwaite's (1946) with the seeds as the scarce factor, as
Hillis (2007) proposed for readers and cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats has the same quantiles, three times slower to import

from job.errors import JobError
from job.results import Interval

HELPED = "helped"
HURT = "hurt"
UNDECIDED = "no detectable difference"
NO_VERDICT = "no verdict"
DF_CAP = 1e4        # Student's t is normal there
MIN_IMAGES = 10     # fewer agree by chance: two images that flip would have no variance and look certain
MAX_SEEDS = 1_000
MAX_IMAGES = 1e9


@dataclass(frozen=True, slots=True)
class Squares:
    """Mean squares of ``D_SN``: between seeds (A), between images (B), and of the rest (E)."""

    mean: float
    between_seeds: float
    between_images: float
    rest: float
    n_seeds: int
    n_images: int

    @property
    def scaled_variance(self) -> float:
        """``V·S·n``. A + B − E is unbiased; A and B bound it from below where E is large by chance."""
        a, b, e = self.between_seeds, self.between_images, self.rest
        return max(a, b, a + b - e)

    @property
    def variance(self) -> float:
        return self.scaled_variance / (self.n_seeds * self.n_images)

    @property
    def df(self) -> float:
        if self.between_seeds == 0:
            return DF_CAP
        return min(DF_CAP, (self.n_seeds - 1) * (self.scaled_variance / self.between_seeds) ** 2)

    def detectable(self, seeds: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Smallest detectable effect that this variance would leave at other numbers of seeds and images."""
        seed = max(0.0, self.between_seeds - self.rest) / self.n_images
        image = max(0.0, self.between_images - self.rest) / self.n_seeds
        rest = max(0.0, self.scaled_variance - self.n_images * seed - self.n_seeds * image)
        a = rest + images * seed
        variance = seed / seeds + image / images + rest / (seeds * images)
        ratio = np.divide(variance * seeds * images, a, out=np.full(np.shape(a + seeds), np.inf), where=a > 0)
        return _detectable(np.sqrt(variance), np.minimum(DF_CAP, (seeds - 1) * ratio**2))


@dataclass(frozen=True, slots=True)
class Gain:
    """One of several differences: its own 95 % interval, and the p-value that Holm's correction leaves of it."""

    name: str
    n_images: int
    mean: float
    low: float      # unadjusted
    high: float
    p_holm: float
    word: str       # by the adjusted p-value


def squares(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray) -> Squares:
    """Mean squares of the difference of two integer arrays, paired by seed (rows) and image (columns).

    Raises ``JobError`` unless both have one shape of at least 2 × 2.
    """
    if correct_a_SN.shape != correct_b_SN.shape or correct_a_SN.ndim != 2 or min(correct_a_SN.shape) < 2:
        raise JobError(f"two arms of shapes {correct_a_SN.shape} and {correct_b_SN.shape} cannot be compared")
    difference = correct_a_SN.astype(np.int16) - correct_b_SN.astype(np.int16)
    s, n = difference.shape
    row = difference.sum(axis=1, dtype=np.int64)
    column = difference.sum(axis=0, dtype=np.int64)
    # sums of whole numbers have no rounding: identical arms give exactly 0, in whatever order they come
    total, rows, columns = int(row.sum()), int(row @ row), int(column @ column)
    cells = int(np.square(difference, dtype=np.int64).sum())
    return Squares(
        mean=total / (s * n),
        between_seeds=(s * rows - total**2) / (s * n * (s - 1)),
        between_images=(n * columns - total**2) / (s * n * (n - 1)),
        rest=(s * n * cells - s * rows - n * columns + total**2) / (s * n * (s - 1) * (n - 1)),
        n_seeds=s,
        n_images=n,
    )


def interval(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray) -> Interval:
    """``D̄ ± t(.975, df)·√V``: the 95 % interval of accuracy a minus accuracy b, both 0/1 of shape (S, N).

    With ``A = n·Σ_s(D̄_s−D̄)²/(S−1)``, ``B = S·Σ_i(D̄_i−D̄)²/(n−1)``, ``E = Σ(D_si−D̄_s−D̄_i+D̄)²/((S−1)(n−1))``:
    ``V = max(A, B, A+B−E)/(S·n)`` and ``df = (S−1)(V·S·n/A)²``, at most 10⁴. V = 0: every seed and image agrees.
    Raises ``JobError`` unless both have one shape of at least 2 × 2.
    """
    found = squares(correct_a_SN, correct_b_SN)
    error = found.variance**0.5
    half = float(stdtrit(found.df, 0.975)) * error
    return Interval(found.mean, found.mean - half, found.mean + half, error, found.df, found.n_images, found.n_seeds)


def unknown(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray) -> Interval:
    """The interval of a comparison that cannot be judged: the mean, and all that a difference could be."""
    s, n = correct_a_SN.shape
    mean = float(correct_a_SN.mean(dtype=float) - correct_b_SN.mean(dtype=float)) if s * n else 0.0
    return Interval(mean, -1.0, 1.0, 1.0, 0.0, n, s)


def judgeable(correct_SN: np.ndarray) -> bool:
    """Whether there are seeds and images enough for an interval that means something."""
    return correct_SN.shape[0] >= 2 and correct_SN.shape[1] >= MIN_IMAGES


def word(found: Interval) -> str:
    """helped or hurt where zero lies outside, else no detectable difference."""
    return HELPED if found.low > 0 else HURT if found.high < 0 else UNDECIDED


def smallest_detectable(found: Interval) -> float:
    """``(t(.975, df) + t(.80, df))·√V``: the effect that is found in 80 % of runs; 1 where nothing can be judged."""
    return float(_detectable(found.standard_error, found.df)) if found.df else 1.0


def would_decide(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray) -> str:
    """How many seeds, or how many images, would make a gain as large as this one detectable: one sentence.

    Extrapolates the variance components, so it is a guess of the right order, and each number stands alone.
    """
    found = squares(correct_a_SN, correct_b_SN)
    if found.variance == 0:
        return "both arms are right on the same images under every seed: there is nothing to decide"
    if found.mean == 0:
        return "the observed gain is exactly zero: no number of seeds or images would tell it from zero"
    seeds = np.arange(found.n_seeds + 1, MAX_SEEDS + 1)
    images = found.n_images * 1.02 ** np.arange(1, max(2, np.log(MAX_IMAGES / found.n_images) / np.log(1.02)))
    enough_seeds = seeds[found.detectable(seeds, np.float64(found.n_images)) <= abs(found.mean)]
    enough_images = images[found.detectable(np.float64(found.n_seeds), images) <= abs(found.mean)]
    more_seeds = (f"about {enough_seeds[0]} confirm seeds would decide" if enough_seeds.size
                  else "no number of confirm seeds alone would decide")
    more_images = (f"about {_rounded_up(enough_images[0]):,} test images would decide" if enough_images.size
                   else "no number of test images alone would decide")
    return f"for a gain of {100 * found.mean:+.2g} points {more_seeds}; {more_images}"


def gains(arms: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> tuple[Gain, ...]:
    """Several differences (name, correct_a_SN, correct_b_SN) judged together, with Holm's correction (Holm 1979).

    What has too few seeds or images to be judged says so, and takes no part in the correction.
    """
    found = [interval(a, b) if judgeable(a) else unknown(a, b) for _, a, b in arms]
    fit = [at for at, (_, a, _) in enumerate(arms) if judgeable(a)]
    adjusted = dict(zip(fit, holm([_p_value(found[at]) for at in fit]), strict=True))
    return tuple(
        Gain(name, one.n_images, one.mean, one.low, one.high, adjusted.get(at, 1.0), _adjusted_word(one, adjusted.get(at)))
        for at, ((name, _, _), one) in enumerate(zip(arms, found, strict=True))
    )


def by_class(
    correct_a_SN: np.ndarray, correct_b_SN: np.ndarray, groups_N: np.ndarray, names: Sequence[str] = ()
) -> tuple[Gain, ...]:
    """Gain of every group of images, ascending by group; ``names[group]`` if given, else the number itself."""
    return gains([
        (names[group] if names else str(group), correct_a_SN[:, groups_N == group], correct_b_SN[:, groups_N == group])
        for group in np.unique(groups_N)
    ])


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given: ``max over j ≤ k of (m − j)·p_(j)``, j from 0, at most 1."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = running
    return tuple(adjusted)


def _p_value(found: Interval) -> float:
    if found.standard_error == 0:
        return float(found.mean == 0)
    return float(2 * stdtr(found.df, -abs(found.mean) / found.standard_error))


def _adjusted_word(found: Interval, p: float | None) -> str:
    if p is None:
        return NO_VERDICT
    return UNDECIDED if p >= 0.05 else HELPED if found.mean > 0 else HURT


def _detectable(standard_error: np.ndarray | float, df: np.ndarray | float) -> np.ndarray:
    return (stdtrit(df, 0.975) + stdtrit(df, 0.80)) * standard_error


def _rounded_up(number: float) -> int:
    """Two significant digits: a guess should not look like a measurement."""
    unit = 10 ** max(0, len(str(int(number))) - 2)
    return int(-(-number // unit) * unit)
