"""HOT. One Ray Train trial per arm: a ``fit()`` of Ray Train each, side by side from a few driver threads.

Seeds run inside the trial. A trial commits its per-image result itself, so a finished one is never fitted again.
Knows nothing of classes or α: the task says what is right, the mix says what to train on.
"""

import gc
import io
import json
import logging
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from job import arms, plugs
from job.errors import DataError, JobError, SettingsError, TemporaryError, revive
from job.generate import Committed
from job.ground import drain, layout, lineage, shards
from job.ground.cost import Meter
from job.ground.store import Store
from job.pool import Floor, check_device, deadline
from job.records import Mix, Split, Trial
from job.results import TrialResult
from job.runplan import Pool, RunPlan, plain
from job.tasks import TASKS
from job.trainset import Pixels, shared, training_set
from job.waiting import until_one_fits, watched

COLLECT_S = 5.0
MAX_FAILURES = 2   # times a trial whose process died is begun again
TOO_LITTLE = "raise SALTWORKS_SWEEP__GPUS_PER_TRIAL, or lower SALTWORKS_TRAIN__BATCH_SIZE or SALTWORKS_TRAIN__SIZE_PX"


def trial_of(plan: RunPlan, split: Split, mix: Mix, seeds: Sequence[int], judged_on: str, arm: str = "") -> Trial:
    """The trial, named by everything that decides its result, and by its arm."""
    judged = split.part(judged_on)
    options = plan.augmented_options if arms.find(arm).augmented else plan.task_options
    identity = lineage.content_id(
        "trial", lineage.mix_id(mix, plan.recipe.id), plan.task, options, seeds, plain(plan.schedule), arm,
        judged_on, judged["digest"].to_pylist(),
    )
    return Trial(identity, mix, tuple(seeds), judged_on, arm, options)


def train_trial(config: dict[str, Any]) -> None:
    """What runs in the trial's worker: every seed of one arm, then the commit."""
    with drain.busy(f"{config['room']}, {config['trial'].told}"):
        _train(config)


def _train(config: dict[str, Any]) -> None:
    import ray
    import torch

    from job.fitting_together import fit_seeds

    plan: RunPlan = config["plan"]
    trial: Trial = config["trial"]
    store = Store(config["url"], config["retry_s"])
    pool: Pool = config["pool"]
    run, room = layout.Run(plan.dataset, plan.run), config["room"]
    meter = Meter(store, run, room, gpus=pool.gpus, cpus=pool.cpus, part_of=config["held"]).start()
    try:
        with meter.spending("load"):
            check_device(pool, "SALTWORKS_SWEEP__GPUS_PER_TRIAL=0")
            torch.set_num_threads(plan.schedule.threads)
            plug = plugs.find(TASKS, plan.task, "task")
            task = plug(plugs.options(plug, trial.task_options, "task"), classes=len(plan.classes), size_px=plan.schedule.size_px)
            keys = list(config["synthetic"])
            synthetic = dict(zip(keys, ray.get(list(config["synthetic"].values())), strict=True))
            images, targets, shares = training_set(trial.mix, config["train_ids"], ray.get(config["train"]), synthetic)
            judged, judged_targets = ray.get(config["judged"])
            tensors = {
                "images_NHWC": images, "targets_N": targets, "judged_MHWC": judged, "judged_targets_M": judged_targets,
            }
            tensors = {name: shared(array).to(pool.device) for name, array in tensors.items()}
        with meter.spending("train"):
            fitted = fit_seeds(task, plan.schedule, trial.seeds, pool.device, lambda count: deadline(count * plan.fit_deadline_s),
                               **tensors, shares=shares)
        _commit(store, plan, TrialResult(
            trial.id, trial.mix.alpha, trial.mix.realised_alpha, trial.mix.n_real, trial.mix.n_synthetic,
            fitted[0].samples_seen, trial.seeds, trial.judged_on, np.stack([one.correct_N for one in fitted]),
            tuple(one.first_loss for one in fitted), tuple(one.loss for one in fitted),
            tuple(one.late_gain for one in fitted), meter.seconds()["train"], meter.seconds()["load"], meter.process,
            trial.arm,
        ))
    except (JobError, torch.OutOfMemoryError) as error:   # told as an object, for the driver to raise: it is no reason to begin again
        told = error if isinstance(error, JobError) else SettingsError(
            f"{trial.told} does not fit into the device's memory: {str(error).splitlines()[0]}", TOO_LITTLE)
        store.create(config["error_key"], json.dumps([type(told).__name__, told.problem, told.cure]).encode())
    finally:
        meter.beat()


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
    key = record.pop("data")
    try:
        table = pq.read_table(io.BytesIO(store.read(key, record.pop("sha256"))))
    except KeyError:
        raise DataError(f"{key} is gone, and the record of its trial is there",
                        "restore it, or delete the record to fit the trial again") from None
    correct = np.stack([np.frombuffer(row, np.uint8) for row in table["correct"].to_pylist()])
    return TrialResult(correct_SN=correct, **{key: tuple(v) if isinstance(v, list) else v for key, v in record.items()})


