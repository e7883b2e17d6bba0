"""HOT tool. The samples of one unit, drawn in batches fixed by position; what came out bad is drawn again, then told.

Nothing here knows storage or Ray. What a generator can do wrong is sorted into four: a picture that is none (redrawn with
a derived seed, then failed), an exception (the samples that cause it alone fail, with its words), too little memory
(the batch is split once), and a device that is beyond repair (``Beyond``: the process has to end).
"""

import gc
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np

from job.errors import DataError, JobError, SettingsError
from job.generators import Generator
from job.ground import lineage, pixels
from job.real.pixels import marks_in
from job.records import ClassWords, Failure, Recipe, Sample, SampleSpec

REDRAWS = 3        # derived seeds tried for an image that came out blank or broken
# Allocator, driver and Triton; cuBLAS; and cuDNN, where there is no room for what its engines work in.
MEMORY = ("out of memory", "_STATUS_ALLOC_FAILED", "unable to find an engine to execute this computation")
BROKEN = ("CUDA error", "CUDA driver error", "Triton Error [CUDA]")
GIVEN_UP = "ends the process that draws it, alone and repeatedly"
Encoded = tuple[bytes, str]   # a picture's file, and the mark of its pixels


class Beyond(BaseException):
    """The process can draw no more: a device in an error that outlives the call. Only a fresh process helps."""


@contextmanager
def encoder() -> Iterator[ThreadPoolExecutor]:
    """Encodes batch k while k+1 is drawn."""
    with ThreadPoolExecutor(1, thread_name_prefix="encode") as one:
        yield one


