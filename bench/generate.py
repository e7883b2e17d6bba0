"""The generator's speed: the lab's loop, plain batches, and ours, on the same model, in one run, turn by turn.

``python -m bench.generate`` draws with the shipped miniature on a CPU; ``--profile sd15`` (512 px, 30 steps, guidance 6.5) and
``--profile sdxl`` (MLPerf's setting: 1024 px, 20 Euler steps, guidance 8) with the published shapes and random weights, or with those
of ``--model FOLDER``. Every loop draws as many images from as many prompts with as many steps:

- *lab*: one image at a time, fp16 on CUDA and fp32 on a CPU, each written as PNG before the next is begun.
- *plain*: the same pipeline in batches, eager, to pictures in memory; nothing is encoded, so that ours is compared with drawing alone.
- *ours*: ``text_to_image`` through its own contract, and its pictures encoded as the job does, beside the next batch.

MFU is against the matrix peak in ours' number format, measured before the turns. 2 FLOP per multiply-add.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import arguments, finish, models
from job import chip
from job.generators.text_to_image import TextToImage
from job.ground import lineage, pixels, weights
from job.ground.store import ReadOnlyFolder
from job.records import Sample, SampleSpec

SHIPPED = "package:demo/weights/pipeline"
MLPERF_NEGATIVE = "normal quality, low quality, worst quality, low res, blurry, nsfw, nude"
TEMPLATES = ("a photo of a {name}", "a drawing of a {name}", "a {name} in the snow", "a close-up of a {name}")
LOOPS = ("lab", "plain", "ours")


@dataclass(frozen=True, slots=True)
class Profile:
    """What is drawn. ``shape``: of bench/models, empty for the shipped miniature."""

    shape: str
    size_px: int
    steps: int
    guidance: float
    negative: str
    batches: str
    images: int


PROFILES = {
    "tiny": Profile("", 32, 30, 6.5, "", "16", 16),
    "tiny-sd15": Profile("tiny-sd15", 64, 30, 6.5, "", "8", 8),
    "sd15": Profile("sd15", 512, 30, 6.5, "", "32", 32),
    "sdxl": Profile("sdxl", 1024, 20, 8.0, MLPERF_NEGATIVE, "16", 16),
}


@dataclass(frozen=True, slots=True)
class Turn:
    """One loop once: how many images it drew, in which time, and the most memory of the device that it held (its own weights included,
    the other pipeline's not)."""

    images: int
    unusable: int
    seconds: float
    gib: float | None


class Bench:
    """Both pipelines, loaded once, and the loops over them."""

    def __init__(self, profile: Profile, steps: int, device: str, dtype: str, folder: str, digest: str, options: dict[str, Any],
                 scratch: Path) -> None:
        import diffusers

        self.profile, self.steps, self.device, self.scratch = profile, steps, device, scratch
        before = chip.held_gib(device)
        self.ours = TextToImage(TextToImage.Options(
            model=folder, steps=steps, guidance=profile.guidance, negative_prompt=profile.negative, dtype=dtype, **options))
        self.ours.load(folder, digest, device)
        between = chip.held_gib(device)
        self.pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
            folder, dtype=chip.torch_dtype("fp16" if device == "cuda" else "fp32"), local_files_only=True).to(device)
        self.pipeline.set_progress_bar_config(disable=True)
        both = chip.held_gib(device)
        self.others_gib = {"ours": both - (between - before), "plain": between, "lab": between}

    def called(self, specs: Sequence[SampleSpec]) -> Any:
        """Pictures of these specs as the library's own manual draws them."""
        import torch

        negative = {"negative_prompt": [self.profile.negative] * len(specs)} if self.profile.negative else {}
        return self.pipeline(
            prompt=[one.prompt for one in specs], num_inference_steps=self.steps, guidance_scale=self.profile.guidance,
            height=self.profile.size_px, width=self.profile.size_px, **negative,
            generator=[torch.Generator("cpu").manual_seed(one.seed) for one in specs],
        ).images

    def lab(self, specs: Sequence[SampleSpec], batch: int) -> tuple[int, int]:
        del batch
        for number, spec in enumerate(specs):
            self.called([spec])[0].save(self.scratch / f"{number}.png")
        return sum(1 for number in range(len(specs)) if (self.scratch / f"{number}.png").exists()), 0

    def plain(self, specs: Sequence[SampleSpec], batch: int) -> tuple[int, int]:
        return sum(len(self.called(specs[at : at + batch])) for at in range(0, len(specs), batch)), 0

    def drawn_by_ours(self, specs: Sequence[SampleSpec], batch: int) -> tuple[int, int]:
        encoding = pixels.encoding_for(self.profile.size_px)
        with ThreadPoolExecutor(1) as encoder:
            drawn = [encoder.submit(pixels.encode, one.pixels_HWC, encoding) if isinstance(one, Sample) else None
                     for at in range(0, len(specs), batch) for one in self.ours.draw(specs[at : at + batch])]
            usable = sum(1 for file in drawn if file and file.result())
        return len(drawn), len(drawn) - usable

    def turn(self, loop: str, specs: Sequence[SampleSpec], batch: int) -> Turn:
        """Draw all specs by one loop."""
        work: Callable[..., tuple[int, int]] = {"lab": self.lab, "plain": self.plain, "ours": self.drawn_by_ours}[loop]
        chip.forget_memory(self.device)
        chip.finished(self.device)
        start = time.perf_counter()
        images, unusable = work(specs, batch)
        chip.finished(self.device)
        took, gib = time.perf_counter() - start, chip.memory_gib(self.device)
        return Turn(images, unusable, took, None if gib is None else gib - self.others_gib[loop])

    def measured(self, specs: Sequence[SampleSpec], batch: int, runs: int) -> dict[str, list[Turn]]:
        """Every loop's first batch, which compiles and chooses kernels, and then its turns: first one way round, then the other."""
        import torch

        torch.compiler.reset()   # else a second batch size makes the compiled code general, and slower
        found = {loop: [self.turn(loop, specs[: 1 if loop == "lab" else batch], batch)] for loop in LOOPS}
        for number in range(runs):
            for loop in LOOPS if number % 2 == 0 else LOOPS[::-1]:
                found[loop].append(self.turn(loop, specs, batch))
                print(f"batch {batch}, turn {number + 1}: {loop} {found[loop][-1].seconds:.2f} s", file=sys.stderr, flush=True)
        return found


