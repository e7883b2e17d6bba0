"""EDGE. What the verb ``doctor`` finds out about a chip, if it is asked: can it compile, what is its peak, and how many images at once
does the generator that is set draw best? Nothing is written anywhere.

The batch size is doubled until memory ends or a doubling gains less than ``GAIN``; the smallest within that of the best is
named, since a smaller one loads less memory and pads less. It is no part of what is drawn, so it may be changed at any time.
Where each size is compiled anew, which takes minutes for a large model, the first that is tried is ``plan.UNIT_STEP``.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from job import chip, plan, plugs
from job.drawing import out_of_memory
from job.errors import DataError, SettingsError
from job.generators import GENERATORS, Generator
from job.ground import lineage, model_parts, pixels
from job.ground.store import ReadOnlyFolder
from job.records import SampleSpec

GAIN = 0.03      # least that a doubled batch has to gain
RUNS = 3         # draws of each size that are timed, after one that compiles and chooses kernels
NO_GPU = "no GPU: PyTorch sees no CUDA device here; nothing was measured (SALTWORKS_DOCTOR__CPU=true measures on the CPU)"


@dataclass(frozen=True, slots=True)
class Tried:
    """One batch size: images per second (median), seconds of its first draw, most memory of the device. ``ended``: why it was the last."""

    batch: int
    images_per_s: float = 0.0
    first_s: float = 0.0
    gib: float | None = None
    ended: str = ""

    @property
    def line(self) -> str:
        if self.ended:
            return f"batch {self.batch:>4}  {self.ended}"
        memory = "" if self.gib is None else f"  {self.gib:6.1f} GiB"
        return f"batch {self.batch:>4}  {self.images_per_s:8.3g} images/s  first {self.first_s:6.1f} s{memory}"


@dataclass(frozen=True, slots=True)
class Examined:
    """All that was found out about one chip and one generator."""

    device: str
    about: Mapping[str, str]
    compiled: str                 # in how many seconds, or why not
    peak: chip.Peak
    drawn: str                    # generator, size, and what it draws with
    tflop_per_image: float
    tried: tuple[Tried, ...]
    unit: int | str               # images of a unit, or ``auto``

    @property
    def best(self) -> Tried:
        """The smallest batch whose rate lies within ``GAIN`` of the best. Raises ``SettingsError`` if none could be drawn."""
        drawn = [one for one in self.tried if not one.ended]
        if not drawn:
            raise SettingsError(f"not even {self.tried[-1].batch} image at once fits into the memory of {self.about['chip']}",
                                "draw smaller images, in a smaller number format, or on a larger GPU")
        most = max(one.images_per_s for one in drawn)
        return next(one for one in drawn if one.images_per_s * (1 + GAIN) >= most)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per finding, and at the end what to set."""
        best, told = self.best, "  ".join(f"{name} {value}" for name, value in self.about.items())
        used = best.images_per_s * self.tflop_per_image
        flags = {"batch_size": str(best.batch)}
        if self.device == "cuda":   # a utilisation is told of GPUs alone
            flags |= {"peak_tflops": f"{self.peak.tflops:.4g}", "tflop_per_image": f"{self.tflop_per_image:.4g}"}
        runs = ", ".join(f"{one:.4g}" for one in self.peak.runs)
        return (
            f"{self.device}: {told}", f"compiler: {self.compiled}",
            f"matrix peak, {self.peak.dtype}: {self.peak.tflops:.4g} TFLOP/s (median of {runs})", f"drawing: {self.drawn}",
            *(one.line for one in self.tried),
            f"best: {best.batch} at once, {best.images_per_s:.3g} images/s, {1000 / best.images_per_s:.3g} ms and "
            f"{self.tflop_per_image:.4g} TFLOP per image, {100 * used / self.peak.tflops:.0f} % of the peak", *self._in_units,
            "set: " + " ".join(f"SALTWORKS_GENERATOR__{name.upper()}={value}" for name, value in flags.items()),
        )

    @property
    def _in_units(self) -> tuple[str, ...]:
        """What becomes of the best batch where it does not divide a unit."""
        best = self.best.batch
        if isinstance(self.unit, str):
            return () if plan.UNIT_STEP % best == 0 else (
                f"unit: a multiple of {plan.UNIT_STEP} that the plan chooses; where {best} does not divide it, its largest divisor below "
                "is drawn at once",)
        used = plan.divisor(self.unit, best)
        return () if used == best else (
            f"unit: {best} does not divide its {self.unit} images, so {used} at once would be drawn; "
            f"for a new recipe set SALTWORKS_GENERATOR__UNIT_SIZE to a multiple of {best}",)


