"""The doctor examines a CPU from end to end where it is asked to: a kernel is compiled, the peak measured, a generator drawn with."""

from pathlib import Path

import pytest
import torch

from job import chip, doctor_gpu
from tests.contract import tiny_pipeline
from tests.contract.test_picture_options import autoencoder

pytestmark = [pytest.mark.contract, pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU, and it would be measured instead")]


def test_it_compiles_measures_and_draws(tmp_path: Path) -> None:
    options = {"model": tiny_pipeline.save(str(tmp_path)), "steps": 2}
    found = doctor_gpu.examine("text_to_image", options, ("a photo of a {name}",), 32, unit="auto", cpu=True, most=2)
    assert found
    assert found.compiled.startswith("one kernel compiled in ")
    assert found.peak.dtype == "fp32"
    assert len(found.peak.runs) == 3
    assert min(found.peak.runs) > 0
    assert found.about["chip"]
    assert [one.batch for one in found.tried] == [1, 2]
    assert 0 < found.tflop_per_image < 0.01
    assert found.best.images_per_s > 0


def test_it_draws_with_the_autoencoder_that_is_set(tmp_path: Path) -> None:
    options = {"model": tiny_pipeline.save(str(tmp_path / "whole")), "steps": 1}
    tflop = []
    for more in ({}, {"vae": autoencoder(tmp_path / "vae")}):
        found = doctor_gpu.examine("text_to_image", options | more, ("a photo of a {name}",), 32, unit="auto", cpu=True, most=1)
        assert found
        tflop.append(found.tflop_per_image)
    assert tflop[1] < tflop[0]


def test_a_generator_without_weights_takes_no_flops() -> None:
    found = doctor_gpu.examine("fake", {}, ("a {name}",), 32, unit="auto", cpu=True, most=1)
    assert found
    assert found.tflop_per_image == 0
    assert doctor_gpu.examine("fake", {}, ("a {name}",), 32, unit="auto", cpu=False, most=1) is None


def test_flops_of_a_product_are_two_per_multiply_add() -> None:
    left, right = torch.ones(64, 32), torch.ones(32, 16)
    assert chip.tflop_of(lambda: left @ right) == pytest.approx(2 * 64 * 32 * 16 / 1e12)


def test_a_driver_is_read_from_what_the_kernel_tells(tmp_path: Path) -> None:
    told = tmp_path / "version"
    told.write_text("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build\nGCC version: 12.2.0\n")
    assert chip.driver(told) == "570.133.20"
    assert chip.driver(tmp_path / "none") == "unknown"
