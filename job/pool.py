"""HOT tool. A pool of Ray Data actors that works units off and sends back one small row for each.

A block is a unit, never an image: Ray Data costs the driver about 15 ms and 10 kB per block for the life of a
Dataset. Pixels stay inside the pool. An error of ours travels home as a row, whole, instead of a stack trace of
three processes. A worker that hangs ends its own process at the unit's deadline; one that dies is replaced.
"""

import faulthandler
import gc
import json
import logging
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import psutil

from job.drawing import Beyond, beyond, out_of_memory
from job.errors import DataError, JobError, SettingsError, TemporaryError, full_disk, revive
from job.ground import drain
from job.ground.cost import Ledger, Meter
from job.ground.events import Advance
from job.ground.layout import Run
from job.ground.stop import Stop
from job.ground.store import Store
from job.records import Unit
from job.runplan import Pool, Price
from job.turns import Turns
from job.waiting import until_one_fits, watched
from job.watch import Watch

LOADS = 3     # processes of one host that may die while they load, before the room gives up
_LOAD = re.compile(r"/(begun|loaded)-(.+)-(\d+)-[0-9a-f]+\.json$")
_ends: dict[object, float] = {}   # deadlines of this process
_arming = threading.Lock()


@dataclass(frozen=True, slots=True)
class Floor:
    """What a hot room stands on."""

    store: Store
    run: Run
    pool: Pool
    advance: Advance
    stop: Stop
    ledger: Ledger
    price: Price
    budget: float | None      # what may still be spent in this room, in the currency of the prices; None: no limit
    event: Callable[..., None]
    watch: Watch

    def heard(self, process: str, rows: list[list[Any]], booked: bool = True) -> None:
        """Book what a worker has spent (or only count it); ask all to stop once the budget is reached."""
        self.ledger.hear(process, rows, booked)
        self.watch.heard(process, rows)
        if self.budget is None and not self.watch.recording:
            return
        spent = self.ledger.heard(self.price)
        if self.price.known:
            self.watch.spent(spent)
        if self.budget is not None and spent >= self.budget:
            said = f"the budget is reached: {spent:.4g} {self.price.currency} in this room, {self.budget:.4g} were left"
            self.stop.request(said, spent=True)


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker is told about where it works; cheap to send."""

    url: str
    retry_s: float
    run: Run
    room: str
    pool: Pool
    stop_key: str
    deadline_s: float
    session: str              # of this one call of ``work_off``


class UnitWorker:
    """Base of what stands in an actor. Subclasses make one result per unit; heavy loading belongs in ``load``.

    ``at_once``: units that one process may have in hand. The first has the device until ``self.turns.done()``, and what is
    left of it is done beside the next.
    """

    at_once = 1

    def __init__(self, place: Place, *args: Any) -> None:
        self.place, self.run, self.device = place, place.run, place.pool.device
        self.store = Store(place.url, place.retry_s)
        self.error: JobError | None = None
        self.stopped = False
        self.turns = Turns()
        self.meter = Meter(self.store, place.run, place.room, gpus=place.pool.gpus, cpus=place.pool.cpus).start()
        marks = f"load-{place.session}"
        try:
            self._bound_loads(marks)
            with self.meter.spending("load"), deadline(place.deadline_s):
                check_device(place.pool, "SALTWORKS_GENERATOR__DEVICE=cpu")
                self.load(*args)
            self._mark(marks, "loaded")
        except Exception as error:   # a raising constructor would be restarted without end
            self.error = self._told(error, "could not start")

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
        row: dict[str, Any] = {"unit": unit.name}
        try:
            if self.error:
                raise self.error
            row |= self._turn(unit)
        except (Exception, Beyond) as error:
            told = self._told(error, f"failed at {unit.name}")
            row["error"] = [type(told).__name__, told.problem, told.cure]
        return row | {"process": self.meter.process, "host": socket.gethostname(), "spent": self.meter.rows()}

    def _turn(self, unit: Unit) -> dict[str, Any]:
        """The unit's work, unless all are asked to stop. On a machine that is about to end it waits for its own end:
        Ray gives the unit to another process then. That it stopped is told when nothing of this process is in flight."""
        with self.turns.one():   # who waits for the device has not begun
            while True:
                self.stopped = self.stopped or self.store.get(self.place.stop_key) is not None
                if self.stopped:
                    self.turns.others_end()
                    return {"stopped": True}
                with drain.busy(f"{self.place.room} {unit.name}"):
                    if not drain.asked():
                        with deadline(self.place.deadline_s):
                            return self.work(unit)
                time.sleep(drain.EVERY_S)

    def _bound_loads(self, marks: str) -> None:
        """Ray replaces a process that dies while it loads, without end and without a word."""
        there = [match.groups() for key, _ in self.store.list(self.run.starts(marks)) if (match := _LOAD.search(key))]
        here = [(what, int(pid)) for what, host, pid in there if host == socket.gethostname()]   # a lost node is no defect
        dead = {pid for what, pid in here if what == "begun" and not psutil.pid_exists(pid)}
        if len(dead) >= LOADS and not any(what == "loaded" for what, _ in here):
            raise DataError(f"{len(dead)} processes died while they loaded the {self.place.room} room's models, and none ever finished",
                            "likely memory: give the workers more, fewer of them, or look at the last lines of their logs")
        self._mark(marks, "begun")

    def _mark(self, marks: str, what: str) -> None:
        who = {"host": socket.gethostname(), "pid": os.getpid()}
        name = f"{what}-{who['host']}-{who['pid']}-{self.meter.process}"
        self.store.create(self.run.start(marks, name), json.dumps(who).encode())

    def _told(self, error: BaseException, what: str) -> JobError:
        """The error as the driver is to hear it. Ends the process where only a fresh one helps.

        Too little memory may be the fault of a process before this one, whose memory is not free yet.
        """
        if isinstance(error, JobError):
            return error
        if isinstance(error, Beyond) or beyond(error) or out_of_memory(error):
            self._end(error)
        return full_disk(error) or JobError(f"{type(self).__name__} {what}: {type(error).__name__}: {_last_line(error)}",
                                            "report it with the settings of the run")

    def _end(self, error: BaseException) -> NoReturn:
        """What this process holds is beyond repair; Ray starts a fresh one."""
        print(f"saltworks: this worker ends itself: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        self.meter.beat()
        os._exit(1)


def check_device(pool: Pool, otherwise: str) -> None:
    """Raise ``SettingsError`` where a worker is to work on CUDA and there is none: nobody pays GPUs for a CPU's work."""
    if pool.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise SettingsError(f"a worker holds {pool.gpus:g} GPUs in Ray's books, and PyTorch sees none on {socket.gethostname()}",
                                f"give its node and image a CUDA driver; where GPUs are only counted, set {otherwise}")


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Ends the process if it is not left in time. A thread written in C does it, so that no held lock can stop it.

    There is one such thread for all deadlines of a process: it waits for the earliest.
    """
    mine = object()
    with _arming:
        _ends[mine] = time.monotonic() + seconds
        _arm()
    try:
        yield
    finally:
        with _arming:
            del _ends[mine]
            _arm()


def _arm() -> None:
    faulthandler.cancel_dump_traceback_later()
    if _ends:
        left_s = min(_ends.values()) - time.monotonic()
        faulthandler.dump_traceback_later(max(left_s, 1e-3), exit=True, file=sys.__stderr__)


def work_off(
    units: Sequence[Unit], worker: type[UnitWorker], args: tuple[Any, ...], floor: Floor, *, room: str, deadline_s: float
) -> Iterator[dict[str, Any]]:
    """The rows of all units, as they are finished.

    Raises the first ``JobError`` that a worker met; ``TemporaryError`` or ``BudgetError`` once everything that was in
    flight when a stop was asked for is finished.
    """
    pool = floor.pool
    if not pool.workers:
        raise DataError(f"{len(units)} units are missing, {units[0].name} first", "draw and measure them with: python -m job run")
    floor.stop.check()
    stopped: set[str] = set()
    workers = min(pool.workers, len(units))
    pool = replace(pool, workers=workers)
    until_one_fits(pool, room, floor.stop, floor.event)
    with watched(pool, room, floor.stop, floor.event):
        for result in _rows(units, worker, args, pool, floor, room, deadline_s):
            floor.heard(result["process"], result["spent"])
            if "error" in result:
                raise revive(*result["error"])
            if "stopped" in result:
                stopped.add(result["process"])
                if len(stopped) >= workers:
                    break
            else:
                floor.watch.images(room, result)
                yield result
    gc.collect()   # a dataset is full of cycles, and its workers hold their CPUs until the last handle is gone
    floor.stop.check()


def _rows(
    units: Sequence[Unit], worker: type[UnitWorker], args: tuple[Any, ...], pool: Pool, floor: Floor, room: str, deadline_s: float
) -> Iterator[dict[str, Any]]:
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)   # after the import, which sets it
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.execution_no_progress_timeout_s = -1   # waiting for a GPU is no defect
    context.max_consecutive_actor_init_deaths = 2 * LOADS + pool.workers   # the workers count their own deaths, and say why
    place = Place(floor.store.url, floor.store.retry_s, floor.run, room, pool, floor.stop.key, deadline_s, uuid.uuid4().hex[:12])
    rows = [{"class_key": unit.class_key, "label": unit.label, "lo": unit.lo, "hi": unit.hi} for unit in units]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        worker, fn_constructor_args=(place, *args), batch_size=1, num_cpus=pool.cpus, num_gpus=pool.gpus or None,
        resources=pool.custom or None, compute=_actors(pool.workers, worker.at_once),
    )
    try:
        for row in dataset.iter_rows():
            yield json.loads(row["row"])
    except (ray.exceptions.RayTaskError, ray.exceptions.UserCodeException) as error:   # an exception will come again
        raise JobError(f"{worker.__name__} failed: {_last_line(error)}", "report it with the settings of the run") from error
    except ray.exceptions.ActorDiedError as error:
        raise DataError(f"the processes of the {room} room die while they start: {_last_line(error)}",
                        "likely memory: give the workers more, or look at the last lines of their logs") from error
    except ray.exceptions.RayError as error:
        raise TemporaryError(f"the pool of {worker.__name__} broke: {_last_line(error)}", "run again to resume") from error


def _actors(size: int, at_once: int) -> Any:
    """A pool of that many actors. Where one works on several units at once it is sent no more than those."""
    import ray.data

    if at_once == 1:
        return ray.data.ActorPoolStrategy(size=size)
    return ray.data.ActorPoolStrategy(size=size, max_tasks_in_flight_per_actor=at_once, max_concurrent_calls_per_actor=at_once,
                                      enable_true_multi_threading=True)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