def examine(
    name: str, options: Mapping[str, Any], templates: Sequence[str], size_px: int, *, unit: int | str, cpu: bool, most: int
) -> Examined | None:
    """Measure this machine's GPU with the generator of that name; None where there is none and the CPU was not asked for.

    ``unit``: images of a unit, or ``auto``. ``most``: the largest batch that is tried. Raises what the generator raises while it loads.
    """
    import torch

    if not torch.cuda.is_available() and not cpu:
        return None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plug = plugs.find(GENERATORS, name, "SALTWORKS_GENERATOR__NAME")
    chosen = plugs.options(plug, options, "SALTWORKS_GENERATOR__OPTIONS")
    dtype = getattr(chosen, "dtype", "fp32")
    generator: Generator = plug(chosen)
    compiled, peak = _compiled(device), chip.matrix_peak(device, dtype)
    folder, digest, parts = model_parts.fetch(generator, ReadOnlyFolder)
    origin = generator.load(folder, digest, device, **parts)
    wanted = specs(templates, size_px, most)
    tflop = chip.tflop_of(lambda: _drawn(generator, wanted[:1]))
    first = min(most, plan.UNIT_STEP) if getattr(chosen, "compile", "none") != "none" else 1
    tried = tuple(batches(lambda count: _drawn(generator, wanted[:count]), device, most, first))
    return Examined(device, chip.named(device), compiled, peak, f"{name} {origin.model} at {size_px} px in {dtype}", tflop, tried, unit)


def specs(templates: Sequence[str], size_px: int, count: int) -> list[SampleSpec]:
    """Samples of a class of no data set, as a unit's are."""
    recipe = lineage.make_recipe(generator="", options="{}", weights="none", templates=templates, size_px=size_px,
                                 encoding=pixels.encoding_for(size_px), seed=0)
    return [lineage.spec(recipe, lineage.class_words(0, "cat"), index) for index in range(count)]


def batches(
    draw: Callable[[int], Any], device: str, most: int, first: int = 1, clock: Callable[[], float] = time.perf_counter
) -> Iterator[Tried]:
    """Double the batch from ``first`` until memory ends, a doubling gains too little, or ``most`` is reached.

    Where not even ``first`` fits, it is halved until one does, and that is the last. ``clock`` tells seconds.
    """
    import torch

    best, size, fitting = 0.0, first, True
    while 1 <= size <= most:
        torch.compiler.reset()   # else a second size makes the compiled code general, and slower
        chip.forget_memory(device)
        try:
            first_s, *seconds = (_seconds(draw, size, device, clock) for _ in range(1 + RUNS))
        except Exception as error:
            if not out_of_memory(error):
                raise
            yield Tried(size, ended="does not fit into the device's memory")
            if best:
                return
            size, fitting = size // 2, False
            continue
        rate = size / statistics.median(seconds)
        yield Tried(size, rate, first_s, chip.memory_gib(device))
        if not fitting or rate < best * (1 + GAIN):
            return
        best, size = max(best, rate), 2 * size


def _seconds(draw: Callable[[int], Any], size: int, device: str, clock: Callable[[], float]) -> float:
    chip.finished(device)
    start = clock()
    draw(size)
    chip.finished(device)
    return clock() - start


def _drawn(generator: Generator, wanted: Sequence[SampleSpec]) -> None:
    if len(generator.draw(wanted)) != len(wanted):
        raise DataError("the generator gave another number of results than was asked", "mend the generator")


def _compiled(device: str) -> str:
    """In how many seconds a kernel is compiled, or why it cannot be."""
    try:
        return f"one kernel compiled in {chip.compile_one(device):.1f} s"
    except Exception as error:   # whatever a compiler, a linker or a mount says
        return (f"NOT at work: {type(error).__name__}: {' '.join(str(error).split())[:300]}; compiled drawing and training need a C "
                "compiler and a /tmp that may execute")