@dataclass(frozen=True, slots=True)
class Fitted:
    """Results of all trials, in the order asked for, and how many were fitted now and how many were there."""

    results: tuple[TrialResult, ...]
    fitted: int
    adopted: int


def sweep(
    plan: RunPlan, split: Split, trials: Sequence[Trial], committed: Sequence[Committed], floor: Floor, room: str, cache: dict[str, Pixels],
) -> Fitted:
    """Results of all trials, in their order, fitting only those that are not committed.

    A trial that fails ends the room once the trials beside it are finished and committed; none is begun after it.
    """
    store = floor.store
    found = {trial.id: read_result(store, plan, trial.id) for trial in trials}
    missing = [trial for trial in trials if found[trial.id] is None]
    floor.advance(sum(len(trial.seeds) for trial in trials) - sum(len(trial.seeds) for trial in missing))
    if missing and not floor.pool.workers:
        raise DataError(f"{missing[0].told} is missing", "fit it with: python -m job run")
    if missing:
        floor.stop.check()
        until_one_fits(replace(floor.pool, workers=min(floor.pool.workers, len(missing))), room, floor.stop, floor.event)
        if "pixels" not in cache:
            cache["pixels"] = Pixels(plan, split, committed, floor)
        cache["pixels"].cover([trial.mix for trial in trials])
        _fit_all(plan, split, missing, cache["pixels"], floor, room)
        found |= {trial.id: read_result(store, plan, trial.id) for trial in missing}
    lost = [trial for trial in trials if found[trial.id] is None]
    if lost:
        raise TemporaryError(f"{lost[0].told} left no result", "run again to fit it")
    return Fitted(tuple(result for trial in trials if (result := found[trial.id])), len(missing), len(trials) - len(missing))


def _fit_all(plan: RunPlan, split: Split, trials: Sequence[Trial], shared: Pixels, floor: Floor, room: str) -> None:
    """Every trial, some side by side. What is not begun when one fails, or when it is time to stop, is not begun at all."""
    import ray

    broken, pool = threading.Event(), floor.pool

    def one(trial: Trial, scratch: str) -> None:
        if broken.is_set() or floor.stop.requested:
            return
        start, held = time.perf_counter(), uuid.uuid4().hex[:12]
        try:
            with floor.ledger.trial(room, held, gpus=pool.gpus, cpus=pool.cpus):
                _fit(plan, split, trial, shared, floor, room, held, scratch, beside)
        except BaseException:
            broken.set()
            raise
        took = time.perf_counter() - start
        floor.heard(held, [[room, "trial", took, pool.gpus, pool.cpus]], booked=False)   # for the budget alone
        floor.advance(len(trial.seeds))

    drivers, beside = ThreadPoolExecutor(pool.workers), controllers(pool.workers)
    with tempfile.TemporaryDirectory(prefix="saltworks-train-", ignore_cleanup_errors=True) as scratch:
        try:
            futures = [drivers.submit(one, trial, scratch) for trial in trials]
            with watched(pool, room, floor.stop, floor.event):
                while wait(futures, timeout=COLLECT_S).not_done:   # those that run when one fails are waited for, and their work is kept
                    gc.collect()   # a pool whose workers are gone, but not yet its handles, would keep the CPUs that trials wait for
            for future in futures:
                future.result()
        finally:
            drivers.shutdown(wait=False, cancel_futures=True)   # an interruption waits for nobody
            with suppress(Exception):   # Ray may be what ended
                ray.kill(beside)   # what a trainer leaves refers to itself, and would keep the process until it is collected
    floor.stop.check()


