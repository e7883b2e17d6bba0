"""What the pipeline costs beside the generator: ``python -m bench.pipeline``.

- ``pipeline_over_bare``: images per second of the room (plan, actor on local Ray, encoder, store, commits) over those of the same
  generator called in a loop. The generator is ``fake`` without noise, which holds a lock for a set time per image as for a GPU and takes
  next to no CPU itself. From the first unit's commit to the last's: what a long run has, start-up apart (``start_s``).
- ``cpu_ms_per_image``: process CPU time per image of all that is not drawing (check, encode, mark, pack, hash, upload to a folder, commit),
  at 512 px, of photographs, on one thread, three times as many turns as asked. And its parts, each alone.

Without ``--only`` the result goes to bench/results/pipeline-cpu.json, or where ``--json`` says; nowhere, if that is empty.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import RESULTS, arguments, finish
from bench.sweep import Quiet
from job import admit, chip, generate, plan, plugs, river, settings
from job.generators import GENERATORS, Generator
from job.ground import cost, layout, lineage, pixels, shards
from job.ground.starts import Starts
from job.ground.store import Store
from job.real.pixels import marks_in
from job.records import Failure, Origin, Sample, SampleSpec, Split, Unit
from job.runplan import Pool, RunPlan

ORIGIN = Origin(model="photographs", revision="", licence="CC0-1.0", depth=1, ancestry=())
WAIT_S = 0.002   # per image


class Pictures:
    """A generator whose pictures are there before it is asked: photographs that ship with scikit-learn, cut anew for every sample.

    It waits a little for each, so that its thread leaves the encoder's alone, as one that waits for a GPU does.
    """

    def __init__(self, size_px: int, count: int) -> None:
        from sklearn.datasets import load_sample_images

        rng, photos = np.random.default_rng(0), [Image.fromarray(one) for one in load_sample_images().images]
        self.pictures = [self._cut(photos[at % len(photos)], size_px, rng) for at in range(count)]

    @staticmethod
    def _cut(photo: Image.Image, size_px: int, rng: np.random.Generator) -> np.ndarray:
        """A square of at least 60 % of the photograph's height, scaled, and mirrored half of the time."""
        side = int(rng.uniform(0.6, 1.0) * photo.height)
        left, top = (int(rng.integers(0, room - side + 1)) for room in photo.size)
        square = np.asarray(photo.crop((left, top, left + side, top + side)).resize((size_px, size_px), Image.Resampling.LANCZOS))
        return np.ascontiguousarray(square[:, ::-1] if rng.random() < 0.5 else square)

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        time.sleep(WAIT_S * len(specs))
        return [Sample(spec, self.pictures[spec.index % len(self.pictures)]) for spec in specs]


def planned(root: str, *flags: str) -> tuple[Store, RunPlan, Split]:
    """A run of the shipped digits, drawn by the fake at the size that is asked."""
    fake = ("--generator.name", "fake", "--measure.metrics", "{}", "--filter.kind", "none", "--sweep.alphas", "0,.25")
    chosen = settings.load(["--root", root, *fake, *flags], environ={})
    store, found = admit.open_store(chosen), plan.choose_plugs(chosen)
    return store, *admit.freeze(store, chosen, found, *admit.draft(store, chosen, found))


def bare(made: RunPlan, unit: Unit) -> float:
    """Images per second of the generator alone, over one unit."""
    plug = plugs.find(GENERATORS, made.recipe.generator, "generator")
    generator: Generator = plug(plugs.options(plug, made.generator_options, "generator"))
    generator.load("", "none", "cpu")
    specs = list(lineage.specs(made.recipe, made.classes[unit.label], unit))
    start = time.perf_counter()
    drawn = sum(len(generator.draw(specs[at : at + made.batch_size])) for at in range(0, len(specs), made.batch_size))
    return drawn / (time.perf_counter() - start)


def piped(store: Store, made: RunPlan, split: Split, units: Sequence[Unit], pool: Pool) -> tuple[float, float]:
    """Images per second of the room from its first unit's commit to its last, and the seconds before the first unit was begun.

    The time of a commit is that of its file: rows reach the driver in bursts.
    """
    walk = river.River(store, made, split, Quiet(), {"generate": pool, "sweep": pool})
    start = time.time()
    with walk.room("generate", len(units) * made.unit_size, "images") as floor:
        done = generate.generate(made, units, floor)
    if done.made != len(units) * made.unit_size:
        raise SystemExit(f"{done.made} of {len(units) * made.unit_size} images were made")
    home = Path(store.url.removeprefix("file://"))
    ends = sorted((home / layout.commit(made.recipe.id, unit)).stat().st_mtime for unit in units)
    each = (ends[-1] - ends[0]) / (len(ends) - 1)
    return made.unit_size / each, ends[0] - start - each