def asked(profile: Profile, count: int) -> list[SampleSpec]:
    """Specs of one class over several prompts in turn, each with a seed of its own, as a unit's are."""
    recipe = lineage.make_recipe(generator="text_to_image", options="{}", weights="none", templates=TEMPLATES, size_px=profile.size_px,
                                 encoding=pixels.encoding_for(profile.size_px), seed=0)
    return [lineage.spec(recipe, lineage.class_words(0, "cat"), index) for index in range(count)]


def summed_up(turns: Sequence[Turn], batch: int, tflop: float, peak: float) -> dict[str, Any]:
    """One loop's numbers: rates are medians over its turns, ``first_s`` is its first batch."""
    first, *timed = turns
    rates = [one.images / one.seconds for one in timed]
    rate = statistics.median(rates)
    gib = [one.gib for one in timed if one.gib is not None]
    return {
        "images_per_s": round(rate, 3), "ms_per_image": round(1000 / rate, 2), "tflop_per_s": round(rate * tflop, 4),
        "mfu": round(rate * tflop / peak, 4), "all_images_per_s": [round(one, 3) for one in rates],
        "first_s": round(first.seconds, 2), "compile_s": round(max(0.0, first.seconds - first.images / rate), 2),
        "peak_gib": round(max(gib), 2) if gib else None, "batch": batch, "images_per_turn": timed[0].images,
        "unusable": sum(one.unusable for one in timed),
    }


