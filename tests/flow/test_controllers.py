"""The controllers of trials side by side share a process, and nothing in it is one trial's alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from job.sweep import controllers, lean_trainer

pytestmark = pytest.mark.flow


def test_no_controller_sets_up_the_logging_of_the_process_that_it_shares(local_ray: None, tmp_path: Path) -> None:
    """It would wait for the lock of a handler whose thread waits for logging's own: both for ever, and the room with them."""
    import ray
    import ray.train

    def handlers(_: Any) -> int:
        import logging

        return len(logging.getLogger("ray.train").handlers)

    def nothing(_: dict[str, Any]) -> None:
        pass

    beside = controllers(2)

    def fit(name: str) -> None:
        lean_trainer(beside)(
            nothing, train_loop_config={},
            scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 0.5}),
            run_config=ray.train.RunConfig(name=name, storage_path=str(tmp_path)),
        ).fit()

    with ThreadPoolExecutor(2) as drivers:
        list(drivers.map(fit, ("one", "other")))
    try:
        assert ray.get(beside.__ray_call__.remote(handlers)) == 0
    finally:
        ray.kill(beside)