def _raise_cause(trial: Trial, error: Any) -> NoReturn:
    """A process that died may live next time; an exception of the training will come again."""
    import ray

    cause = next(iter(error.worker_failures.values()), error)
    cause = getattr(cause, "health_check_failure", cause)   # how Ray Train wraps the death of a worker
    what = f"{trial.told} failed {MAX_FAILURES + 1} times: {type(cause).__name__}: {cause}".splitlines()[0]
    if isinstance(cause, ray.exceptions.RayActorError):
        raise TemporaryError(what, "run again to fit it") from error
    raise JobError(what, "report it with the settings of the run") from error


class Controllers:
    """Stands in an actor: the controllers of the trials side by side, each in a thread of its own.

    Ray Train gives each ``fit()`` a process for its controller, which looks at its worker twice a second; that process takes
    longer to start than some trials take to train.
    """

    def run(self, given: dict[str, Any]) -> Any:
        import asyncio

        from ray.train.v2._internal.execution.controller import TrainController

        controller = TrainController(**given)
        asyncio.run(controller.run())
        return controller.get_result()


def controllers(workers: int) -> Any:
    """A handle to the process for the controllers of so many trials at a time, on the driver's machine."""
    import ray
    from ray.train.v2._internal.constants import get_env_vars_to_propagate

    node = ray.get_runtime_context().get_node_id()
    own_log = {"RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0"}   # set up anew by each, it locks those beside it for ever
    return ray.remote(num_cpus=0, max_concurrency=workers, label_selector={"ray.io/node-id": node},
                      runtime_env={"env_vars": get_env_vars_to_propagate() | own_log})(Controllers).remote()   # as Ray starts its own


def lean_trainer(beside: Any) -> Any:
    """Ray Train's ``DataParallelTrainer`` without what a trial of one worker does not use.

    It is what ``TorchTrainer`` is made of, less the set-up of ``torch.distributed``: one worker talks to nobody, and so the
    processes beside it need not import torch. Left out, too: the process that hands out Ray datasets (a trial has none)
    and the one that removes the placement group of a controller that was killed (Ray removes it with the job). The controllers
    of all trials share the process ``beside``. Measured in bench/trial_overhead.py.
    """
    import ray
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    class LeanTrainer(DataParallelTrainer):
        def _initialize_and_run_controller(self, **given: Any) -> Any:
            return ray.get(beside.run.remote(given))

        def _create_default_callbacks(self) -> list[Any]:
            callbacks = super()._create_default_callbacks()
            return [one for one in callbacks if type(one).__name__ not in ("DatasetsCallback", "PlacementGroupCleanerCallback")]

    return LeanTrainer


def _fit(
    plan: RunPlan, split: Split, trial: Trial, shared: Pixels, floor: Floor, room: str, held: str, scratch: str, beside: Any,
) -> None:
    import ray.train

    store, pool = floor.store, floor.pool

    logging.getLogger("ray.train").setLevel(logging.ERROR)
    error_key = layout.Run(plan.dataset, plan.run).error(f"{trial.id}-{uuid.uuid4().hex[:12]}")
    taken = {take.words.key: shared.synthetic[take.words.key] for take in trial.mix.synthetic if take.count}
    trainer = lean_trainer(beside)(
        train_trial,
        train_loop_config={
            "plan": plan, "trial": trial, "url": store.url, "retry_s": store.retry_s, "pool": pool,
            "error_key": error_key, "room": room, "held": held,
            "train": shared.part("train"), "train_ids": split.part("train")["id"].to_pylist(),
            "judged": shared.part(trial.judged_on), "synthetic": taken,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=1, use_gpu=pool.gpus > 0,
            resources_per_worker=pool.each,
        ),
        run_config=ray.train.RunConfig(
            name=trial.id, storage_path=scratch, failure_config=ray.train.FailureConfig(max_failures=MAX_FAILURES)
        ),
    )
    try:
        trainer.fit()
    except ray.train.WorkerGroupError as error:
        _raise_cause(trial, error)
    except (ray.train.TrainingFailedError, ray.exceptions.RayActorError) as error:   # the controller or the cluster, not the training
        raise TemporaryError(f"{trial.told} broke: {error}", "run again to fit it") from error
    told = store.get(error_key)
    if told:
        raise revive(*json.loads(told))
