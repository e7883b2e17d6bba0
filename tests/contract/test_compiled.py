"""A compiled model learns what it learns uncompiled, and one compilation serves all seeds of a trial."""

import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from job.errors import SettingsError
from job.fitting import fit
from job.fitting_together import fit_seeds
from job.runplan import Schedule
from job.tasks.classification import Classification

pytestmark = pytest.mark.contract
SEEDS = (3, 1, 2)
SCHEDULE = Schedule(40, 16, 2e-3, 0.01, 16, 1, compile=True)
TASK = Classification(Classification.Options(flip=True), classes=3, size_px=16)


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    rng, found = np.random.default_rng(0), {}
    for part, count in (("images_NHWC targets_N", 50), ("judged_MHWC judged_targets_M", 300)):
        labels = rng.integers(0, 3, count)
        images = rng.integers(0, 200, (count, 16, 16, 3))
        images[np.arange(count), :, :, labels] += 5
        found |= dict(zip(part.split(), (torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(labels)), strict=True))
    torch._dynamo.reset()
    return found


@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles with a C++ compiler")
def test_a_model_is_compiled_once_for_all_seeds_and_learns_the_same(tensors: dict[str, torch.Tensor]) -> None:
    from torch._dynamo.utils import counters

    counters.clear()
    found = fit_seeds(TASK, SCHEDULE, SEEDS, "cpu", nullcontext, **tensors)
    assert counters["stats"]["unique_graphs"] == 1
    apart = [fit(TASK, replace(SCHEDULE, compile=False), seed, "cpu", **tensors) for seed in SEEDS]
    assert min(float((one.correct_N == other.correct_N).mean()) for one, other in zip(apart, found, strict=True)) > 0.98
    assert [one.loss for one in found] == pytest.approx([one.loss for one in apart], rel=1e-3)


def test_where_nothing_can_be_compiled_the_setting_is_named(tensors: dict[str, torch.Tensor]) -> None:
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}), \
            pytest.raises(SettingsError, match="SALTWORKS_TRAIN__COMPILE=true, and the model cannot be compiled here"):
        fit_seeds(TASK, SCHEDULE, SEEDS, "cpu", nullcontext, **tensors)
