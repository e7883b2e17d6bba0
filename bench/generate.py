"""The generator's speed: the lab's loop, plain batches, and ours, on the same model, in one run, turn by turn.

``python -m bench.generate`` draws with the shipped miniature on a CPU; ``--profile sd15`` (512 px, 30 steps, guidance 6.5) and
``--profile sdxl`` (MLPerf's setting: 1024 px, 20 Euler steps, guidance 8) with the published shapes and random weights, or with those
of ``--model FOLDER``. Every loop draws as many images from as many prompts with as many steps:

- *lab*: one image at a time, fp16 on CUDA and fp32 on a CPU, each written as PNG before the next is begun. In fp16 the pipeline of SDXL
  decodes in fp32, of its own accord; ``formats`` in the result says so.
- *plain*: the same pipeline in batches, eager, in ours' number format, to pictures in memory; nothing is encoded, so that ours is
  compared with drawing alone.
- *ours*: ``text_to_image`` through its own contract, and its pictures encoded as the job does, beside the next batch. ``--options`` are
  its options as JSON; without them it is compiled whole on CUDA, and eager on a CPU.

MFU is against the matrix peak in ours' number format, measured before the turns. 2 FLOP per multiply-add, counted on a call of each loop.
The result is written to bench/results/generate-PROFILE-DEVICE.json, or where ``--json`` says; nowhere, if that is empty.
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

from bench import RESULTS, arguments, finish, models
from job import chip, plugs
from job.errors import JobError
from job.generators.text_to_image import TextToImage
from job.ground import lineage, model_parts, pixels
from job.ground.store import ReadOnlyFolder
from job.records import Sample, SampleSpec

SHIPPED = "package:demo/weights/pipeline"
MLPERF_NEGATIVE = "normal quality, low quality, worst quality, low res, blurry, nsfw, nude"
TEMPLATES = ("a photo of a {name}", "a drawing of a {name}", "a {name} in the snow", "a close-up of a {name}")
LOOPS = ("lab", "plain", "ours")
SET_HERE = {"model": "--model", "steps": "--steps", "dtype": "--dtype", "guidance": "--profile", "negative_prompt": "--profile"}


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
    """All pipelines, loaded once, and the loops over them."""

    def __init__(self, profile: Profile, options: dict[str, Any], device: str, scratch: Path) -> None:
        """``options``: of ``text_to_image``, all of them. Raises ``JobError`` for one that it does not know."""
        self.profile, self.device, self.scratch = profile, device, scratch
        self.ours = TextToImage(plugs.options(TextToImage, options, "--options"))
        self.steps, mine = self.ours.options.steps, self.ours.options.dtype
        folder, self.digest, parts = model_parts.fetch(self.ours, ReadOnlyFolder)
        self.formats = {"lab": "fp16" if device == "cuda" else "fp32", "plain": mine, "ours": mine}
        held = [chip.held_gib(device)]
        self.ours.load(folder, self.digest, device, **parts)
        held.append(chip.held_gib(device))
        self.pipelines = {"plain": _plain(folder, mine, device)}
        held.append(chip.held_gib(device))
        self.pipelines["lab"] = self.pipelines["plain"] if self.formats["lab"] == mine else _plain(folder, self.formats["lab"], device)
        held.append(chip.held_gib(device))
        own = {"ours": held[1] - held[0], "plain": held[2] - held[1], "lab": (held[3] - held[2]) or (held[2] - held[1])}
        self.others_gib = {loop: held[-1] - one for loop, one in own.items()}

    def tflop(self, loop: str) -> float:
        """TFLOP of one image as that loop draws it."""
        specs = asked(self.profile, 1)
        return chip.tflop_of(lambda: self.ours.draw(specs) if loop == "ours" else self.called(loop, specs))

    def told_formats(self) -> dict[str, str]:
        """In which number format each loop draws, and decodes if that is another one."""
        decoded = {loop: decoded_in(one, self.formats[loop]) for loop, one in {**self.pipelines, "ours": self.ours._pipeline}.items()}
        return {loop: one + f", decoded in {decoded[loop]}" * (decoded[loop] != one) for loop, one in self.formats.items()}

    def called(self, loop: str, specs: Sequence[SampleSpec]) -> Any:
        """Pictures of these specs as the library's own manual draws them."""
        import torch

        negative = {"negative_prompt": [self.profile.negative] * len(specs)} if self.profile.negative else {}
        return self.pipelines[loop](
            prompt=[one.prompt for one in specs], num_inference_steps=self.steps, guidance_scale=self.profile.guidance,
            height=self.profile.size_px, width=self.profile.size_px, **negative,
            generator=[torch.Generator("cpu").manual_seed(one.seed) for one in specs],
        ).images

    def lab(self, specs: Sequence[SampleSpec], batch: int) -> tuple[int, int]:
        del batch
        for number, spec in enumerate(specs):
            self.called("lab", [spec])[0].save(self.scratch / f"{number}.png")
        return sum(1 for number in range(len(specs)) if (self.scratch / f"{number}.png").exists()), 0

    def plain(self, specs: Sequence[SampleSpec], batch: int) -> tuple[int, int]:
        return sum(len(self.called("plain", specs[at : at + batch])) for at in range(0, len(specs), batch)), 0

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


def _plain(folder: str, dtype: str, device: str) -> Any:
    """The pipeline as the library loads it."""
    import diffusers

    pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(folder, dtype=chip.torch_dtype(dtype), local_files_only=True).to(device)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def decoded_in(pipeline: Any, dtype: str) -> str:
    """The number format of its autoencoder while it decodes: SDXL's goes from fp16 to fp32 for that, unless its configuration says no."""
    return "fp32" if dtype == "fp16" and hasattr(pipeline, "upcast_vae") and pipeline.vae.config.force_upcast else dtype


