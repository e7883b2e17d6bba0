"""What the doctor says of a chip follows from what it measured; without a GPU it says so in a line and measures nothing."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from job import doctor_gpu
from job.__main__ import main
from job.chip import Peak
from job.doctor_gpu import NO_GPU, Examined, Tried, batches
from job.errors import SettingsError

pytestmark = pytest.mark.unit
FIXED_S, EACH_S = 0.04, 0.002
clock = SimpleNamespace(now=0.0)   # that only the devices here move: beside other work a doubling may seem to gain nothing

class OutOfMemoryError(RuntimeError):
    """Called as PyTorch's own is, by which the job knows it."""


def device(fits: int = 10**6, fixed_s: float = FIXED_S, each_s: float = EACH_S) -> tuple[Callable[[int], None], list[int]]:
    """A device that takes some time for a call and some for each image, and the sizes that it was asked for."""
    asked: list[int] = []

    def draw(count: int) -> None:
        asked.append(count)
        if count > fits:
            raise OutOfMemoryError("CUDA out of memory")
        clock.now += fixed_s + each_s * count

    return draw, asked


def timed(draw: Callable[[int], None], most: int, first: int = 1) -> Iterator[Tried]:
    return batches(draw, "cpu", most, first, clock=lambda: clock.now)


def examined(*tried: Tried, device: str = "cuda", unit: int | str = 256) -> Examined:
    return Examined(device, {"chip": "NVIDIA X", "driver": "570.1"}, "one kernel compiled in 2.0 s", Peak("bf16", (780.0, 800.0, 790.0)),
                    "text_to_image m at 512 px in bf16", 50.0, tried, unit)


def test_batches_are_doubled_until_the_largest_and_each_is_drawn_once_more_than_it_is_timed() -> None:
    draw, asked = device()
    found = list(timed(draw, 8))
    assert [one.batch for one in found] == [1, 2, 4, 8]
    assert asked == [size for size in (1, 2, 4, 8) for _ in range(1 + doctor_gpu.RUNS)]
    assert [one.images_per_s for one in found] == sorted(one.images_per_s for one in found)
    assert {one.gib for one in found} == {None}


def test_doubling_ends_where_it_gains_nothing() -> None:
    draw, _ = device(fixed_s=0, each_s=0.03)   # every image takes as long as the first
    found = list(timed(draw, 64))
    assert found[-1].batch < 64
    assert found[-1].images_per_s < found[-2].images_per_s * (1 + doctor_gpu.GAIN)


def test_doubling_ends_where_memory_does_and_other_errors_pass() -> None:
    found = list(timed(device(fits=3)[0], 64))
    assert [(one.batch, bool(one.ended)) for one in found] == [(1, False), (2, False), (4, True)]

    def broken(count: int) -> None:
        raise ValueError("no such size")

    with pytest.raises(ValueError, match="no such size"):
        list(timed(broken, 64))


def test_where_each_size_is_compiled_it_begins_higher_and_comes_down_to_what_fits() -> None:
    assert [one.batch for one in timed(device()[0], 32, 8)] == [8, 16, 32]
    for fits, ended, drawn in ((3, [8, 4], [2]), (9, [16], [8]), (0, [8, 4, 2, 1], [])):
        tried = list(timed(device(fits=fits)[0], 64, 8))
        assert ([one.batch for one in tried if one.ended], [one.batch for one in tried if not one.ended]) == (ended, drawn)


def test_the_best_is_the_smallest_within_three_percent_of_the_fastest() -> None:
    rates = {1: 2.0, 8: 7.0, 16: 7.85, 32: 8.0, 64: 7.9}
    assert examined(*(Tried(size, rate, 1.0, 3.0) for size, rate in rates.items())).best.batch == 16


def test_the_last_lines_say_what_it_reached_and_what_to_set() -> None:
    lines = examined(Tried(8, 7.9, 40.0, 9.5), Tried(16, ended="does not fit into the device's memory")).lines
    assert lines[0] == "cuda: chip NVIDIA X  driver 570.1"
    assert "compiled in 2.0 s" in lines[1]
    assert lines[2] == "matrix peak, bf16: 790 TFLOP/s (median of 780, 800, 790)"
    assert [line.split()[:2] for line in lines[4:6]] == [["batch", "8"], ["batch", "16"]]
    assert lines[-2] == "best: 8 at once, 7.9 images/s, 127 ms and 50 TFLOP per image, 50 % of the peak"
    assert lines[-1] == ("set: SALTWORKS_GENERATOR__BATCH_SIZE=8 SALTWORKS_GENERATOR__PEAK_TFLOPS=790 "
                         "SALTWORKS_GENERATOR__TFLOP_PER_IMAGE=50")
    assert examined(Tried(8, 7.9), device="cpu").lines[-1] == "set: SALTWORKS_GENERATOR__BATCH_SIZE=8"


def test_where_the_best_does_not_divide_a_unit_it_says_what_is_drawn_instead() -> None:
    def said(unit: int | str, best: int = 32) -> list[str]:
        return [line for line in examined(Tried(best, 7.9), unit=unit).lines if line.startswith("unit: ")]

    assert said(256) == said("auto", 8) == []
    assert said(100) == ["unit: 32 does not divide its 100 images, so 25 at once would be drawn; "
                         "for a new recipe set SALTWORKS_GENERATOR__UNIT_SIZE to a multiple of 32"]
    assert said("auto") == ["unit: a multiple of 8 that the plan chooses; where 32 does not divide it, its largest divisor below is drawn "
                            "at once"]


def test_where_not_one_image_fits_it_says_what_to_do() -> None:
    for sizes in ((1,), (8, 4, 2, 1)):
        with pytest.raises(SettingsError, match="not even 1 image at once fits into the memory of NVIDIA X"):
            _ = examined(*(Tried(size, ended="does not fit into the device's memory") for size in sizes)).lines


@pytest.mark.skipif(torch.cuda.is_available(), reason="here is a GPU")
def test_without_a_gpu_it_says_so_in_one_line_and_is_content(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--root", str(tmp_path), "--doctor.gpu", "true"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == NO_GPU
    assert main(["doctor", "--root", str(tmp_path)]) == 0
    assert "GPU" not in capsys.readouterr().out
