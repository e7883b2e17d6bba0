"""The sweep's speed: the lab's loop against ours, at equal images seen, in one run, turn by turn.

``python -m bench.sweep`` at the lab's size: four CIFAR-shaped classes, 200 real images each, 32 px, as many synthetic ones as
the largest α needs, α in 0, .25, .5, .75, 5 seeds, 300 steps of 64, ``small_cnn``, AdamW, mirrored at random. Pixels are noise:
no claim on accuracy. With ``--device cuda``: eleven α.

- *lab*: ``bench/sweep_lab.py``, after its imports; the better of 0 and 2 loader workers.
- *ours, without start-up*: what a trial runs (``training_set``, ``fit_seeds``), in as many processes as the room would use,
  from the moment that all have imported and warmed up to the last answer.
- *ours, with start-up*: the room itself, from before Ray is started to the last result: pixels decoded, a Ray Train trial per α.
"""

import argparse
import multiprocessing
import os
import pickle
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import arguments, finish
from bench.lab import LAB, stand_in
from job import admit, chip, generate, plan, plugs, run, settings, trainset
from job.ground.events import Events
from job.records import Mix, Split
from job.runplan import RunPlan, Schedule
from job.tasks import TASKS, Task

SPAWN = multiprocessing.get_context("spawn")
WARM_STEPS = 3
ALPHAS = {"cpu": "0,.25,.5,.75", "cuda": "0,.1,.2,.3,.4,.5,.6,.7,.8,.9,1"}


