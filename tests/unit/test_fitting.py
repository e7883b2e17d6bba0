"""The ways of fitting a trial's seeds: one after the other, compiled once, or stacked. What is learnt is the same."""

from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from torch import nn

from job import fitting_together
from job.errors import SettingsError
from job.fitting import Shares, fit
from job.fitting_together import fit_seeds, fit_together, stacked, why_apart
from job.runplan import Schedule
from job.tasks.classification import Classification

pytestmark = pytest.mark.unit
SEEDS = (3, 1, 2**31 - 2)
SCHEDULE = Schedule(40, 16, 2e-3, 0.01, 16, 1)


class Recording(Classification):
    """Keeps every batch that a net is given, as it is after augmentation."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[torch.Tensor] = []

    def augment(self, inputs, generator):
        made = super().augment(inputs, generator)
        self.seen.append(made.clone())
        return made


def task(kind=Classification, **options):
    return kind(Classification.Options(flip=True, shift_px=2, **options), classes=3, size_px=16)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Classes of noise with one channel somewhat brighter: learnt in part within forty steps."""
    rng, found = np.random.default_rng(0), {}
    for part, count in (("images_NHWC targets_N", 50), ("judged_MHWC judged_targets_M", 300)):
        labels = rng.integers(0, 3, count)
        images = rng.integers(0, 200, (count, 16, 16, 3))
        images[np.arange(count), :, :, labels] += 10
        found |= dict(zip(part.split(), (torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels)), strict=True))
    return found


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_small_cnn_gives_what_the_usual_order_gives_to_the_last_bit() -> None:
    def usual() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(256, 3))

    images, found = torch.randn(32, 3, 16, 16), []
    for build in (usual, task().build):
        torch.manual_seed(1)
        model = build().to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
        for _ in range(5):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(images), torch.arange(32) % 3).backward()
            optimiser.step()
        found.append([*model.state_dict().values(), *(weight.grad for weight in model.parameters())])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("how", ["plain", "draws", "loss"])
def test_a_stacked_net_sees_exactly_the_batches_that_the_nets_see_one_by_one(tensors, how: str) -> None:
    groups = (np.arange(50) % 2).astype(np.int64)
    shares = None if how == "plain" else Shares(groups, np.array([0.2, 0.8]), how == "loss")
    apart, together = task(Recording), task(Recording)
    short = replace(SCHEDULE, steps=7)
    one_by_one = [fit(apart, short, seed, "cpu", **tensors, shares=shares) for seed in SEEDS]
    at_once = fit_together(together, short, SEEDS, "cpu", **tensors, shares=shares)
    by_seed = [together.seen[at :: len(SEEDS)] for at in range(len(SEEDS))]
    assert len(apart.seen) == len(together.seen) == 7 * len(SEEDS)
    assert all(torch.equal(one, other) for one, other in zip(apart.seen, chain(*by_seed), strict=True))
    for one, other in zip(one_by_one, at_once, strict=True):
        assert (other.first_loss, other.loss) == pytest.approx((one.first_loss, one.loss), rel=1e-4)
        assert other.samples_seen == one.samples_seen == 7 * 16


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_together_the_nets_learn_what_they_learn_one_after_the_other(tensors, precision: str) -> None:
    schedule = replace(SCHEDULE, precision=precision)
    apart = [fit(task(), schedule, seed, "cpu", **tensors) for seed in SEEDS]
    together = fit_together(task(), schedule, SEEDS, "cpu", **tensors)
    same = [float((one.correct_N == other.correct_N).mean()) for one, other in zip(apart, together, strict=True)]
    assert min(same) > (0.98 if precision == "fp32" else 0.9)
    assert [one.loss for one in together] == pytest.approx([one.loss for one in apart], rel=1e-3 if precision == "fp32" else 0.2)
    assert len({one.loss for one in together}) == len(SEEDS)
    assert np.mean([one.correct_N for one in together]) > 0.5   # something was learnt


def test_seeds_are_trained_together_where_they_are_told_to_and_by_themselves_only_on_cuda() -> None:
    def asked(together: str, device: str = "cpu", seeds: int = 5, compiled: bool = False, **options) -> bool:
        return stacked(task(**options), replace(SCHEDULE, together=together, compile=compiled), seeds, device)

    assert asked("always")
    assert not asked("auto")
    assert asked("auto", "cuda")
    assert not asked("auto", "cuda", seeds=1)
    assert not asked("auto", "cuda", compiled=True)
    assert not asked("auto", "cuda", model="shufflenet_v2_x0_5")   # batch norm
    assert not asked("auto", "cuda", model="vit_b_16")             # 86 million weights
    assert not asked("auto", "cuda", model="regnet_y_400mf")       # cannot even be built without numbers
    assert not asked("never", "cuda")


def test_as_many_seeds_are_stacked_by_themselves_as_a_batch_of_so_many_pixels_holds(tensors, monkeypatch: pytest.MonkeyPatch) -> None:
    large = replace(SCHEDULE, batch_size=64, size_px=224)
    assert [fitting_together.at_once(one) for one in (large, replace(large, size_px=32), replace(large, size_px=512))] == [2, 122, 0]
    assert not stacked(task(), replace(large, together="auto", size_px=512), 5, "cuda")
    monkeypatch.setattr(fitting_together, "stacked", lambda *_: True)   # as on cuda
    monkeypatch.setattr(fitting_together, "at_once", lambda _: 2)
    short, counts = replace(SCHEDULE, steps=3), []

    @contextmanager
    def limit(count):
        counts.append(count)
        yield

    found = fit_seeds(task(), replace(short, together="auto"), SEEDS, "cpu", limit, **tensors)
    assert counts == [2, 1]
    assert [one.loss for one in found] == pytest.approx([fit(task(), short, seed, "cpu", **tensors).loss for seed in SEEDS], rel=1e-4)


def test_the_way_that_is_asked_for_is_taken_and_every_training_stands_under_its_limit(tensors) -> None:
    limits = []

    @contextmanager
    def limit(count):
        limits.append(count)
        yield

    short = replace(SCHEDULE, steps=3)
    for together, expected in (("never", [1, 1, 1]), ("always", [3])):
        limits.clear()
        found = fit_seeds(task(), replace(short, together=together), SEEDS, "cpu", limit, **tensors)
        assert limits == expected
        assert [one.loss for one in found] == pytest.approx([fit(task(), short, seed, "cpu", **tensors).loss for seed in SEEDS], rel=1e-4)


@pytest.mark.parametrize(("model", "why"), [
    ("resnet18", r"60 buffers \(bn1.running_mean, …\) where a stacked net may have 0"),
    ("squeezenet1_1", "random operation"),   # dropout
])
def test_a_model_that_cannot_be_stacked_is_refused_with_the_reason_and_a_cure(model: str, why: str) -> None:
    one = Classification(Classification.Options(model=model), classes=3, size_px=32)
    with pytest.raises(SettingsError, match=f"SALTWORKS_TRAIN__TOGETHER=always, and the model .*{why}") as refusal:
        stacked(one, replace(SCHEDULE, together="always"), 5, "cpu")
    assert "SALTWORKS_TRAIN__TOGETHER=auto" in refusal.value.cure
    assert not why_apart(task())


def test_together_and_compiled_are_not_asked_for_at_once() -> None:
    with pytest.raises(SettingsError, match="SALTWORKS_TRAIN__COMPILE=true"):
        stacked(task(), replace(SCHEDULE, together="always", compile=True), 5, "cpu")
