"""COLD. How sure a paired difference is, over training seeds and test images at once. Knows nothing of α.

``D_SN[s, i] = correct_a − correct_b`` is read as a two-way crossed random layout without replication (Searle, Casella
and McCulloch 1992, ch. 4): another set of seeds *and* another set of images could have been drawn. Either one alone
makes the interval too short. The degrees of freedom are Satterthwaite's (1946) with the seeds as the scarce factor, as
Hillis (2007) proposed for readers and cases. ``docs/statistics.md`` derives the rule and says how often it is wrong.

``weights_N``, one per image and in sum 1, makes the statistic ``Σ_i w_i·D̄_i``: 1/(classes · images of the class) is
balanced accuracy, 1/(images of a class) there and 0 elsewhere its recall. Images of weight 0 count for nothing at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats has the same quantiles, three times slower to import

from job.errors import JobError
from job.results import Gain, Interval

HELPED = "helped"
HURT = "hurt"
UNDECIDED = "no detectable difference"
NO_VERDICT = "no verdict"
DF_CAP = 1e4        # Student's t is normal there
TWO_SEEDS_DF = 1.5  # one difference between seeds that is small by luck would promise thousands: .87 covered at worst, with this .93
MIN_IMAGES = 10     # fewer agree by chance: two images that flip would have no variance and look certain
MAX_SEEDS = 1_000
MAX_IMAGES = 1e9
CELLS = 1_000_000   # of one chunk of a bootstrap


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
        cap = float(_most_df(self.n_seeds))
        return min(cap, (self.n_seeds - 1) * (self.scaled_variance / self.between_seeds) ** 2) if self.between_seeds else cap

    def detectable(self, seeds: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Smallest detectable effect that this variance would leave at other numbers of seeds and images."""
        return _detectable(*self.elsewhere(seeds, images))

    def enough(self, seeds: np.ndarray, images: np.ndarray, of: int = 1) -> int | None:
        """Index of the first of those numbers, ascending and none below these, at which an effect like this mean is detectable."""
        effect, (error, df) = abs(self.mean), self.elsewhere(seeds, images)
        maybe = np.flatnonzero(error * _detectable(1.0, np.inf, of) <= effect)
        surely = error[maybe] * _detectable(1.0, self.n_seeds - 1, of) <= effect   # df is never below seeds − 1
        maybe = maybe[:int(surely.argmax()) + 1] if surely.any() else maybe            # so only these want their quantiles
        found = maybe[_detectable(error[maybe], df[maybe], of) <= effect]
        return int(found[0]) if found.size else None

    def elsewhere(self, seeds: np.ndarray, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Standard error and degrees of freedom at other numbers of seeds and images."""
        seed = max(0.0, self.between_seeds - self.rest) / self.n_images
        image = max(0.0, self.between_images - self.rest) / self.n_seeds
        rest = max(0.0, self.scaled_variance - self.n_images * seed - self.n_seeds * image)
        a = rest + images * seed
        variance = seed / seeds + image / images + rest / (seeds * images)
        ratio = np.divide(variance * seeds * images, a, out=np.full(np.shape(a + seeds), np.inf), where=a > 0)
        return np.sqrt(variance), np.minimum(_most_df(seeds), (seeds - 1) * ratio**2)


def squares(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray, *, weights_N: np.ndarray | None = None) -> Squares:
    """Mean squares of the difference of two integer arrays, paired by seed (rows) and image (columns).

    With weights they are those of ``x_si = n·w_i·(D_si − D̄) + D̄`` over the n images whose weight is above 0, where D̄ is
    the weighted mean: the linearised weighted mean (Särndal, Swensson and Wretman 1992, ch. 5). Equal weights give D.
    Raises ``JobError`` unless both have one shape of at least 2 × 2, and weights are none below 0, in sum 1.
    """
    if correct_a_SN.shape != correct_b_SN.shape or correct_a_SN.ndim != 2 or min(_counted(correct_a_SN, weights_N).shape) < 2:
        raise JobError(f"two arms of shapes {correct_a_SN.shape} and {correct_b_SN.shape} cannot be compared")
    difference = correct_a_SN.astype(np.int16) - correct_b_SN.astype(np.int16)
    return _whole_squares(difference) if weights_N is None else _weighted_squares(difference, weights_N)


def _whole_squares(difference: np.ndarray) -> Squares:
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
        n_seeds=s, n_images=n,
    )


def _weighted_squares(difference: np.ndarray, weights_N: np.ndarray) -> Squares:
    weight = weights_N[weights_N > 0]
    counted = _counted(difference, weights_N).astype(float)
    s, n = counted.shape
    mean = float((counted @ weight).mean())
    x = n * weight * (counted - mean) + mean
    row, column = x.mean(axis=1), x.mean(axis=0)
    rest = x - row[:, None] - column + mean
    return Squares(
        mean=mean,
        between_seeds=n * float(np.square(row - mean).sum()) / (s - 1),
        between_images=s * float(np.square(column - mean).sum()) / (n - 1),
        rest=float(np.square(rest).sum()) / ((s - 1) * (n - 1)),
        n_seeds=s, n_images=n,
    )


def interval(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray, *, weights_N: np.ndarray | None = None) -> Interval:
    """``D̄ ± t(.975, df)·√V``: the 95 % interval of accuracy a minus accuracy b, both 0/1 of shape (S, N).

    With ``A = n·Σ_s(D̄_s−D̄)²/(S−1)``, ``B = S·Σ_i(D̄_i−D̄)²/(n−1)``, ``E = Σ(D_si−D̄_s−D̄_i+D̄)²/((S−1)(n−1))``:
    ``V = max(A, B, A+B−E)/(S·n)`` and ``df = (S−1)(V·S·n/A)²``, at most 10⁴, and at most 1.5 from two
    seeds. V = 0: every seed and image agrees. Weights and errors: ``squares``.
    """
    found = squares(correct_a_SN, correct_b_SN, weights_N=weights_N)
    error = found.variance**0.5
    half = float(stdtrit(found.df, 0.975)) * error
    return Interval(found.mean, found.mean - half, found.mean + half, error, found.df, found.n_images, found.n_seeds)


def unknown(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray, *, weights_N: np.ndarray | None = None) -> Interval:
    """The interval of a comparison that cannot be judged: the mean, and all that a difference could be."""
    s, n = _counted(correct_a_SN, weights_N).shape
    mean = score(correct_a_SN, weights_N=weights_N) - score(correct_b_SN, weights_N=weights_N) if s * n else 0.0
    return Interval(mean, -1.0, 1.0, 1.0, 0.0, n, s)


def judged(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray, *, weights_N: np.ndarray | None = None) -> Interval:
    """The interval where there are seeds and images enough for one, else ``unknown``."""
    return (interval if judgeable(correct_a_SN, weights_N=weights_N) else unknown)(correct_a_SN, correct_b_SN, weights_N=weights_N)


def score(correct_SN: np.ndarray, *, weights_N: np.ndarray | None = None) -> float:
    """Mean over seeds of the weighted share of images that are right: accuracy, balanced accuracy, or a recall."""
    return float(correct_SN.mean(dtype=float) if weights_N is None else (_counted(correct_SN, weights_N) @ weights_N[weights_N > 0]).mean())


def per_seed(correct_SN: np.ndarray, *, weights_N: np.ndarray | None = None) -> np.ndarray:
    """float (S,): the weighted share of every seed."""
    return correct_SN.mean(axis=1, dtype=float) if weights_N is None else correct_SN @ weights_N


def judgeable(correct_SN: np.ndarray, *, weights_N: np.ndarray | None = None) -> bool:
    """Whether there are seeds and images enough for an interval that means something."""
    s, n = _counted(correct_SN, weights_N).shape
    return s >= 2 and n >= MIN_IMAGES


def word(found: Interval) -> str:
    """helped or hurt where zero lies outside, else no detectable difference."""
    return HELPED if found.low > 0 else HURT if found.high < 0 else UNDECIDED


def smallest_detectable(found: Interval, of: int = 1) -> float:
    """``(t(1 − .025/of, df) + t(.80, df))·√V``: found in 80 % of runs as one of so many (Bonferroni's share); 1 where nothing is judged."""
    return float(_detectable(found.standard_error, found.df, of)) if found.df else 1.0


def would_decide(correct_a_SN: np.ndarray, correct_b_SN: np.ndarray, *, weights_N: np.ndarray | None = None, of: int = 1) -> str:
    """How many seeds, or how many images, would make a gain as large as this one detectable among ``of``: one sentence.

    Extrapolates the variance components, so it is a guess of the right order, and each number stands alone.
    """
    found = squares(correct_a_SN, correct_b_SN, weights_N=weights_N)
    if found.variance == 0:
        return "both arms are right on the same images under every seed: there is nothing to decide"
    if found.mean == 0:
        return "the observed gain is exactly zero: no number of seeds or images would tell it from zero"
    seeds = np.arange(found.n_seeds + 1, MAX_SEEDS + 1)
    images = found.n_images * 1.02 ** np.arange(1, max(2, np.log(MAX_IMAGES / found.n_images) / np.log(1.02)))
    enough_seeds = found.enough(seeds, np.float64(found.n_images), of)
    enough_images = found.enough(np.float64(found.n_seeds), images, of)
    more_seeds = ("no number of confirm seeds alone would decide" if enough_seeds is None
                  else f"about {seeds[enough_seeds]} confirm seeds would decide")
    counted = "test images" if found.n_images == correct_a_SN.shape[1] else "counted test images"
    more_images = (f"no number of {counted} alone would decide" if enough_images is None
                   else f"about {rounded_up(images[enough_images]):,} {counted} would decide")
    return f"for a gain of {100 * found.mean:+.2g} points {more_seeds}; {more_images}"


def resampled(correct_SN: Sequence[np.ndarray], weights_KN: np.ndarray, *, draws: int = 1000, seed: int = 0) -> np.ndarray:
    """``Σ_s Σ_i w_i·correct_si`` of every arm and K weightings where other seeds and images had been drawn: (K, arms, draws).

    A bootstrap (Efron and Tibshirani 1993) of seeds and images together, as Owen's (2007) for crossed factors: each draw
    takes as many of both as there are, with replacement, the same for every arm. ``correct_SN``: 0/1 of every arm. Where all
    weights are 1 the sums have no rounding. Chunks keep it at some tens of megabytes beyond the arms. Raises
    ``JobError`` unless there are arms, all of one shape, and at least one draw.
    """
    shapes = {one.shape for one in correct_SN}
    if len(shapes) != 1 or min(*next(iter(shapes)), draws) < 1:
        raise JobError(f"arms of shapes {sorted(shapes)} cannot be drawn again in {draws} draws")
    (s, n), rng, found = correct_SN[0].shape, np.random.default_rng(seed), []
    most = max(1, CELLS // n)
    for size in (min(most, draws - start) for start in range(0, draws, most)):
        seeds, images = _drawn(rng, size, s), _drawn(rng, size, n)
        weighted = [(images * weight).T for weight in weights_KN]
        found.append([[np.einsum("ds,sd->d", seeds, one.astype(float) @ each) for one in correct_SN] for each in weighted])
    return np.concatenate(found, axis=-1)


def gains(arms: Sequence[tuple[str, np.ndarray, np.ndarray]], *, weights_N: np.ndarray | None = None) -> tuple[Gain, ...]:
    """Several differences (name, correct_a_SN, correct_b_SN) judged together, with Holm's correction (Holm 1979).

    What has too few seeds or images to be judged says so, and takes no part in the correction.
    """
    return corrected([(name, judged(a, b, weights_N=weights_N)) for name, a, b in arms])


def corrected(found: Sequence[tuple[str, Interval]]) -> tuple[Gain, ...]:
    """The same for intervals by name; those of no degree of freedom (``unknown``) take no part."""
    fit = [at for at, (_, one) in enumerate(found) if one.df]
    adjusted = dict(zip(fit, holm([_p_value(found[at][1]) for at in fit]), strict=True))
    return tuple(
        Gain(name, one.n_images, one.mean, one.low, one.high, adjusted.get(at, 1.0), _adjusted_word(one, adjusted.get(at)),
             one.standard_error)
        for at, (name, one) in enumerate(found)
    )


def by_class(
    correct_a_SN: np.ndarray, correct_b_SN: np.ndarray, groups_N: np.ndarray, names: Sequence[str] = ()
) -> tuple[Gain, ...]:
    """Gain of every group of images, ascending by group; ``names[group]`` if given, else the number itself.

    Inside a class every image counts alike, so weights by class have no say here.
    """
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


def _counted(values_SN: np.ndarray, weights_N: np.ndarray | None) -> np.ndarray:
    """The columns whose weight is above 0. Raises ``JobError`` on weights that are none."""
    if weights_N is None:
        return values_SN
    if weights_N.shape != values_SN.shape[1:] or not (weights_N >= 0).all() or not np.isclose(weights_N.sum(), 1):
        raise JobError(f"weights of shape {weights_N.shape} and sum {weights_N.sum()} do not weigh {values_SN.shape} judgements")
    return values_SN[:, weights_N > 0]


def _most_df(seeds: np.ndarray | int) -> np.ndarray:
    return np.where(np.asarray(seeds) == 2, TWO_SEEDS_DF, DF_CAP)


def _drawn(rng: np.random.Generator, draws: int, n: int) -> np.ndarray:
    """How often each of n is taken in n takes with replacement: float, (draws, n)."""
    cells = rng.integers(n, size=(draws, n)) + n * np.arange(draws)[:, None]
    return np.bincount(cells.ravel(), minlength=draws * n).reshape(draws, n).astype(float)


def _p_value(found: Interval) -> float:
    return float(2 * stdtr(found.df, -abs(found.mean) / found.standard_error) if found.standard_error else found.mean == 0)


def _adjusted_word(found: Interval, p: float | None) -> str:
    if p is None:
        return NO_VERDICT
    return UNDECIDED if p >= 0.05 else HELPED if found.mean > 0 else HURT


def _detectable(standard_error: np.ndarray | float, df: np.ndarray | float, of: int = 1) -> np.ndarray:
    return (stdtrit(df, 1 - 0.025 / of) + stdtrit(df, 0.80)) * standard_error


def rounded_up(number: float) -> int:
    """Two significant digits: a guess should not look like a measurement."""
    unit = 10 ** max(0, len(str(int(number))) - 2)
    return int(-(-number // unit) * unit)
