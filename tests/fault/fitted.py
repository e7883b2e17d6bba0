"""The trials of a run, fitted in this process as its workers do: then no room that comes after them needs a pool."""

from collections.abc import Mapping

import numpy as np

from job import plugs, sweep, trainset
from job.fitting import fit
from job.ground.store import Store
from job.records import Mix, Split, Trial
from job.results import TrialResult
from job.runplan import RunPlan
from job.tasks import TASKS


def fit_all(
    planned: RunPlan, split: Split, mixes: Mapping[float, Mix], drawn: Mapping[str, dict[str, np.ndarray]]
) -> list[TrialResult]:
    """Every trial of both rooms. ``drawn``: by class, as ``trainset.decode_synthetic`` gives it."""
    import torch

    results = []
    plug = plugs.find(TASKS, planned.task, "task")
    task = plug(plugs.options(plug, planned.task_options, "task"), classes=len(planned.classes), size_px=planned.schedule.size_px)
    real = {part: trainset.decode_real(planned, split.part(part)) for part in ("train", "val", "test")}
    for mix in mixes.values():
        images, targets, _ = trainset.training_set(mix, split.part("train")["id"].to_pylist(), real["train"], dict(drawn))
        for part, seeds in (("val", planned.sweep_seeds), ("test", planned.confirm_seeds)):
            tensors = {name: torch.from_numpy(array) for name, array in zip(
                ("images_NHWC", "targets_N", "judged_MHWC", "judged_targets_M"), (images, targets, *real[part]), strict=True)}
            trial: Trial = sweep.trial_of(planned, split, mix, seeds, part)
            fitted = [fit(task, planned.schedule, seed, "cpu", **tensors) for seed in seeds]
            results.append(TrialResult(
                trial.id, mix.alpha, mix.realised_alpha, mix.n_real, mix.n_synthetic, planned.schedule.samples_seen, seeds, part,
                np.stack([one.correct_N for one in fitted]), tuple(one.first_loss for one in fitted),
                tuple(one.loss for one in fitted), tuple(one.late_gain for one in fitted), 1.0, 0.0, "beforehand"))
    return results


def commit(store: Store, planned: RunPlan, results: list[TrialResult]) -> None:
    """The run finds them, and fits none again."""
    for one in results:
        sweep._commit(store, planned, one)
