"""HOT. One Ray Train trial per arm: a ``TorchTrainer.fit()`` each, side by side from a few driver threads.

Seeds run inside the trial. Pixels are decoded once, into shared uint8 arrays in the object store. A trial commits
its per-image result itself, so a finished one is never fitted again. Knows nothing of classes or α: the task says
what is right, the mix says what to train on.
"""

import io
import json
import logging
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from job import plugs
from job.errors import DataError, JobError, TemporaryError
from job.generate import Committed, read_shard
from job.ground import layout, lineage, pixels, shards
from job.ground.events import Advance
from job.ground.store import ReadOnlyFolder, Store
from job.pool import revive
from job.real import SOURCES
from job.records import Mix, Split, Trial, TrialResult
from job.runplan import Pool, RunPlan
from job.tasks import TASKS

MAX_FAILURES = 2   # times a trial whose process died is begun again


def trial_of(plan: RunPlan, split: Split, mix: Mix, seeds: Sequence[int], judged_on: str) -> Trial:
    """The trial, named by everything that decides its result."""
    judged = split.part(judged_on)
    identity = lineage.content_id(
        "trial", lineage.mix_id(mix, plan.recipe.id), plan.task, plan.task_options, seeds,
        [plan.schedule.steps, plan.schedule.batch_size, plan.schedule.learning_rate, plan.schedule.weight_decay,
         plan.schedule.size_px, plan.schedule.threads],
        judged_on, judged["digest"].to_pylist(),
    )
    return Trial(identity, mix, tuple(seeds), judged_on)


