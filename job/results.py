"""The nouns of what was measured and decided: trials, intervals, the choice, the verdict, the bill. Frozen and slotted."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class TrialResult:
    """What a trial measured on strictly real images.

    ``correct_SN``: uint8, one row per seed, one column per judged image in the order of the split.
    ``first_loss_S``, ``train_loss_S``: mean loss over the first and the last tenth of the steps; ``late_gain_S``: the
    share of it by which it still fell over the last tenth.
    """

    trial: str
    alpha: float
    realised_alpha: float
    n_real: int
    n_synthetic: int
    samples_seen: int
    seeds: tuple[int, ...]
    judged_on: str
    correct_SN: np.ndarray
    first_loss_S: tuple[float, ...]
    train_loss_S: tuple[float, ...]
    late_gain_S: tuple[float, ...]
    seconds: float               # of training
    load_s: float = 0.0          # before it, in the same process
    process: str = ""            # which heartbeats are its
    arm: str = ""                # name in ``arms.ARMS``; empty: the α grid's own


@dataclass(frozen=True, slots=True)
class Interval:
    """A paired difference of accuracies with its 95 % interval over seeds and images (fractions, not points)."""

    mean: float
    low: float
    high: float
    standard_error: float
    df: float
    n_images: int
    n_seeds: int


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
    standard_error: float = 0.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The candidate that validation chose, before the locked test was looked at."""

    candidate: float
    val_accuracy: float
    val_gain: float              # over α = 0 on validation: optimistic, it was the best of several
    one_se_alpha: float          # smallest α within one paired standard error of the candidate: an annotation


@dataclass(frozen=True, slots=True)
class Verdict:
    """helped, hurt, or no detectable difference; ``alpha_star`` is 0 unless it helped."""

    word: str
    alpha_star: float
    gain: Interval
    smallest_detectable: float   # at 80 % power, same seeds and images
    would_decide: str            # what n or S would decide, in words; empty where decided
    guarded: Interval | None = None   # of accuracy, where the objective is another


@dataclass(frozen=True, slots=True)
class Advice:
    """What a pilot makes one expect of a run, before it is paid for. Shares and accuracies are fractions."""

    word: str                              # the verdict that is likeliest
    chances: tuple[tuple[str, float], ...]   # of every verdict, in sum 1
    alpha: float                           # of the pilot's mix
    images: int                            # synthetic images in it
    level: float                           # the objective of real images alone, on validation
    gain: Interval                         # of the pilot's mix over them, on validation
    halved: Interval                       # of all real images over half of them
    foreign: float | None                  # share of the pilot's images that look more like another class
    rejected: float                        # share of them that the filter rejects
    coverage: float | None                 # of validation by the real training images
    coverage_mixed: float | None           # by them and the pilot's
    distance: float | None                 # of the pilot's images to the real ones, in distances between those
    why: tuple[str, ...]

    @property
    def chance(self) -> float:
        """Of the word."""
        return dict(self.chances)[self.word]


@dataclass(frozen=True, slots=True)
class Control:
    """An arm of the confirmation: its effect over α = 0, and by what the candidate exceeds it."""

    arm: str
    alpha: float
    effect: Gain
    beyond: Gain


@dataclass(frozen=True, slots=True)
class CostLine:
    """Seconds of one kind in one room, and what they cost (None without a price)."""

    room: str
    kind: str
    seconds: float
    gpu: bool
    cost: float | None