class Quiet(Events):
    """Says nothing."""

    def event(self, name: str, **fields: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Made:
    """A run up to its sweep: what both loops train on."""

    flags: tuple[str, ...]
    planned: RunPlan
    split: Split
    committed: tuple[generate.Committed, ...]
    tallies: dict[str, Any]
    mixes: dict[float, Mix]
    parts: dict[str, tuple[Any, Any]]
    synthetic: dict[str, dict[str, Any]]

    @property
    def task(self) -> Task:
        plug = plugs.find(TASKS, self.planned.task, "task")
        options = plugs.options(plug, self.planned.task_options, "task")
        return plug(options, classes=len(self.planned.classes), size_px=self.planned.schedule.size_px)

    def trained_on(self, alpha: float) -> tuple[Any, Any, Any]:
        """Images, labels and shares of a mix, made as a trial makes them."""
        return trainset.training_set(self.mixes[alpha], self.split.part("train")["id"].to_pylist(), self.parts["train"], self.synthetic)

    def fit(self, alpha: float, schedule: Schedule, device: str) -> int:
        """A trial's trainings, from its mix to its answers; how many images they saw."""
        from job.fitting_together import fit_seeds

        images, labels, shares = self.trained_on(alpha)
        names = "images_NHWC", "targets_N", "judged_MHWC", "judged_targets_M"
        tensors = {name: trainset.shared(array).to(device)
                   for name, array in zip(names, (images, labels, *self.parts["val"]), strict=True)}
        found = fit_seeds(self.task, schedule, self.planned.sweep_seeds, device, lambda _: nullcontext(), **tensors, shares=shares)
        return sum(one.samples_seen for one in found)


def make(folder: Path, flags: Sequence[str]) -> Made:
    """Plan, draw and decide, without Ray."""
    from tests.unit.made_run import draw_unit

    flags = (*LAB, "--real.options.url", stand_in(folder / "real"), "--generator.name", "fake", "--measure.metrics", "{}",
             "--filter.kind", "none", *flags)
    chosen = settings.load([*flags, "--root", str(folder / "root")], environ={})
    store, found = admit.open_store(chosen), plan.choose_plugs(chosen)
    planned, split = admit.freeze(store, chosen, found, *admit.draft(store, chosen, found))
    units = plan.first_round(planned)
    for unit in units:
        draw_unit(store, planned, unit)
    river, tallies = run.River(store, planned, split, Quiet(), run.NO_POOLS), {}
    river.committed = generate.commits(store, planned, units)
    river.filter(tallies, {})
    synthetic = {word.key: trainset.decode_synthetic(store.url, 0, planned.schedule.size_px, word.label, [
        one for one in river.committed if one.unit.class_key == word.key]) for word in planned.classes}
    return Made(flags, planned, split, river.committed, tallies, {alpha: river.mix(tallies, "", alpha) for alpha in planned.alphas},
                {part: trainset.decode_real(planned, split.part(part)) for part in ("train", "val")}, synthetic)


def lab_turn(file: Path, device: str, workers: int, steps: int, alphas: Sequence[float], answers: Any) -> None:
    from bench.sweep_lab import loops

    made: Made = pickle.loads(file.read_bytes())
    sets = {alpha: made.trained_on(alpha)[:2] for alpha in alphas}
    schedule = made.planned.schedule

    def turn(samples: int, seeds: Sequence[int]) -> dict[str, Any]:
        return loops(sets, made.parts["val"], made.task.build, seeds, samples=samples, batch_size=schedule.batch_size,
                     learning_rate=schedule.learning_rate, workers=workers, device=device)

    turn(WARM_STEPS * schedule.batch_size, [0])
    answers.put(turn(steps * schedule.batch_size, made.planned.sweep_seeds))


def trials_turn(file: Path, device: str, asked: Any, ready: Any, answers: Any) -> None:
    """One process of ours: trials until there are none."""
    import torch

    made: Made = pickle.loads(file.read_bytes())
    schedule = made.planned.schedule
    torch.set_num_threads(schedule.threads)
    made.fit(made.planned.alphas[0], replace(schedule, steps=WARM_STEPS), device)
    ready.wait()
    while (alpha := asked.get()) is not None:
        answers.put(made.fit(alpha, schedule, device))


def room_turn(file: Path, root: Path, answers: Any) -> None:
    """The room on Ray, with every trial to be fitted."""
    import torch  # noqa: F401  (imported beforehand, as for the others)

    from job.cluster import cluster

    made: Made = pickle.loads(file.read_bytes())
    chosen = settings.load([*made.flags, "--root", str(root)], environ={})
    start = time.perf_counter()
    with cluster(chosen) as pools:
        began = time.perf_counter()
        river = run.River(admit.open_store(chosen), made.planned, made.split, Quiet("json"), pools)
        river.committed = made.committed
        results = river.sweep(made.tallies, [("", alpha) for alpha in made.planned.alphas], made.planned.sweep_seeds, "val", "sweep")
        end = time.perf_counter()
        answers.put({
            "seconds": end - start, "seen": sum(one.samples_seen * len(one.seeds) for one in results), "ray_s": began - start,
            "side_by_side": pools["sweep"].workers, "train_s": [one.seconds for one in results],
        })


def together_turn(file: Path, device: str, steps: int, answers: Any) -> None:
    """Seconds of a trial's seeds, one after the other and together, on one thread."""
    import torch

    made: Made = pickle.loads(file.read_bytes())
    torch.set_num_threads(1)
    found = {}
    for count in (WARM_STEPS, steps):
        for way in ("never", "always"):
            start = time.perf_counter()
            made.fit(made.planned.alphas[-1], replace(made.planned.schedule, steps=count, together=way), device)
            found[way] = time.perf_counter() - start
    answers.put(found)


def apart(target: Callable[..., None], *given: Any) -> Any:
    """What a process of its own answers."""
    answers = SPAWN.SimpleQueue()
    process = SPAWN.Process(target=target, args=(*given, answers))
    process.start()
    while process.is_alive() and answers.empty():
        time.sleep(0.05)
    if answers.empty():
        process.join()
        raise SystemExit(f"{target.__name__} ended with {process.exitcode} and no answer")
    found = answers.get()
    process.join()
    return found


def ours(file: Path, alphas: Sequence[float], device: str, processes: int) -> dict[str, Any]:
    """All trials, over so many processes that have warmed up."""
    asked, answers, ready = SPAWN.Queue(), SPAWN.Queue(), SPAWN.Barrier(processes + 1)
    team = [SPAWN.Process(target=trials_turn, args=(file, device, asked, ready, answers), daemon=True) for _ in range(processes)]
    for one in team:
        one.start()
    for alpha in [*alphas, *[None] * processes]:
        asked.put(alpha)
    ready.wait(600)
    start = time.perf_counter()
    seen = sum(answers.get(timeout=3600) for _ in alphas)
    took = time.perf_counter() - start
    for one in team:
        one.join()
    return {"seconds": took, "seen": seen}


def measured(chosen: argparse.Namespace, made: Made, file: Path, folder: Path) -> dict[str, Any]:
    """Turns of all loops, and their ratios."""
    alphas, steps, device = made.planned.alphas, chosen.steps, chosen.device
    tries = {workers: apart(lab_turn, file, device, workers, max(1, steps // 5), alphas[-1:])
             for workers in ((0, 2) if chosen.workers < 0 else (chosen.workers,))}
    rates = {workers: one["seen"] / one["seconds"] for workers, one in tries.items()}
    workers = max(rates, key=lambda one: rates[one])
    found: dict[str, list[dict[str, Any]]] = {"lab": [], "ours_without_startup": [], "ours_with_startup": []}
    loads = []
    for turn in range(chosen.runs):
        loads.append(round(os.getloadavg()[0], 1))
        root = folder / f"turn-{turn}"
        shutil.copytree(folder / "root", root)
        kinds: list[tuple[str, Callable[[], dict[str, Any]]]] = [
            ("lab", lambda: apart(lab_turn, file, device, workers, steps, alphas)),
            ("ours_without_startup", lambda: ours(file, alphas, device, chosen.processes)),
            ("ours_with_startup", lambda root=root: apart(room_turn, file, root)),
        ]
        for name, measure in kinds if turn % 2 == 0 else kinds[::-1]:
            found[name].append(measure())
            print(f"turn {turn + 1}: {name} {found[name][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    seen = {one["seen"] for turns in found.values() for one in turns}
    if len(seen) != 1:
        raise SystemExit(f"the loops saw different numbers of images: {sorted(seen)}")
    result: dict[str, Any] = {"images_seen_by_each": seen.pop(), "load_before_each_turn": loads}
    for name, turns in found.items():
        seconds = [one["seconds"] for one in turns]
        result[name] = {"median_samples_per_s": round(result["images_seen_by_each"] / statistics.median(seconds)),
                        "seconds": [round(one, 1) for one in seconds]}
    result["lab"] |= {"loader_workers": workers, "threads": found["lab"][0]["threads"],
                      "tried_samples_per_s": {str(one): round(rate) for one, rate in rates.items()}}
    result["ours_without_startup"]["processes"] = chosen.processes
    result["ours_with_startup"] |= {
        "ray_s": [round(one["ray_s"], 1) for one in found["ours_with_startup"]],
        "side_by_side": found["ours_with_startup"][0]["side_by_side"],
        "median_train_s_per_trial": round(statistics.median(s for one in found["ours_with_startup"] for s in one["train_s"]), 1),
    }
    for name in ("without_startup", "with_startup"):
        ratios = [lab["seconds"] / mine["seconds"] for lab, mine in zip(found["lab"], found[f"ours_{name}"], strict=True)]
        result[f"ratio_{name}"] = round(statistics.median(ratios), 2)
        result[f"ratios_{name}"] = [round(one, 2) for one in ratios]
    if chosen.together:
        turns = [apart(together_turn, file, device, chosen.together) for _ in range(chosen.runs)]
        result["speed_together_to_one_by_one"] = [round(one["never"] / one["always"], 2) for one in turns]
    return result


def main() -> int:
    chosen = arguments(
        __doc__, device="cpu", alphas="", seeds=5, steps=300, runs=3, together=0, processes=0, workers=-1, gpus_per_trial="0.25")
    if chosen.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            print("no GPU could be had here: PyTorch sees no CUDA device, and the ratio on a GPU stays unmeasured", file=sys.stderr)
            return 1
    os.environ.pop("OMP_NUM_THREADS", None)   # the lab's loop has as many threads as PyTorch likes
    chosen.processes = chosen.processes or (1 if chosen.device == "cuda" else os.cpu_count() or 1)
    flags = ["--sweep.alphas", chosen.alphas or ALPHAS[chosen.device], "--sweep.seeds", str(chosen.seeds), "--train.steps",
             str(chosen.steps), *(["--sweep.gpus_per_trial", chosen.gpus_per_trial] if chosen.device == "cuda" else [])]
    with tempfile.TemporaryDirectory(prefix="saltworks-sweep-") as scratch:
        folder = Path(scratch)
        made = make(folder, flags)
        file = folder / "made.pickle"
        file.write_bytes(pickle.dumps(made))
        finish({
            "device": chosen.device, "processor": chip.processor(),
            "alphas": made.planned.alphas, "seeds": chosen.seeds, "steps": chosen.steps,
            "batch": made.planned.schedule.batch_size, "size_px": made.planned.schedule.size_px, "runs": chosen.runs,
            **measured(chosen, made, file, folder),
        }, chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
