"""One simulated process: the store and the generator that it holds tell the scheduler of every step, and may kill it there."""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from job.generators.fake import Fake
from job.ground import layout
from job.ground.cost import Meter
from job.ground.store import Store
from job.records import Failure, Sample, SampleSpec, Unit

if TYPE_CHECKING:
    from tests.fault.stage import Stage

RUN = layout.Run("dataset", "run")


class Killed(BaseException):
    """SIGKILL: no handler of the code under test may catch it and go on."""


class Point(NamedTuple):
    """Where in a unit's life its process is killed: at a step of its own, or at a heartbeat while that step waits."""

    life: str
    step: int
    label: str

    @property
    def at_a_beat(self) -> bool:
        return self.label.endswith(" cost")


@dataclass
class Worker:
    """One simulated process."""

    stage: "Stage"
    unit: Unit
    crash: Point | None = None
    labels: list[str] = field(default_factory=list)                  # its own steps
    passed: list[tuple[int, str]] = field(default_factory=list)      # and the heartbeats between them
    doomed: bool = False
    parked: bool = False
    done: bool = False
    died: bool = False

    def __post_init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.store = Staged(self.stage.store.url, self)
        self.meter = Meter(self.store, RUN, "generate", gpus=1, cpus=1, clock=self.stage.clock)
        self.born = self.ended = self.stage.now

    def step(self, label: str) -> None:
        """Where the scheduler may interfere."""
        self.labels.append(label)
        if self._struck(label) or self.doomed:
            raise Killed
        self.parked = True
        self.stage.back.release()
        self.go.acquire()
        self.parked = False
        if self.doomed:
            raise Killed

    def beating(self, label: str) -> None:
        """On the thread that beats, which nobody waits for: only a kill can interfere."""
        if self._struck(label):
            raise Killed

    def _struck(self, label: str) -> bool:
        here = len(self.labels) - 1, label
        self.passed.append(here)
        hit = self.crash is not None and self.crash[1:] == here
        self.stage.struck |= hit
        return hit


class Staged(Store):
    """A store whose every operation is a step, before and after it took effect."""

    def __init__(self, url: str, worker: Worker) -> None:
        super().__init__(url, retry_s=0)
        self.worker = worker

    def create(self, key: str, data: bytes) -> bool:
        what = next(part for part in ("/starts/", "/data/", "/commits/", "/cost/") if part in key).strip("/")
        if what == "starts" and not re.search(r"/\d{3}\.json$", key):
            what = "drawn" if "drawn" in key else "mark"
        step = self.worker.beating if what == "cost" else self.worker.step
        step(f"before {what}")
        result = self.worker.stage.create(key, data)
        step(f"after {what}")
        return result

    def get(self, key: str) -> bytes | None:
        self.worker.step("read")
        return super().get(key)

    def list(self, prefix: str) -> list[tuple[str, int]]:
        self.worker.step("list")
        return super().list(prefix)


class Painter(Fake):
    """The shipped fake, a batch at a time; samples named ``poison`` end its process."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(self.Options())
        self.worker = worker

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        self.worker.step("before a batch")
        how = {self.worker.stage.poison[spec.id] for spec in specs if spec.id in self.worker.stage.poison}
        if how:
            raise how.pop()
        drawn = super().draw(specs)
        self.worker.step("after a batch")
        return drawn
