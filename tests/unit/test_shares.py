"""What each kind of image gets of a training where its number does not say it: exact shares of the draws, or of the loss."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import JobError
from job.fitting import Shares, fit, order, order_by_share, steps_over
from job.records import Mix, Share
from job.runplan import Schedule
from job.tasks.classification import Classification
from job.trainset import shared, training_set

pytestmark = pytest.mark.unit
SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=5)


def schedule(steps: int = 7, batch: int = 8, **further: object) -> Schedule:
    return Schedule(steps, batch, 1e-3, 0.0, 8, 1, **further)


def shares(sizes: list[int], raw: list[float], in_loss: bool = False) -> Shares:
    given_G = np.asarray(raw[: len(sizes)]) / sum(raw[: len(sizes)])
    return Shares(np.repeat(np.arange(len(sizes)), sizes), given_G, in_loss)


@settings(deadline=None)
@given(SIZES, st.lists(st.floats(0.01, 1), min_size=5, max_size=5), st.integers(1, 40), st.integers(0, 9))
def test_every_group_is_drawn_by_its_share_to_less_than_one_draw_and_its_images_alike(sizes, raw, steps, seed) -> None:
    made = shares(sizes, raw)
    rows = order_by_share(made, schedule(steps), seed)
    assert rows.shape == (steps, 8)
    drawn = np.bincount(made.group_N[rows.ravel()], minlength=len(sizes))
    assert drawn.sum() == rows.size
    assert np.abs(drawn - made.share_G * rows.size).max() < 1 + 1e-6
    often = np.bincount(rows.ravel(), minlength=sum(sizes))
    for group in range(len(sizes)):
        mine = often[made.group_N == group]
        assert mine.max() - mine.min() <= 1
    assert np.array_equal(rows, order_by_share(made, schedule(steps), seed))


@given(SIZES, st.lists(st.floats(0.01, 1), min_size=5, max_size=5))
def test_loss_weights_give_every_group_its_share_of_the_loss(sizes, raw) -> None:
    made = shares(sizes, raw, in_loss=True)
    weights = made.weights()
    total = np.bincount(made.group_N, weights, minlength=len(sizes)) / weights.sum()
    assert total == pytest.approx(made.share_G, rel=1e-4)
    assert weights.mean() == pytest.approx(1, rel=1e-4)


def test_a_share_of_a_group_without_an_image_is_a_defect() -> None:
    with pytest.raises(JobError, match="no image is of it"):
        order_by_share(Shares(np.zeros(4, np.int64), np.array([0.5, 0.5]), False), schedule(), 0)


def test_epochs_make_a_larger_set_train_for_longer_and_steps_do_not() -> None:
    assert [steps_over(n, schedule(7)) for n in (8, 80)] == [7, 7]
    assert [steps_over(n, schedule(7, epochs=2)) for n in (8, 80, 81)] == [2, 20, 21]
    rows = order(80, schedule(7, epochs=2), 0)
    assert np.bincount(rows.ravel()).tolist() == [2] * 80


def test_the_groups_of_a_mix_are_its_classes_real_and_not_and_copies_stand_for_synthetic_ones() -> None:
    real = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((4, 2, 2, 3), np.uint8), np.array([0, 1, 0, 1])
    kinds = (Share(0, True, 0.25), Share(1, True, 0.25), Share(1, False, 0.5))
    mix = Mix(0.5, 0.5, ("a", "b", "c", "d"), (), (("b", 2), ("d", 1)), kinds, True)
    images, labels, made = training_set(mix, ["a", "b", "c", "d"], real, {})
    assert images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 1, 1, 3]
    assert labels.tolist() == [0, 1, 0, 1, 1, 1, 1]
    assert made.group_N.tolist() == [0, 1, 0, 1, 2, 2, 2]
    assert (made.share_G.tolist(), made.in_loss) == ([0.25, 0.25, 0.5], True)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("in_loss", [None, False, True])
def test_a_training_learns_by_draws_by_loss_and_in_either_precision(precision: str, in_loss: bool | None) -> None:
    import torch

    rng = np.random.default_rng(0)
    targets = np.arange(64) % 2
    images = (rng.integers(0, 60, (64, 8, 8, 3)) + 150 * targets[:, None, None, None]).astype(np.uint8)
    task = Classification(Classification.Options(), classes=2, size_px=8)
    tensors = {name: torch.from_numpy(value) for name, value in (
        ("images_NHWC", images), ("targets_N", targets), ("judged_MHWC", images), ("judged_targets_M", targets))}
    groups = None if in_loss is None else Shares(targets.astype(np.int64), np.array([0.3, 0.7]), in_loss)
    found = fit(task, schedule(60, 16, precision=precision), 1, "cpu", **tensors, shares=groups)
    assert found.samples_seen == 960
    assert found.correct_N.mean() > 0.9
    assert found.loss < found.first_loss


def test_what_a_mix_takes_is_copied_once_and_where_it_is_all_not_at_all() -> None:
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (4, 2, 2, 3)).astype(np.uint8), np.array([0, 1, 0, 1])
    for array in real:
        array.setflags(write=False)   # as Ray's object store hands them out
    whole, labels, _ = training_set(Mix(0.0, 0.0, ("a", "b", "c", "d"), ()), ["a", "b", "c", "d"], real, {})
    assert np.shares_memory(whole, real[0])
    assert labels.tolist() == [0, 1, 0, 1]
    part, labels, _ = training_set(Mix(0.0, 0.0, ("b", "d"), ()), ["a", "b", "c", "d"], real, {})
    assert np.array_equal(part, real[0][[1, 3]])
    assert labels.tolist() == [1, 1]
    assert np.shares_memory(shared(real[0]).numpy(), real[0])   # and no warning, which would be an error
