"""What Ray Train costs per trial beyond the training: empty trials, two at a time, our trainer against Ray's own.

``python -m bench.trial_overhead --trials 6 --runs 3``. The two kinds take turns, so that a busy machine hits both alike.
"""

import logging
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from bench import arguments, finish
from job.settings import calm_ray
from job.sweep import controllers, lean_trainer


def nothing(_: dict[str, Any]) -> None:
    import torch  # noqa: F401  (every training imports it)


def wall(trainer: Any, trials: int) -> float:
    """Seconds that so many empty trials take, two at a time."""
    import ray.train

    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(2) as drivers:
        def one(number: int) -> None:
            trainer(nothing, train_loop_config={}, scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
                    run_config=ray.train.RunConfig(name=str(number), storage_path=scratch)).fit()

        start = time.perf_counter()
        list(drivers.map(one, range(trials)))
        return time.perf_counter() - start


def main() -> None:
    chosen = arguments(__doc__, trials=6, runs=3)
    calm_ray()
    import ray
    from ray.train.torch import TorchTrainer

    ray.init(log_to_driver=False, logging_level=logging.ERROR)   # with the dashboard, which Ray's own trainer asks for its state
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    found: dict[str, list[float]] = {"ours": [], "rays": []}
    for _ in range(chosen.runs):
        beside = controllers(2)
        for name, trainer in (("ours", lean_trainer(beside)), ("rays", TorchTrainer)):
            found[name].append(wall(trainer, chosen.trials) / chosen.trials)
        ray.kill(beside)
    ray.shutdown()
    pairs = [ours / rays for ours, rays in zip(found["ours"], found["rays"], strict=True)]
    finish({
        "trials": chosen.trials, "runs": chosen.runs, "side_by_side": 2,
        "median_s_per_trial": {name: round(statistics.median(one), 2) for name, one in found.items()},
        "median_ratio_ours_to_rays": round(statistics.median(pairs), 3), "ratios": [round(one, 3) for one in pairs],
    }, chosen.json)


if __name__ == "__main__":
    main()