def throughput(folder: Path, unit_s: float, units: int, runs: int, size_px: int, seconds_per_image: float, batch: int) -> dict[str, Any]:
    """Bare generator and room by turns, every room over units that nobody has drawn yet."""
    from job.cluster import cluster

    unit_size = max(1, round(unit_s / seconds_per_image / batch)) * batch
    flags = ("--generator.size_px", str(size_px), "--generator.unit_size", str(unit_size), "--generator.batch_size", str(batch),
             "--generator.images_per_class", str(unit_size * units), "--generator.actors", "1",
             "--generator.options.seconds_per_image", str(seconds_per_image), "--generator.options.noise", "0", "--progress", "json")
    rates: dict[str, list[float]] = {"bare": [], "pipeline": []}
    starts: list[float] = []
    with cluster(settings.load(["--root", str(folder / "ray"), *flags], environ={})) as pools:
        for number in range(runs):
            store, made, split = planned(str(folder / f"run-{number}"), *flags)
            mine = plan.first_round(made)[:units]

            def alone(made: RunPlan = made, unit: Unit = mine[0]) -> None:
                rates["bare"].append(bare(made, unit))

            def within(store: Store = store, made: RunPlan = made, split: Split = split, mine: Sequence[Unit] = mine) -> None:
                rate, start_s = piped(store, made, split, mine, pools["generate"])
                rates["pipeline"].append(rate)
                starts.append(start_s)

            for measure in (alone, within) if number % 2 == 0 else (within, alone):
                measure()
            told = ", ".join(f"{name} {found[-1]:.3f}" for name, found in rates.items())
            print(f"turn {number + 1}: {told} images/s", file=sys.stderr, flush=True)
    ratios = [within / alone for within, alone in zip(rates["pipeline"], rates["bare"], strict=True)]
    return {
        "pipeline_over_bare": round(statistics.median(ratios), 4), "ratios": [round(one, 4) for one in ratios],
        "images_per_s": {name: [round(one, 3) for one in found] for name, found in rates.items()},
        "start_s": [round(one, 2) for one in starts], "unit_s": round(unit_size / statistics.median(rates["bare"]), 1),
        "unit_size": unit_size, "units": units, "batch": batch, "size_px": size_px, "seconds_per_image": seconds_per_image,
    }


def cpu_cost(folder: Path, size_px: int, images: int, runs: int) -> dict[str, Any]:
    """Process CPU milliseconds per image of one unit's way from pictures to its commit, and of the parts of that way."""
    flags = ("--generator.size_px", str(size_px), "--generator.unit_size", str(images), "--generator.batch_size", "16")
    generator = Pictures(size_px, min(images, 64))
    found: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any], each: int = images) -> Any:
        start = time.process_time()
        done = work()
        found.setdefault(name, []).append(1000 * (time.process_time() - start) / each)
        return done

    for number in range(runs + 1):
        store, made, _ = planned(str(folder / f"cost-{number}"), *flags)
        keys, unit = layout.Run(made.dataset, made.run), plan.first_round(made)[0]
        recipe, words = made.recipe, made.classes[unit.label]

        def whole(store: Store = store, made: RunPlan = made, keys: layout.Run = keys, unit: Unit = unit) -> Any:
            return generate.work_unit(
                store, generator, ORIGIN, made.recipe, made.classes[unit.label], unit, made.batch_size, run=made.run,   # type: ignore[arg-type]
                starts=Starts(store, keys), meter=cost.Meter(store, keys, "generate", gpus=0, cpus=1))

        done, ours = timed("whole", whole)
        if not ours or done.made != images:
            raise SystemExit(f"{done.made} of {images} images were made")
        drawn = generator.draw(list(lineage.specs(recipe, words, unit)))
        pictures = [one.pixels_HWC for one in drawn]
        batches = [pictures[at : at + made.batch_size] for at in range(0, images, made.batch_size)]
        timed("check", lambda pictures=pictures: [pixels.fault(one) for one in pictures])
        files = timed("encode", lambda pictures=pictures, recipe=recipe: [pixels.encode(one, recipe.encoding) for one in pictures])
        timed("mark", lambda batches=batches, recipe=recipe: [marks_in(recipe.encoding, batch) for batch in batches])
        pairs = [(one.spec, file) for one, file in zip(drawn, files, strict=True)]
        data = timed("pack", lambda recipe=recipe, pairs=pairs: shards.pack(recipe, ORIGIN, pairs))
        timed("hash", lambda data=data: lineage.sha256(data))
        timed("upload", lambda store=store, data=data, number=number: store.create(f"upload-{number}", data))
        shutil.rmtree(folder / f"cost-{number}")   # the next turn writes to pages that this one used: a virtual machine pays for new ones
        if not number:
            found.clear()   # the first pays for imports
    cpu = {name: round(statistics.median(one), 3) for name, one in found.items()}
    parts = {name: value for name, value in cpu.items() if name != "whole"}
    return {
        "cpu_ms_per_image": cpu["whole"], "all_cpu_ms_per_image": [round(one, 3) for one in found["whole"]],
        "parts_ms": parts, "rest_ms": round(cpu["whole"] - sum(parts.values()), 3),
        "kib_per_image": round(len(data) / images / 1024, 1), "encoding": recipe.encoding, "size_px": size_px, "images": images,
    }


def main() -> None:
    chosen = arguments(__doc__, unit_s="30", units=3, runs=3, size_px=512, seconds_per_image="0.25", batch=8, images=64, only="")
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {"processor": chip.processor(), "runs": chosen.runs, "load_before": os.getloadavg()}
    with tempfile.TemporaryDirectory(prefix="saltworks-pipeline-") as scratch:
        folder = Path(scratch)
        if chosen.only in ("", "cpu"):
            result |= {"cost": cpu_cost(folder, chosen.size_px, chosen.images, 3 * chosen.runs)}
        if chosen.only in ("", "throughput"):
            result |= {"throughput": throughput(folder, float(chosen.unit_s), chosen.units, chosen.runs, chosen.size_px,
                                                float(chosen.seconds_per_image), chosen.batch)}
    finish(result, chosen.json or (None if chosen.only else RESULTS / "pipeline-cpu.json"))


if __name__ == "__main__":
    main()