class Drawing:
    """One unit at work: ``draw`` its ranges, ascending, then read ``made`` and ``failed``."""

    def __init__(
        self, generator: Generator, recipe: Recipe, words: ClassWords, batch_size: int, encode: ThreadPoolExecutor, refused: int = 0
    ) -> None:
        """``refused``: a larger batch that this process could not hold before, so that this one is not halved again."""
        self._generator, self._recipe, self._words, self._encode = generator, recipe, words, encode
        self.batch_size = batch_size
        self._asked = refused or batch_size
        self._made: dict[int, tuple[SampleSpec, Future[list[Encoded]], int]] = {}   # its batch, and its place there
        self._failed: dict[int, Failure] = {}
        self._raised: set[int] = set()

    @property
    def count(self) -> int:
        """Pictures so far."""
        return len(self._made)

    def made(self) -> list[tuple[SampleSpec, bytes, str]]:
        """Specs, their encoded pictures and what those are recognised by (``job.real.pixels.mark``), by index. Waits for the encoder."""
        return [(spec, *batch.result()[at]) for _, (spec, batch, at) in sorted(self._made.items())]

    @property
    def failed(self) -> list[Failure]:
        """What never became a picture, by index."""
        return [self._failed[index] for index in sorted(self._failed)]

    def refuse_if_all_raised(self, unit_name: str) -> None:
        """Raise ``DataError`` if every sample failed with an exception: then it is no sample's fault."""
        if not self._made and self._raised and self._raised >= set(self._failed):
            reason = self._failed[min(self._raised)].reason
            raise DataError(f"not one of the {len(self._failed)} samples of {unit_name} could be drawn: {reason}",
                            "choose a size, steps and a scheduler that the model knows, or mend the model")

    def give_up(self, index: int) -> None:
        """Do not draw this one."""
        self._failed[index] = Failure(lineage.spec(self._recipe, self._words, index), GIVEN_UP)

    @property
    def halved_from(self) -> int:
        """The batch that did not fit into the device's memory; 0 if every one did."""
        return self._asked if self.batch_size < self._asked else 0

    def draw(self, lo: int, hi: int) -> None:
        """Draw [lo, hi). Raises ``SettingsError`` if half a batch does not fit into memory either."""
        wanted = [lineage.spec(self._recipe, self._words, index) for index in range(lo, hi) if index not in self._failed]
        for redraw in range(1, REDRAWS + 2):
            bad, at = [], 0
            while at < len(wanted):
                specs = wanted[at : at + self.batch_size]   # which the one before may have halved
                at += len(specs)
                results = self._batch(specs)
                good = [one for one in results if isinstance(one, Sample)]
                bad += [one for one in results if isinstance(one, Failure)]
                if good:
                    batch = self._encode.submit(_encoded, [one.pixels_HWC for one in good], self._recipe.encoding)
                    self._made |= {one.spec.index: (one.spec, batch, place) for place, one in enumerate(good)}
            hopeless = not self._made and len(bad) == len(wanted) and self._raised >= {one.spec.index for one in bad}
            if not bad or redraw > REDRAWS or hopeless:
                self._failed |= {one.spec.index: one for one in bad}
                return
            wanted = [lineage.spec(self._recipe, self._words, one.spec.index, redraw) for one in bad]

    def _batch(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        """One result per spec: a picture worth keeping, or why there is none."""
        reason = ""
        try:
            drawn = self._call(specs)
        except JobError:
            raise
        except Exception as error:
            if not out_of_memory(error):
                if beyond(error):
                    raise Beyond(f"{type(error).__name__}: {error}") from error
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
        else:
            return [self._checked(spec, result) for spec, result in zip(specs, drawn, strict=False)]
        # Out here, for until its end an exception holds all that its call had on the device.
        if not reason:
            self._halve()
        elif len(specs) == 1:
            self._raised.add(specs[0].index)
            return [Failure(specs[0], reason)]
        size = 1 if reason else self.batch_size   # one by one: whose fault was it?
        return [result for at in range(0, len(specs), size) for result in self._batch(specs[at : at + size])]

    def _halve(self) -> None:
        """From now on batches of half the size, once; the commit says so."""
        if self.halved_from or self.batch_size == 1:
            other = f", nor did {self.halved_from}" if self.halved_from else ""
            smaller = f"set SALTWORKS_GENERATOR__BATCH_SIZE below {self.batch_size}, or " if self.batch_size > 1 else ""
            raise SettingsError(f"a batch of {self.batch_size} does not fit into the device's memory{other}",
                                f"{smaller}draw smaller images, or give each process more of a GPU")
        self.batch_size //= 2
        _free_memory()

    def _call(self, specs: Sequence[SampleSpec]) -> Sequence[Any]:
        padded = [*specs, *[specs[0]] * (self.batch_size - len(specs))]   # one batch shape: same pictures, one compilation
        drawn = self._generator.draw(padded)
        if len(drawn) != len(padded):
            raise ValueError(f"the generator gave {len(drawn)} results for {len(padded)} samples")
        return drawn

    def _checked(self, spec: SampleSpec, result: Any) -> Sample | Failure:
        if isinstance(result, Failure):
            return Failure(spec, result.reason)
        if result.spec.id != spec.id:
            return Failure(spec, "the generator gave the picture of another sample")
        picture = result.pixels_HWC
        if not isinstance(picture, np.ndarray):
            return Failure(spec, f"{type(picture).__name__} instead of an array")
        reason = pixels.fault(picture)
        if not reason and picture.shape[:2] != (spec.size_px, spec.size_px):
            reason = f"{picture.shape[1]}×{picture.shape[0]} px instead of {spec.size_px}×{spec.size_px}"
        return Failure(spec, reason) if reason else Sample(spec, picture)


def _encoded(pictures: Sequence[np.ndarray], encoding: str) -> list[Encoded]:
    """The files, and the marks of their pixels: a picture that came back without its metadata is known by it."""
    return list(zip([pixels.encode(one, encoding) for one in pictures], marks_in(encoding, pictures), strict=True))


def beyond(error: BaseException) -> bool:
    """Whether only a fresh process helps. PyTorch's errors are known by name and words."""
    return isinstance(error, MemoryError) or any(one in str(error) for one in BROKEN) or type(error).__name__ == "AcceleratorError"


def out_of_memory(error: BaseException) -> bool:
    """Whether the device's memory was too small for what was asked; the machine's own is another matter."""
    return type(error).__name__ == "OutOfMemoryError" or (
        not isinstance(error, MemoryError) and any(one in str(error) for one in MEMORY))


def _free_memory() -> None:
    """Give back what PyTorch keeps of the batch that was too large."""
    gc.collect()   # what stands in a cycle is held too
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        torch.cuda.empty_cache()