def chosen_options(text: str, device: str) -> dict[str, Any]:
    """Options of ours from the command line; without any, ``compile=whole`` on CUDA.

    Raises ``SystemExit`` for what is no JSON object, and for what all loops have in common.
    """
    try:
        asked_for = json.loads(text) if text else {"compile": "whole"} if device == "cuda" else {}
    except json.JSONDecodeError as error:
        raise SystemExit(f"--options={text} is no JSON: {error}") from None
    if not isinstance(asked_for, dict):
        raise SystemExit(f"--options={text} is no JSON object")
    taken = [f"{name} ({SET_HERE[name]})" for name in asked_for if name in SET_HERE]
    if taken:
        raise SystemExit(f"--options may not hold {', '.join(taken)}: all loops have it in common")
    return asked_for


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
        "images_per_s": round(rate, 3), "ms_per_image": round(1000 / rate, 2),
        "tflop_per_image": round(tflop, 5), "tflop_per_s": round(rate * tflop, 4),
        "mfu": round(rate * tflop / peak, 4), "all_images_per_s": [round(one, 3) for one in rates],
        "first_s": round(first.seconds, 2), "compile_s": round(max(0.0, first.seconds - first.images / rate), 2),
        "peak_gib": round(max(gib), 2) if gib else None, "batch": batch, "images_per_turn": timed[0].images,
        "unusable": sum(one.unusable for one in timed),
    }


def ratios(found: dict[str, list[Turn]], over: str) -> list[float]:
    """Ours over another loop, turn by turn."""
    pairs = zip(found["ours"][1:], found[over][1:], strict=True)
    return [round(mine.images / mine.seconds / (one.images / one.seconds), 3) for mine, one in pairs]


def compared(bench: Bench, batch: int, count: int, runs: int, tflop: dict[str, float], peak: float) -> dict[str, Any]:
    """All loops at one batch size. Raises ``SystemExit`` if they drew different numbers of images."""
    specs = asked(bench.profile, -(-count // batch) * batch)
    found = bench.measured(specs, batch, runs)
    drawn = {one.images for turns in found.values() for one in turns[1:]}
    if drawn != {len(specs)}:
        raise SystemExit(f"{len(specs)} images were asked of every loop, and they drew {sorted(drawn)}")
    result: dict[str, Any] = {"batch": batch, "images_by_each": len(specs)}
    for loop, turns in found.items():
        result[loop] = summed_up(turns, 1 if loop == "lab" else batch, tflop[loop], peak)
    for over in ("lab", "plain"):
        by_turn = ratios(found, over)
        result[f"ratio_ours_to_{over}"] = round(statistics.median(by_turn), 3)
        result[f"ratios_ours_to_{over}"] = by_turn
    return result


def located(chosen: argparse.Namespace, profile: Profile, dtype: str, scratch: Path) -> str:
    """Where the weights are; random ones are made."""
    return chosen.model or (models.save(profile.shape, str(scratch / "model"), chosen.device, chip.torch_dtype(dtype))
                            if profile.shape else SHIPPED)


def main() -> int:
    chosen = arguments(__doc__, profile="tiny", device="cpu", dtype="", batches="", images=0, steps=0, runs=3, model="", options="")
    import torch

    if chosen.device == "cuda" and not torch.cuda.is_available():
        print("no GPU could be had here: PyTorch sees no CUDA device, and speed on a GPU stays unmeasured", file=sys.stderr)
        return 1
    if chosen.profile not in PROFILES:
        raise SystemExit(f"--profile is one of {', '.join(PROFILES)}")
    profile = PROFILES[chosen.profile]
    dtype = chosen.dtype or ("bf16" if chosen.device == "cuda" else "fp32")
    batches = [int(one) for one in (chosen.batches or profile.batches).split(",")]
    options = chosen_options(chosen.options, chosen.device)
    with tempfile.TemporaryDirectory(prefix="saltworks-generate-") as scratch:
        try:
            common = {"steps": chosen.steps or profile.steps, "guidance": profile.guidance, "negative_prompt": profile.negative,
                      "dtype": dtype, "model": located(chosen, profile, dtype, Path(scratch))}
            bench = Bench(profile, common | options, chosen.device, Path(scratch))
        except JobError as error:
            raise SystemExit(str(error)) from None
        peak = chip.matrix_peak(chosen.device, dtype)
        tflop = {loop: bench.tflop(loop) for loop in LOOPS}
        of_batches = [compared(bench, batch, chosen.images or max(profile.images, *batches), chosen.runs, tflop, peak.tflops)
                      for batch in batches]
    best = max(of_batches, key=lambda one: one["ours"]["images_per_s"])
    finish({
        "profile": chosen.profile, "device": chosen.device, **chip.named(chosen.device), "weights": bench.digest,
        "random_weights": not chosen.model and bool(profile.shape),
        "size_px": profile.size_px, "steps": bench.steps, "guidance": profile.guidance, "negative_prompt": profile.negative,
        "scheduler": type(bench.pipelines["plain"].scheduler).__name__, "formats": bench.told_formats(), "options": options,
        "runs": chosen.runs, "peak_tflop_per_s": round(peak.tflops, 3), "peak_runs": [round(one, 3) for one in peak.runs],
        "best_batch": best["batch"], "batches": of_batches,
    }, chosen.json or RESULTS / f"generate-{chosen.profile}-{chosen.device}.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
