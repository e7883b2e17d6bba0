"""The comparison of the sweep with the lab's loop: both see equally many images, and it runs from end to end. No claim on speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.sweep import Made, make
from bench.sweep_lab import loops

pytestmark = [pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(900)]
SMALL = ("--sweep.alphas", "0,.25", "--sweep.seeds", "2", "--train.steps", "3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("sweep"), SMALL)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_lab_s_loop_and_ours_see_equally_many_of_the_same_images(made: Made, workers: int) -> None:
    sets = {alpha: made.trained_on(alpha)[:2] for alpha in made.planned.alphas}
    assert {alpha: len(labels) for alpha, (_, labels) in sets.items()} == {0.0: 800, 0.25: 1067}
    schedule = made.planned.schedule
    lab = loops(sets, made.parts["val"], made.task.build, made.planned.sweep_seeds, samples=schedule.samples_seen,
                batch_size=schedule.batch_size, learning_rate=schedule.learning_rate, workers=workers)
    ours = sum(made.fit(alpha, schedule, "cpu") for alpha in made.planned.alphas)
    assert lab["seen"] == ours == 2 * 2 * 3 * 64
    assert all(0 <= one <= 1 for one in lab["accuracy"].values())


def test_the_lab_s_loop_ends_on_the_image_and_not_on_the_batch(made: Made) -> None:
    few = {0.0: tuple(part[:10] for part in made.parts["train"])}
    lab = loops(few, made.parts["val"], made.task.build, [1], samples=23, batch_size=4, learning_rate=1e-3, workers=0)
    assert lab["seen"] == 23


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_that_none_could_be_had() -> None:
    said = subprocess.run([sys.executable, "-m", "bench.sweep", "--device", "cuda"], capture_output=True, text=True)
    assert said.returncode == 1
    assert "no GPU could be had here" in said.stderr


def test_all_of_it_runs_and_prints_both_ratios(tmp_path: Path) -> None:
    sizes = ["--steps", "2", "--seeds", "1", "--runs", "1", "--alphas", "0,.25", "--workers", "0", "--together", "2"]
    subprocess.run([sys.executable, "-m", "bench.sweep", *sizes, "--json", str(tmp_path / "found.json")], check=True, capture_output=True)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["images_seen_by_each"] == 2 * 1 * 2 * 64
    assert min(found["ratio_without_startup"], found["ratio_with_startup"], *found["speed_together_to_one_by_one"]) > 0
    assert found["processor"]
    assert found["lab"]["threads"] >= 1
