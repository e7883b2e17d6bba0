"""A trial that does not fit into the device's memory: told once, with what to lower."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from job import fitting_together, sweep
from job.records import Mix
from job.runplan import Pool
from tests.unit.made_run import make_run
from tests.unit.publishing import folder

pytestmark = pytest.mark.flow


def test_it_is_told_as_a_setting_and_not_begun_again(local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from job.trainset import decode_real

    def small(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has …")

    made = make_run(folder(tmp_path / "root"), tmp_path / "real", finished=False)
    train, val = (made.split.part(name) for name in ("train", "val"))
    trial = sweep.trial_of(made.planned, made.split, Mix(0.0, 0.0, tuple(train["id"].to_pylist()), ()), (0, 1), "val")
    monkeypatch.setattr(fitting_together, "fit_seeds", small)
    sweep._train({   # ended by no exception: Ray Train would begin it again
        "plan": made.planned, "trial": trial, "url": made.store.url, "retry_s": 1.0, "pool": Pool(1, 1, 0), "room": "sweep", "held": "held",
        "error_key": "error.json", "synthetic": {}, "train_ids": train["id"].to_pylist(),
        "train": ray.put(decode_real(made.planned, train)), "judged": ray.put(decode_real(made.planned, val)),
    })
    kind, problem, cure = json.loads(made.store.read("error.json"))
    assert (kind, "does not fit into the device's memory: CUDA out of memory" in problem, "\n" in problem) == ("SettingsError", True, False)
    assert "SALTWORKS_SWEEP__GPUS_PER_TRIAL" in cure
    assert sweep.read_result(made.store, made.planned, trial.id) is None
