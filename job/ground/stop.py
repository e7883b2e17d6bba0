"""Asking the work in flight to finish and nothing new to begin: before a preemption, or when the budget is spent.

The driver writes one tiny object; every worker looks for it before it begins a unit. An object reaches workers on other
nodes without a further process, and costs one small request per unit.
"""

import contextlib
import json
import signal
import threading
import uuid

from job.errors import BudgetError, JobError, TemporaryError
from job.ground.layout import Run
from job.ground.store import Store

PREEMPTED, DRAINED = "stopped by a signal", "stopped by drain, for this machine is about to end"


class Stop:
    """One driver's wish to end. ``request`` may be called from a signal handler: it only sets an event."""

    def __init__(self, store: Store, run: Run) -> None:
        self.key = run.stop(uuid.uuid4().hex[:12])
        self._store = store
        self._asked = threading.Event()
        self._why, self._spent = "", False
        self._told = threading.Thread(target=self._tell, daemon=True, name="saltworks-stop")
        self._told.start()

    @property
    def requested(self) -> bool:
        return self._asked.is_set()

    @property
    def why(self) -> str:
        """Empty, ``PREEMPTED``, ``DRAINED``, or a sentence."""
        return self._why

    @property
    def ends_soon(self) -> bool:
        """Whether this machine or its workers will not wait: any reason but the budget."""
        return self.requested and not self._spent

    def request(self, why: str, spent: bool = False) -> None:
        """The first wish counts. ``spent``: it is the budget's, and what is in flight has all the time it takes."""
        if not self._asked.is_set():
            self._why, self._spent = why, spent
            self._asked.set()

    def error(self) -> JobError:
        """What ends the job once nothing is in flight any more."""
        if self._spent:
            return BudgetError(self._why, "raise SALTWORKS_BUDGET_USD and run again: the same run goes on")
        return TemporaryError(f"{self._why}; everything that was finished is committed", "run again to resume")

    def check(self) -> None:
        """Raise the error if it is time to stop: nothing new may begin."""
        if self.requested:
            raise self.error()

    def _tell(self) -> None:
        self._asked.wait()
        with contextlib.suppress(JobError):   # a worker that is not told is ended with the driver
            self._store.create(self.key, json.dumps({"why": self._why}).encode())


def interrupt() -> None:
    """A real SIGINT for the main thread. ``_thread.interrupt_main`` would wake nobody who waits for a lock, as for Ray's next row."""
    main = threading.main_thread().ident
    if main:
        signal.pthread_kill(main, signal.SIGINT)
