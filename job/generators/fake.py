"""Striped pictures from a seed: no weights, no GPU, no time. It speaks the protocol of a real generator.

For tests, and for scale runs of everything that is not the GPU. Each class has a hue, a stripe angle and a stripe
width of its own, so a small network can learn the classes, and the more ``noise`` the harder it is. It fails and
errs on request, so that redraws, failures and filters have something to do.
"""

import colorsys
import os
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from job.records import Failure, Origin, Sample, SampleSpec

GOLDEN = 0.6180339887   # its multiples, modulo 1, lie apart from each other however many there are
NOISE_STD = 96.0        # grey levels at noise = 1
DEVICE = threading.Lock()   # one call of a process draws at a time, as on a GPU


class OutOfMemoryError(RuntimeError):
    """As PyTorch calls it."""


class Fake:
    """A generator whose every draw is a function of the spec's seed, label and size."""

    carries = frozenset({"class"})

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        noise: Annotated[float, Field(ge=0, le=1, description="strength of the noise over the stripes, 0 to 1")] = 0.25
        wrong_label_share: Annotated[
            float, Field(ge=0, le=1, description="share of pictures that show another class than they are labelled")
        ] = 0.0
        blank_share: Annotated[
            float, Field(ge=0, le=1, description="share of draws that fail as blank; a redraw may succeed")
        ] = 0.0
        bad_share: Annotated[
            float, Field(ge=0, le=1, description="share of draws that give no usable picture, each kind of damage in turn")
        ] = 0.0
        ends_process: Annotated[
            tuple[int, ...] | None, Field(description="indices whose drawing ends the process at once, as a crash in native code does")
        ] = None
        hangs: Annotated[tuple[int, ...] | None, Field(description="indices whose drawing never returns")] = None
        load: Annotated[
            Literal["", "raises", "ends process"],
            Field(description="how loading goes wrong; empty: it does not", json_schema_extra={"identity": False}),
        ] = ""
        fits: Annotated[
            int,
            Field(ge=0, description="images that the device's memory holds at once; a larger batch fails as on a GPU; 0: any",
                  json_schema_extra={"identity": False}),
        ] = 0
        seconds_per_image: Annotated[
            float,
            Field(ge=0, le=60, description="seconds to wait for each image", json_schema_extra={"identity": False}),
        ] = 0.0

    def __init__(self, options: BaseModel) -> None:
        self.options = self.Options.model_validate(options)

    def location(self) -> str:
        return ""

    def revision(self) -> str:
        return ""

    def load(self, folder: str, digest: str, device: str) -> Origin:
        """Nothing to load: there are no weights, so there is no ancestry."""
        del folder, digest, device
        if self.options.load == "raises":
            raise RuntimeError("asked to fail while loading")
        if self.options.load == "ends process":
            os._exit(1)
        return Origin(model="fake", revision="", licence="CC0-1.0", depth=1, ancestry=())

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        """One result per spec, in their order; each depends on its own spec alone. Holds the device for the seconds that are set."""
        if 0 < self.options.fits < len(specs):
            raise OutOfMemoryError("CUDA out of memory")
        with DEVICE:
            end = time.monotonic() + self.options.seconds_per_image * len(specs)
            drawn = [self._one(spec) for spec in specs]
            time.sleep(max(0.0, end - time.monotonic()))
        return drawn

    def _one(self, spec: SampleSpec) -> Sample | Failure:
        rng = np.random.default_rng(spec.seed)
        blank, wrong, which = rng.random(3)   # first and always, so that no option moves what follows
        if spec.index in (self.options.ends_process or ()):
            os._exit(1)
        while spec.index in (self.options.hangs or ()):
            time.sleep(3600)
        if blank < self.options.blank_share:
            return Failure(spec, "blank")
        if blank > 1 - self.options.bad_share:
            return self._bad(spec)
        label = spec.words.label
        if wrong < self.options.wrong_label_share:
            # The number of classes is unknown here; a smaller label surely exists, and 1 wherever 0 has company.
            label = int(which * label) if label else 1
        return Sample(spec, stripes(label, spec.size_px, self.options.noise, rng))


    def _bad(self, spec: SampleSpec) -> Sample | Failure:
        """One of the things that real models hand over instead of a picture; raises where they do."""
        shape = (spec.size_px, spec.size_px, 3)
        kind = spec.seed % 10
        if kind == 9:
            raise RuntimeError("the sampler did not converge")
        return (
            Sample(spec, np.zeros(shape, np.uint8)),                               # black, as a safety checker blanks it
            Sample(spec, np.full(shape, 200, np.uint8)),                           # uniform
            Sample(spec, np.full(shape, np.nan, np.float32)),                      # fp16 overflow
            Sample(spec, np.full(shape, 0.5, np.float64)),                         # never scaled to bytes
            Sample(spec, np.zeros((spec.size_px, spec.size_px), np.uint8)),        # no channels
            Sample(spec, stripes(0, spec.size_px // 2, 0.2, np.random.default_rng(0))),   # another size
            Sample(spec, None),   # type: ignore[arg-type]                         # nothing at all
            Sample(spec, b"\x89PNG\r\n\x1a\n cut short"),   # type: ignore[arg-type]   a file, and none that decodes
            Failure(spec, "blanked by the safety checker"),
        )[kind]


def stripes(label: int, size_px: int, noise: float, rng: np.random.Generator) -> np.ndarray:
    """The pattern of a class with a jitter of phase, angle and width: uint8 (size_px, size_px, 3)."""
    hue = (label * GOLDEN + rng.normal(0, 0.01)) % 1
    angle = np.pi * ((label * GOLDEN * GOLDEN) % 1) + rng.normal(0, 0.06)
    waves = (2 + label % 3) * rng.uniform(0.9, 1.1)   # across the picture
    phase = rng.uniform(0, 2 * np.pi)
    along = 2 * np.pi * waves * (np.arange(size_px) + 0.5) / size_px
    x_W, y_H = along * np.cos(angle), along * np.sin(angle) + phase
    wave_HW = np.outer(np.cos(y_H), np.sin(x_W)) + np.outer(np.sin(y_H), np.cos(x_W))   # sin(x + y), from a few sines
    light_HW = 255 * (0.55 + 0.4 * wave_HW)
    grain_HWC = noise * NOISE_STD * rng.standard_normal((size_px, size_px, 3)) if noise else None
    picture_HWC = np.empty((size_px, size_px, 3), np.uint8)
    for channel, strength in enumerate(colorsys.hsv_to_rgb(hue, 0.6, 1.0)):   # a last axis of three is slow to compute along
        level_HW = light_HW * strength
        if grain_HWC is not None:
            level_HW += grain_HWC[:, :, channel]
        picture_HWC[:, :, channel] = level_HW.round().clip(0, 255)
    return picture_HWC
