"""HOT tool. A pool of Ray Data actors that works units off and sends back one small row for each.

A block is a unit, never an image: Ray Data costs the driver about 15 ms and 10 kB per block for the life of a
Dataset. Pixels stay inside the pool. An error of ours travels home as a row, whole, instead of a stack trace of
three processes.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

from job.errors import DataError, JobError, TemporaryError
from job.records import Unit
from job.runplan import Pool


class UnitWorker:
    """Base of what stands in an actor. Subclasses make one result per unit; heavy loading belongs in ``load``."""

    def __init__(self, *args: Any) -> None:
        self.error: JobError | None = None
        self.load_s = 0.0
        try:
            self.load(*args)
        except JobError as error:   # a raising constructor would be restarted without end
            self.error = error
        except Exception as error:
            self.error = JobError(f"{type(self).__name__} could not start: {type(error).__name__}: {_last_line(error)}",
                                  "report it with the settings of the run")

    def load(self, *args: Any) -> None:
        raise NotImplementedError

    def work(self, unit: Unit) -> dict[str, Any]:
        """Plain values about one unit."""
        raise NotImplementedError

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        units = [Unit(*values) for values in zip(
            batch["class_key"].tolist(), batch["label"].tolist(), batch["lo"].tolist(), batch["hi"].tolist(), strict=True)]
        return {"row": [json.dumps(self._row(unit)) for unit in units]}

    def _row(self, unit: Unit) -> dict[str, Any]:
        try:
            if self.error:
                raise self.error
            return {"unit": unit.name, **self.work(unit), "load_s": self._load_once()}
        except JobError as error:
            return {"unit": unit.name, "error": [type(error).__name__, error.problem, error.cure]}

    def _load_once(self) -> float:
        """Seconds of loading, told with the first unit only, so that a sum over units is right."""
        seconds, self.load_s = self.load_s, 0.0
        return seconds


def work_off(units: Sequence[Unit], worker: type[UnitWorker], args: tuple[Any, ...], pool: Pool) -> Iterator[dict[str, Any]]:
    """The rows of all units, as they are finished. Raises the first ``JobError`` that a worker met."""
    if not pool.workers:
        raise DataError(f"{len(units)} units are missing, {units[0].name} first", "draw and measure them with: python -m job run")
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)   # after the import, which sets it
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1   # waiting for a GPU is no defect
    rows = [{"class_key": unit.class_key, "label": unit.label, "lo": unit.lo, "hi": unit.hi} for unit in units]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        worker, fn_constructor_args=args, batch_size=1, num_cpus=pool.cpus, num_gpus=pool.gpus or None,
        compute=ray.data.ActorPoolStrategy(size=min(pool.workers, len(units))),
    )
    try:
        for row in dataset.iter_rows():
            result = json.loads(row["row"])
            if "error" in result:
                raise revive(*result["error"])
            yield result
    except (ray.exceptions.RayTaskError, ray.exceptions.UserCodeException) as error:   # an exception will come again
        raise JobError(f"{worker.__name__} failed: {_last_line(error)}", "report it with the settings of the run") from error
    except ray.exceptions.RayError as error:
        raise TemporaryError(f"the pool of {worker.__name__} broke: {_last_line(error)}", "run again to resume") from error


def revive(name: str, problem: str, cure: str) -> JobError:
    """The error that another process met."""
    kinds = {kind.__name__: kind for kind in _tree(JobError)}
    return kinds.get(name, JobError)(problem, cure)


def _tree(kind: type[JobError]) -> list[type[JobError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in _tree(child))]


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
