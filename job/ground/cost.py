"""The ledger: seconds by room and kind, and what they cost. No price is ever invented."""

import json
import uuid
from collections.abc import Iterable

from job.ground.layout import Run
from job.ground.store import Store
from job.records import CostLine
from job.runplan import Price


def line(room: str, kind: str, seconds: float, *, gpus: float, cpus: float, price: Price) -> CostLine:
    """Seconds held by one worker, and their cost: GPU price where it holds GPUs, else CPU price, else unknown."""
    rate = price.per_gpu_hour if gpus else price.per_cpu_hour
    cost = None if rate is None else seconds / 3600 * rate * (gpus or cpus)
    return CostLine(room, kind, round(seconds, 3), bool(gpus), cost)


class Ledger:
    """Writes lines of this process into the run, create-only, and reads those of all processes."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store, self._run = store, run
        self._process = uuid.uuid4().hex[:12]
        self._sequence = 0

    def add(self, lines: Iterable[CostLine]) -> None:
        """Record lines that are spent."""
        rows = [[one.room, one.kind, one.seconds, one.gpu, one.cost] for one in lines if one.seconds > 0]
        if rows:
            self._store.create(self._run.cost(self._process, self._sequence), json.dumps(rows).encode())
            self._sequence += 1

    def total(self) -> tuple[CostLine, ...]:
        """All lines of this run so far, summed by room and kind, killed and repeated work included."""
        sums: dict[tuple[str, str, bool], list[tuple[float, float | None]]] = {}
        for key, _ in self._store.list(f"{self._run.root}cost/"):
            for room, kind, seconds, gpu, cost in json.loads(self._store.read(key)):
                sums.setdefault((room, kind, gpu), []).append((seconds, cost))
        return tuple(
            CostLine(room, kind, round(sum(s for s, _ in spent), 3), gpu,
                     None if any(c is None for _, c in spent) else sum(c for _, c in spent))
            for (room, kind, gpu), spent in sorted(sums.items())
        )


def wall(room: str, seconds: float) -> CostLine:
    """The driver's wall clock over a room; priced with the workers, not here."""
    return CostLine(room, "wall", round(seconds, 3), False, None)