def ratios(found: dict[str, list[Turn]], over: str) -> list[float]:
    """Ours over another loop, turn by turn."""
    pairs = zip(found["ours"][1:], found[over][1:], strict=True)
    return [round(mine.images / mine.seconds / (one.images / one.seconds), 3) for mine, one in pairs]


def compared(bench: Bench, batch: int, count: int, runs: int, tflop: float, peak: float) -> dict[str, Any]:
    """All loops at one batch size. Raises ``SystemExit`` if they drew different numbers of images."""
    specs = asked(bench.profile, -(-count // batch) * batch)
    found = bench.measured(specs, batch, runs)
    drawn = {one.images for turns in found.values() for one in turns[1:]}
    if drawn != {len(specs)}:
        raise SystemExit(f"{len(specs)} images were asked of every loop, and they drew {sorted(drawn)}")
    result: dict[str, Any] = {"batch": batch, "images_by_each": len(specs)}
    for loop, turns in found.items():
        result[loop] = summed_up(turns, 1 if loop == "lab" else batch, tflop, peak)
    for over in ("lab", "plain"):
        by_turn = ratios(found, over)
        result[f"ratio_ours_to_{over}"] = round(statistics.median(by_turn), 3)
        result[f"ratios_ours_to_{over}"] = by_turn
    return result


def located(chosen: argparse.Namespace, profile: Profile, dtype: str, scratch: Path) -> tuple[str, str]:
    """A folder with the weights, and what they are called."""
    if chosen.model or not profile.shape:
        return weights.fetch(chosen.model or SHIPPED, "", ReadOnlyFolder)
    folder = models.save(profile.shape, str(scratch / "model"), chosen.device, chip.torch_dtype(dtype))
    return folder, f"random weights of the shape {profile.shape}"


def main() -> int:
    chosen = arguments(__doc__, profile="tiny", device="cpu", dtype="", batches="", images=0, steps=0, runs=3, model="", options="{}")
    import torch

    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no GPU could be had here: PyTorch sees no CUDA device, and speed on a GPU stays unmeasured", file=sys.stderr)
        return 1
    if chosen.profile not in PROFILES:
        raise SystemExit(f"--profile is one of {', '.join(PROFILES)}")
    profile, options = PROFILES[chosen.profile], json.loads(chosen.options)
    dtype = chosen.dtype or ("bf16" if chosen.device == "cuda" else "fp32")
    batches = [int(one) for one in (chosen.batches or profile.batches).split(",")]
    peak = chip.matrix_peak(chosen.device, dtype)
    with tempfile.TemporaryDirectory(prefix="saltworks-generate-") as scratch:
        folder, digest = located(chosen, profile, dtype, Path(scratch))
        bench = Bench(profile, chosen.steps or profile.steps, chosen.device, dtype, folder, digest, options, Path(scratch))
        tflop = chip.tflop_of(lambda: bench.called(asked(profile, 1)))
        of_batches = [compared(bench, batch, chosen.images or max(profile.images, *batches), chosen.runs, tflop, peak.tflops)
                      for batch in batches]
    best = max(of_batches, key=lambda one: one["ours"]["images_per_s"])
    finish({
        "profile": chosen.profile, "device": chosen.device, **chip.named(chosen.device), "weights": digest,
        "size_px": profile.size_px, "steps": bench.steps, "guidance": profile.guidance, "negative_prompt": profile.negative,
        "scheduler": type(bench.pipeline.scheduler).__name__, "dtype": {"lab": "fp16" if chosen.device == "cuda" else "fp32",
        "plain": "fp16" if chosen.device == "cuda" else "fp32", "ours": dtype}, "options": options, "runs": chosen.runs,
        "tflop_per_image": round(tflop, 5), "peak_tflop_per_s": round(peak.tflops, 3), "peak_runs": [round(one, 3) for one in peak.runs],
        "best_batch": best["batch"], "batches": of_batches,
    }, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
