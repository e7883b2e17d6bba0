"""The laws of every task of the table: its seed decides, its loss can be followed downhill, and no batch decides who is right."""

from typing import Any

import numpy as np
import pytest
import torch

from job import plugs
from job.errors import SettingsError
from job.fitting import fit, judge
from job.runplan import Schedule
from job.tasks import TASKS, Task

pytestmark = pytest.mark.contract
CLASSES, SIZE_PX = 3, 16


CASES: dict[str, dict[str, Any]] = {   # options with which a task of the table is tested; its name comes first
    "classification": {}, "classification augmented": {"flip": True, "shift_px": 3},
}


def made(name: str, size_px: int = SIZE_PX, **options: Any) -> Task:
    plug = plugs.find(TASKS, name.split()[0], "task")
    chosen = plugs.options(plug, CASES[name] | options, "SALTWORKS_TASK__OPTIONS")
    return plug(chosen, classes=CLASSES, size_px=size_px)


def images(count: int, size_px: int = SIZE_PX, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 (N, S, S, 3), each class with a channel of its own that is bright, and labels in turn."""
    rng = np.random.default_rng(seed)
    targets = np.arange(count) % CLASSES
    pictures = rng.integers(0, 60, (count, size_px, size_px, 3))
    pictures[np.arange(count), :, :, targets] += 180
    return torch.from_numpy(pictures.astype(np.uint8)), torch.from_numpy(targets)


def seeded(task: Task, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    return task.build()


def trained(task: Task, steps: int, count: int = 24, size_px: int = SIZE_PX) -> np.ndarray:
    """Which of as many fresh images a short training gets right."""
    (pictures, targets), (judged, judged_targets) = images(count, size_px), images(count, size_px, seed=9)
    schedule = Schedule(steps, count // 2, 3e-3, 0.0, size_px, 1)
    return fit(task, schedule, 1, "cpu", images_NHWC=pictures, targets_N=targets, judged_MHWC=judged,
               judged_targets_M=judged_targets).correct_N


def test_every_task_of_the_table_is_tested_here() -> None:
    assert {name.split()[0] for name in CASES} == set(TASKS)


@pytest.mark.parametrize("name", CASES)
def test_a_task_says_what_it_learns_from_and_what_it_counts(name: str) -> None:
    task = made(name)
    assert task.label in ("class", "mask", "boxes")
    assert task.score_name
    assert task.size_px == SIZE_PX
    assert task.Options.model_config["extra"] == "forbid"
    assert task.Options.model_config["frozen"]
    assert all(one.description for one in task.Options.model_fields.values())
    task.check()


@pytest.mark.parametrize("name", CASES)
def test_the_weights_of_a_fresh_model_come_from_the_seed(name: str) -> None:
    one, again, other = (seeded(made(name), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", CASES)
def test_what_a_model_sees_of_an_image_does_not_depend_on_the_batch(name: str) -> None:
    task, (pictures, _) = made(name), images(6)
    seen = task.inputs(pictures)
    assert seen.dtype == torch.float32
    assert seen.isfinite().all()
    assert len(seen) == 6
    assert torch.equal(seen, torch.cat([task.inputs(pictures[at : at + 1]) for at in range(6)]))
    assert torch.equal(task.inputs(pictures.flip(0)), seen.flip(0))


@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_one_finite_number_that_pulls_at_every_weight(name: str) -> None:
    task, (pictures, targets) = made(name), images(6)
    model = seeded(task, 1).eval()
    loss = task.loss(model(task.inputs(pictures)), targets)
    assert loss.shape == ()
    assert loss.isfinite()
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    assert any(weight.grad.abs().sum() > 0 for weight in model.parameters())


@pytest.mark.parametrize("name", CASES)
def test_who_is_right_is_a_byte_per_image_and_no_matter_of_the_batch(name: str) -> None:
    task, (pictures, targets) = made(name), images(30)
    model = seeded(task, 3)
    whole = judge(task, model, pictures, targets)
    assert whole.dtype == np.uint8
    assert whole.shape == (30,)
    assert set(whole.tolist()) <= {0, 1}
    for size in (1, 7):
        pieces = [judge(task, model, pictures[at : at + size], targets[at : at + size]) for at in range(0, 30, size)]
        assert np.array_equal(np.concatenate(pieces), whole)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(judge(task, model, pictures[shuffled], targets[shuffled]), whole[shuffled])


@pytest.mark.parametrize("name", CASES)
def test_augmentation_comes_from_its_generator_alone(name: str) -> None:
    task, (pictures, _) = made(name), images(12)
    seen = task.inputs(pictures)
    kept, before = seen.clone(), torch.get_rng_state()
    one, again, other = (task.augment(seen, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert one.shape == seen.shape
    assert one.dtype == seen.dtype
    assert torch.equal(seen, kept)
    assert torch.equal(torch.get_rng_state(), before)
    augments = bool(CASES[name].keys() & {"flip", "shift_px"})
    assert torch.equal(one, other) != augments
    assert torch.equal(one, seen) != augments


@pytest.mark.parametrize("name", CASES)
def test_what_is_plain_to_see_is_learned_and_the_seed_decides_how(name: str) -> None:
    task = made(name)
    first = trained(task, steps=80)
    assert first.mean() > 0.8
    assert np.array_equal(trained(task, steps=80), first)


def test_an_augmented_image_is_the_image_moved_or_mirrored() -> None:
    task, (pictures, _) = made("classification augmented"), images(40)
    seen = task.inputs(pictures)
    moved = task.augment(seen, torch.Generator().manual_seed(4))
    padded = torch.nn.functional.pad(seen, [3] * 4, mode="replicate")
    mirrored = torch.nn.functional.pad(seen.flip(3), [3] * 4, mode="replicate")
    found = set()
    for at in range(40):
        ways = [(flip, dy, dx) for flip, source in enumerate((padded, mirrored)) for dy in range(7) for dx in range(7)
                if torch.equal(moved[at], source[at, :, dy : dy + SIZE_PX, dx : dx + SIZE_PX])]
        assert len(ways) == 1
        found |= set(ways)
    assert {flip for flip, _, _ in found} == {0, 1}
    assert {0, 6} <= {dy for _, dy, _ in found} & {dx for _, _, dx in found}


def test_a_classifier_is_right_where_its_largest_output_is_the_label() -> None:
    task = made("classification")
    targets = torch.tensor([0, 1, 2, 1])
    outputs = 9.0 * torch.nn.functional.one_hot(torch.tensor([0, 2, 2, 1]), CLASSES)
    assert task.correct(outputs, targets).tolist() == [1, 0, 1, 1]
    assert task.loss(outputs, torch.tensor([0, 2, 2, 1])) < 0.01 < task.loss(outputs, targets)


def test_black_and_white_are_the_ends_of_what_a_classifier_sees() -> None:
    ends = torch.tensor([0, 255], dtype=torch.uint8)[:, None, None, None].expand(2, SIZE_PX, SIZE_PX, 3)
    assert made("classification").inputs(ends)[:, 0, 0, 0].tolist() == [-1.0, 1.0]


@pytest.mark.parametrize("model", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_any_classifier_of_torchvision_can_be_named(model: str) -> None:
    task = made("classification", 32, model=model)
    task.check()
    assert trained(task, steps=1, count=6, size_px=32).shape == (6,)
    assert seeded(task, 1).eval()(task.inputs(images(2, 32)[0])).shape == (2, CLASSES)


def test_a_classifier_with_a_second_head_is_trained_without_it() -> None:
    made("classification", 32, model="googlenet").check()


@pytest.mark.parametrize(("model", "problem"), [
    ("resnet19", "SALTWORKS_TASK__OPTIONS__MODEL='resnet19' is no classifier"), ("", "MODEL='' is no classifier"),
    ("deeplabv3_resnet50", "MODEL='deeplabv3_resnet50' is no classifier"),   # torchvision's, but it segments
    ("alexnet", "MODEL='alexnet' cannot be trained at train.size_px = 32"),
])
def test_a_model_that_cannot_be_trained_is_named_before_anything_starts(model: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        made("classification", 32, model=model).check()