def decode_real(plan: RunPlan, rows: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """Real pixels of these rows of the split: uint8 (N, S, S, 3) and int64 labels (N,), in their order."""
    plug = plugs.find(SOURCES, plan.source, "source")
    source = plug(plugs.options(plug, plan.source_options, "source"), ReadOnlyFolder)
    size = plan.schedule.size_px
    images = [pixels.to_train(image, size) for image in source.load(rows)]
    return np.stack(images), rows["label"].to_numpy().astype(np.int64)


def decode_synthetic(url: str, retry_s: float, size_px: int, label: int, committed: Sequence[Committed]) -> dict[str, np.ndarray]:
    """Synthetic pixels of one class: uint8 ``images`` (M, S, S, 3) with their ``index`` (M,), ascending."""
    store = Store(url, retry_s)
    images: list[np.ndarray] = []
    index: list[int] = []
    for one in committed:
        shard = read_shard(store, one, ["image", "index"])
        images.extend(pixels.to_train(image, size_px) for image in shards.images(shard))
        index.extend(shard["index"].to_pylist())
    empty = np.empty((0, size_px, size_px, 3), np.uint8)
    return {"images": np.stack(images) if images else empty, "index": np.asarray(index, np.int64), "label": np.int64(label)}


class Pixels:
    """References to decoded arrays in Ray's object store: made once, read by every trial."""

    def __init__(self, store: Store, plan: RunPlan, split: Split, committed: Sequence[Committed], pool: Pool) -> None:
        import ray

        self._plan, self._split = plan, split
        self._real = ray.remote(num_cpus=pool.cpus)(decode_real)
        task = ray.remote(num_cpus=pool.cpus)(decode_synthetic)
        by_label: dict[int, list[Committed]] = {}
        for one in committed:
            by_label.setdefault(one.unit.label, []).append(one)
        self.synthetic = {
            plan.classes[label].key: task.remote(store.url, store.retry_s, plan.schedule.size_px, label, units)
            for label, units in by_label.items()
        }
        self._parts: dict[str, Any] = {}

    def part(self, name: str) -> Any:
        """Reference to the pixels of one part of the split; decoded when first asked for."""
        if name not in self._parts:
            self._parts[name] = self._real.remote(self._plan, self._split.part(name))
        return self._parts[name]


def training_set(
    mix: Mix, real_ids: Sequence[str], real: tuple[np.ndarray, np.ndarray], synthetic: dict[str, dict[str, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """What a mix trains on: real images first, in the order of the split, then synthetic by class and index."""
    taken = set(mix.real_ids)
    rows = [row for row, name in enumerate(real_ids) if name in taken]
    images, targets = [real[0][rows]], [real[1][rows]]
    for take in mix.synthetic:
        if take.count:
            part = synthetic[take.words.key]
            at = np.searchsorted(part["index"], take.indices())
            images.append(part["images"][at])
            targets.append(np.full(take.count, part["label"], np.int64))
    return np.concatenate(images), np.concatenate(targets)


def train_trial(config: dict[str, Any]) -> None:
    """What runs in the trial's worker: every seed of one arm, then the commit."""
    import ray
    import torch

    from job.fitting import fit

    plan: RunPlan = config["plan"]
    trial: Trial = config["trial"]
    store = Store(config["url"], config["retry_s"])
    try:
        start = time.perf_counter()
        device = "cuda" if config["gpus"] else "cpu"
        torch.set_num_threads(plan.schedule.threads)
        plug = plugs.find(TASKS, plan.task, "task")
        task = plug(plugs.options(plug, plan.task_options, "task"), classes=len(plan.classes), size_px=plan.schedule.size_px)
        keys = list(config["synthetic"])
        synthetic = dict(zip(keys, ray.get(list(config["synthetic"].values())), strict=True))
        images, targets = training_set(trial.mix, config["train_ids"], ray.get(config["train"]), synthetic)
        judged, judged_targets = ray.get(config["judged"])
        tensors = {
            "images_NHWC": torch.from_numpy(images), "targets_N": torch.from_numpy(targets),
            "judged_MHWC": torch.tensor(judged), "judged_targets_M": torch.tensor(judged_targets),
        }
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        fitted = [fit(task, plan.schedule, seed, device, **tensors) for seed in trial.seeds]
        _commit(store, plan, TrialResult(
            trial.id, trial.mix.alpha, trial.mix.realised_alpha, trial.mix.n_real, trial.mix.n_synthetic,
            plan.schedule.samples_seen, trial.seeds, trial.judged_on, np.stack([one.correct_N for one in fitted]),
            tuple(one.first_loss for one in fitted), tuple(one.loss for one in fitted),
            tuple(one.late_gain for one in fitted), time.perf_counter() - start,
        ))
    except JobError as error:   # told as an object, for the driver to raise: it is no reason to begin again
        store.create(config["error_key"], json.dumps([type(error).__name__, error.problem, error.cure]).encode())


def _commit(store: Store, plan: RunPlan, result: TrialResult) -> None:
    """Predictions first, then the create-only record that names them."""
    run = layout.Run(plan.dataset, plan.run)
    data = shards.table_bytes(pa.table({"seed": list(result.seeds), "correct": [row.tobytes() for row in result.correct_SN]}))
    key = run.trial_data(result.trial, lineage.sha256(data))
    store.create(key, data)
    record = {name: getattr(result, name) for name in TrialResult.__slots__ if name != "correct_SN"}
    record |= {"data": key, "sha256": lineage.sha256(data)}
    store.create(run.trial(result.trial), lineage.canonical(record).encode())


def read_result(store: Store, plan: RunPlan, trial: str) -> TrialResult | None:
    """A committed trial, or None."""
    data = store.get(layout.Run(plan.dataset, plan.run).trial(trial))
    if data is None:
        return None
    record = json.loads(data)
    table = pq.read_table(io.BytesIO(store.read(record.pop("data"))))
    del record["sha256"]
    correct = np.stack([np.frombuffer(row, np.uint8) for row in table["correct"].to_pylist()])
    return TrialResult(correct_SN=correct, **{key: tuple(v) if isinstance(v, list) else v for key, v in record.items()})


def sweep(
    store: Store, plan: RunPlan, split: Split, trials: Sequence[Trial], committed: Sequence[Committed], pool: Pool,
    advance: Advance, cache: dict[str, Pixels],
) -> tuple[tuple[TrialResult, ...], dict[str, float]]:
    """Results of all trials, in their order, fitting only those that are not committed; and the seconds by kind."""
    found = {trial.id: read_result(store, plan, trial.id) for trial in trials}
    missing = [trial for trial in trials if found[trial.id] is None]
    advance(sum(len(trial.seeds) for trial in trials) - sum(len(trial.seeds) for trial in missing))
    spent = {"train": 0.0, "start": 0.0}
    if missing and not pool.workers:
        raise DataError(f"the trial at alpha {missing[0].mix.alpha:g} is missing", "fit it with: python -m job run")
    if missing:
        shared = cache.setdefault("pixels", Pixels(store, plan, split, committed, pool))
        with ThreadPoolExecutor(pool.workers) as drivers, tempfile.TemporaryDirectory(prefix="saltworks-train-") as scratch:
            def one(trial: Trial) -> float:
                start = time.perf_counter()
                _fit(store, plan, split, trial, shared, pool, scratch)
                advance(len(trial.seeds))
                return time.perf_counter() - start

            held = sum(drivers.map(one, missing))
        fresh = {trial.id: read_result(store, plan, trial.id) for trial in missing}
        spent["train"] = sum(result.seconds for result in fresh.values() if result)
        spent["start"] = max(0.0, held - spent["train"])   # processes, imports, and waiting for room
        found |= fresh
    lost = [trial for trial in trials if found[trial.id] is None]
    if lost:
        raise TemporaryError(f"the trial at alpha {lost[0].mix.alpha:g} left no result", "run again to fit it")
    return tuple(found[trial.id] for trial in trials), spent   # type: ignore[misc]


def _raise_cause(trial: Trial, error: Any) -> NoReturn:
    """A process that died may live next time; an exception of the training will come again."""
    import ray

    cause = next(iter(error.worker_failures.values()), error)
    what = f"the trial at alpha {trial.mix.alpha:g} failed {MAX_FAILURES + 1} times: {type(cause).__name__}: {cause}".splitlines()[0]
    if isinstance(cause, ray.exceptions.RayActorError):
        raise TemporaryError(what, "run again to fit it") from error
    raise JobError(what, "report it with the settings of the run") from error


def lean_trainer() -> Any:
    """``TorchTrainer`` without two of the five processes that it starts per trial.

    Left out: the one that hands out Ray datasets (a trial has none) and the one that removes the placement group of a
    controller that was killed (Ray removes it with the job). Measured in bench/trial_overhead.py.
    """
    from ray.train.torch import TorchTrainer

    class LeanTorchTrainer(TorchTrainer):
        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [one for one in callbacks if type(one).__name__ not in ("DatasetsCallback", "PlacementGroupCleanerCallback")]

    return LeanTorchTrainer


def _fit(store: Store, plan: RunPlan, split: Split, trial: Trial, shared: Pixels, pool: Pool, scratch: str) -> None:
    import ray.train

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    error_key = layout.Run(plan.dataset, plan.run).error(f"{trial.id}-{uuid.uuid4().hex[:12]}")
    taken = {take.words.key: shared.synthetic[take.words.key] for take in trial.mix.synthetic if take.count}
    trainer = lean_trainer()(
        train_trial,
        train_loop_config={
            "plan": plan, "trial": trial, "url": store.url, "retry_s": store.retry_s, "gpus": pool.gpus, "error_key": error_key,
            "train": shared.part("train"), "train_ids": split.part("train")["id"].to_pylist(),
            "judged": shared.part(trial.judged_on), "synthetic": taken,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=1, use_gpu=pool.gpus > 0,
            resources_per_worker={"CPU": pool.cpus, **({"GPU": pool.gpus} if pool.gpus else {})},
        ),
        run_config=ray.train.RunConfig(
            name=trial.id, storage_path=scratch, failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES)
        ),
    )
    try:
        trainer.fit()
    except ray.train.WorkerGroupError as error:
        _raise_cause(trial, error)
    except ray.train.TrainingFailedError as error:   # the controller or the cluster, not the training
        raise TemporaryError(f"the trial at alpha {trial.mix.alpha:g} broke: {error}", "run again to fit it") from error
    told = store.get(error_key)
    if told:
        raise revive(*json.loads(told))
