"""Whether a classifier can be trained at the size of the images, found out before anything is drawn."""

import subprocess
import sys

import pytest

from job.errors import SettingsError
from job.tasks.classification import Classification

pytestmark = pytest.mark.unit


def task(model, size_px):
    return Classification(Classification.Options(model=model), classes=3, size_px=size_px)


@pytest.mark.parametrize(("model", "size_px"), [
    ("resnet18", 16), ("vit_b_16", 32), ("googlenet", 32), ("squeezenet1_1", 32),
])
def test_a_classifier_that_can_be_trained_at_this_size_passes(model, size_px):
    task(model, size_px).check()


@pytest.mark.parametrize(("model", "size_px"), [("alexnet", 16), ("vit_b_16", 24), ("maxvit_t", 32)])
def test_a_classifier_that_cannot_is_refused_with_both_settings_and_a_cure(model, size_px):
    with pytest.raises(SettingsError) as refusal:
        task(model, size_px).check()
    assert refusal.value.exit_code == 64
    assert f"SALTWORKS_TASK__OPTIONS__MODEL='{model}'" in refusal.value.problem
    assert f"train.size_px = {size_px}" in refusal.value.problem
    assert "SALTWORKS_TRAIN__SIZE_PX" in refusal.value.cure


def test_a_misspelt_classifier_is_refused_as_unknown():
    with pytest.raises(SettingsError, match="'resnet19' is no classifier"):
        task("resnet19", 32).check()


def test_a_model_that_fails_while_it_learns_is_refused_as_a_setting(monkeypatch):
    from torch import nn

    # a norm over single values, as over maps that shrank to one pixel
    broken = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 3), nn.Unflatten(1, (3, 1)), nn.InstanceNorm1d(3), nn.Flatten())
    one = task("resnet18", 16)
    monkeypatch.setattr(one, "build", lambda: broken)
    with pytest.raises(SettingsError, match="Expected more than 1"):
        one.check()


def test_the_small_cnn_is_taken_at_its_word_without_torch():
    code = ("import sys; from job.tasks.classification import Classification as C; "
            "C(C.Options(), classes=3, size_px=16).check(); sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
