"""The control arms on real digits, with real trainings: what cannot help does not."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest

from job import arms, choosing, mixing
from job.fitting import fit
from job.ground.lineage import class_words
from job.records import Mix, Salting
from job.results import TrialResult
from job.runplan import Schedule
from job.statistics import HELPED, UNDECIDED
from job.tasks.classification import Classification
from job.trainset import training_set

pytestmark = [pytest.mark.contract, pytest.mark.timeout(300)]
Images = tuple[np.ndarray, np.ndarray]
GRID = (0.0, 0.5, 0.9)
SEEDS = tuple(range(100, 108))


@cache
def digits() -> Images:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    images = np.repeat((found.images[order] * 15.9).astype(np.uint8)[..., None], 3, axis=3)
    return images, found.target[order].astype(np.int64)


def first(per_class: int, taken: Sequence[int] = ()) -> list[int]:
    """Rows of the first images of every class that are not taken."""
    free = np.setdiff1d(np.arange(len(digits()[1])), np.asarray(taken, int))
    labels = digits()[1][free]
    return sorted(int(row) for label in range(10) for row in free[labels == label][:per_class])


def trained(
    mix: Mix, ids: Sequence[str], real: Images, synthetic: dict, judged: Images, arm: str, wrong: float,
) -> TrialResult:
    """One arm, its seeds one after the other. ``wrong``: share of what stands beside the real images whose label is another."""
    import torch

    torch.set_num_threads(1)
    schedule = Schedule(150, 32, 2e-3, 0.0, 8, 1)
    images, labels, shares = training_set(mix, ids, real, synthetic)
    rng = np.random.default_rng(1)
    flipped = np.arange(len(labels)) >= mix.n_real
    flipped &= rng.random(len(labels)) < wrong
    labels = np.where(flipped, (labels + rng.integers(1, 10, len(labels))) % 10, labels)
    tensors = {name: torch.from_numpy(value) for name, value in zip(
        ("images_NHWC", "targets_N", "judged_MHWC", "judged_targets_M"), (images, labels, *judged), strict=True)}
    task = Classification(Classification.Options(), classes=10, size_px=8)
    made = [fit(task, schedule, seed, "cpu", **tensors, shares=shares) for seed in SEEDS]
    return TrialResult(f"{arm}-{mix.alpha}", mix.alpha, mix.realised_alpha, mix.n_real, mix.n_copies, made[0].samples_seen, SEEDS, "test",
                       np.stack([one.correct_N for one in made]), tuple(one.first_loss for one in made),
                       tuple(one.loss for one in made), tuple(one.late_gain for one in made), 1.0, arm=arm)


def test_copies_of_the_real_images_make_no_detectable_difference_and_with_wrong_labels_never_help() -> None:
    images, labels = digits()
    rows = first(8)
    test = np.setdiff1d(np.arange(len(labels)), rows)[:700]
    real, judged = (images[rows], labels[rows]), (images[test], labels[test])
    ids, words = [f"real-{row}" for row in rows], [class_words(label, str(label)) for label in range(10)]

    def at(alpha: float, arm: str = "", wrong: float = 0.0) -> TrialResult:
        mix = mixing.mix(alpha, GRID, ids, labels[rows].tolist(), words, {}, Salting(), arms.find(arm))
        return trained(mix, ids, real, {}, judged, arm, wrong)

    baseline, placebos = at(0.0), [at(alpha, "placebo") for alpha in GRID if alpha]
    controls = choosing.controls(placebos[-1], baseline, [*placebos, at(0.0, "reweighted")])
    assert [one.effect.word for one in controls] == [UNDECIDED] * 3   # Holm over all of them
    wrong = at(0.9, "placebo", wrong=0.3)
    assert choosing.verdict(wrong, baseline).word != HELPED
