"""The ledger: seconds by process, room and kind, and what they cost. No price is ever invented.

Every process tells what it has spent so far in create-only heartbeats, one each ``BEAT_S`` seconds, so that killed and
losing work is billed too, to within one heartbeat per kill. A heartbeat is cumulative: the last of a process is its bill.
"""

import atexit
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from job.errors import JobError
from job.ground.layout import Run
from job.ground.store import Store
from job.results import CostLine
from job.runplan import Price

BEAT_S = 30.0
READERS = 16
Spent = dict[str, float]   # seconds by kind


def line(room: str, kind: str, seconds: float, *, gpus: float, cpus: float, price: Price) -> CostLine:
    """Seconds held by one worker, and their cost: GPU price where it holds GPUs, else CPU price, else unknown."""
    rate = price.per_gpu_hour if gpus else price.per_cpu_hour
    cost = None if rate is None else seconds / 3600 * rate * (gpus or cpus)
    return CostLine(room, kind, round(seconds, 3), bool(gpus), cost)


def wall(room: str, seconds: float) -> tuple[str, str, float, float, float]:
    """The driver's wall clock over a room, for ``Ledger.add``; priced with the workers, not here."""
    return room, "wall", seconds, 0.0, 0.0


class Meter:
    """Where the seconds of one process go. One kind at a time: what is not claimed is idle.

    ``clock`` counts seconds and never goes back. ``beat`` may be called by anyone at any time; ``start`` calls it every
    ``BEAT_S`` seconds from a thread of its own. Storage trouble never stops the work that is metered: the next
    heartbeat says it all again.
    """

    def __init__(
        self, store: Store, run: Run, room: str, *, gpus: float, cpus: float, clock: Callable[[], float] = time.monotonic,
        process: str = "",
    ) -> None:
        self.process = process or uuid.uuid4().hex[:12]
        self._store, self._run, self._room, self._held, self._clock = store, run, room, (gpus, cpus), clock
        self._seconds: Spent = {}
        self._told: Spent = {}
        self._kind, self._since = "idle", clock()
        self._lock, self._writing = threading.RLock(), threading.Lock()
        self._sequence = 0

    @contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """What happens inside is of this kind; the kind from before goes on afterwards."""
        before = self._switch(kind)
        try:
            yield
        finally:
            self._switch(before)

    def seconds(self) -> Spent:
        """Seconds by kind up to now."""
        with self._lock:
            self._switch(self._kind)
            return dict(self._seconds)

    def since(self) -> dict[str, Any]:
        """What a commit tells: seconds by kind since the commit before it, and what this process holds."""
        now, gpus, cpus = self.seconds(), *self._held
        spent = {kind: round(seconds - self._told.get(kind, 0.0), 4) for kind, seconds in now.items()}
        self._told = now
        return {"spent_s": {kind: seconds for kind, seconds in spent.items() if seconds}, "gpus": gpus, "cpus": cpus}

    def rows(self) -> list[list[Any]]:
        """As a heartbeat holds them: room, kind, seconds, GPUs and CPUs held."""
        return [[self._room, kind, round(seconds, 4), *self._held] for kind, seconds in sorted(self.seconds().items())]

    def beat(self) -> None:
        """Tell what is spent up to now."""
        with self._writing:   # not the lock of the seconds: storage may make us wait for minutes, and the work goes on
            data = json.dumps(self.rows()).encode()
            try:
                while not self._store.create(self._run.cost(self.process, self._sequence), data):
                    self.process, self._sequence = uuid.uuid4().hex[:12], 0   # a process before this one had the name
            except JobError:
                return
            self._sequence += 1

    def start(self) -> "Meter":
        """Beat until the process ends, and once more then, unless it is killed."""
        atexit.register(self.beat)

        def loop() -> None:
            while True:
                time.sleep(BEAT_S)
                self.beat()

        threading.Thread(target=loop, daemon=True, name="saltworks-meter").start()
        return self

    def _switch(self, kind: str) -> str:
        with self._lock:
            now = self._clock()
            if now > self._since:
                self._seconds[self._kind] = self._seconds.get(self._kind, 0.0) + now - self._since
            before, self._kind, self._since = self._kind, kind, now
            return before


class Ledger:
    """The driver's book: its own lines, the last word of its workers, and the sum over all processes of the run."""

    def __init__(self, store: Store, run: Run) -> None:
        self._store, self._run = store, run
        self._process, self._sequence = uuid.uuid4().hex[:12], 0
        self._lines: dict[tuple[str, str, float, float], float] = {}
        self._workers: dict[str, list[list[Any]]] = {}
        self._unbooked: set[str] = set()
        self._lock = threading.Lock()   # trials report side by side

    def add(self, lines: Iterable[tuple[str, str, float, float, float]]) -> None:
        """Record what the driver has seen: (room, kind, seconds, GPUs, CPUs)."""
        with self._lock:
            for room, kind, seconds, gpus, cpus in lines:
                key = room, kind, gpus, cpus
                self._lines[key] = self._lines.get(key, 0.0) + seconds
            if self._lines:
                rows = [[room, kind, round(seconds, 4), gpus, cpus] for (room, kind, gpus, cpus), seconds in sorted(self._lines.items())]
                self._store.create(self._run.cost(self._process, self._sequence), json.dumps(rows).encode())
                self._sequence += 1

    def hear(self, process: str, rows: list[list[Any]], booked: bool = True) -> None:
        """What a worker says it has spent so far; it comes with every unit. ``booked``: ``close`` writes it down."""
        with self._lock:
            self._workers[process] = rows
            self._unbooked |= set() if booked else {process}

    def close(self) -> None:
        """Write the last word of every worker down, for it may have been ended between two heartbeats."""
        for process, rows in self._workers.items():
            if process not in self._unbooked:
                self._store.create(self._run.cost(f"{process}-heard", 0), json.dumps(rows).encode())
        self._workers = {}

    def heard(self, price: Price) -> float:
        """What the workers of this driver have cost since ``close`` was last called, as far as heard; 0 without a price."""
        with self._lock:
            return sum(line(room, kind, seconds, gpus=gpus, cpus=cpus, price=price).cost or 0.0
                       for rows in self._workers.values() for room, kind, seconds, gpus, cpus in rows)

    def spent(self, price: Price) -> float:
        """The sum of ``total``; what has no price costs nothing."""
        return sum(one.cost or 0.0 for one in self.total(price))

    def total(self, price: Price) -> tuple[CostLine, ...]:
        """All lines of this run so far, summed by room and kind, killed and repeated work included."""
        sums: dict[tuple[str, str, bool], list[tuple[float, float | None]]] = {}
        for rows in _last_words(self._store, self._run).values():
            for (room, kind, gpus, cpus), seconds in rows.items():
                one = line(room, kind, seconds, gpus=gpus, cpus=cpus, price=price)
                sums.setdefault((room, kind, one.gpu), []).append((seconds, one.cost if kind != "wall" else None))
        return tuple(
            CostLine(room, kind, round(sum(s for s, _ in spent), 3), gpu,
                     None if any(c is None for _, c in spent) else sum(c for _, c in spent if c is not None))
            for (room, kind, gpu), spent in sorted(sums.items())
        )


def _last_words(store: Store, run: Run) -> dict[str, dict[tuple[str, str, float, float], float]]:
    """By process, the most that any of its last heartbeats says of each line."""
    last: dict[str, str] = {}
    for key, _ in store.list(run.costs()):   # sorted, so the last of a process comes last
        last[key.rpartition("/")[0]] = key
    with ThreadPoolExecutor(READERS) as readers:
        read = list(readers.map(lambda key: json.loads(store.read(key)), last.values()))
    words: dict[str, dict[tuple[str, str, float, float], float]] = {}
    for folder, rows in zip(last, read, strict=True):
        mine = words.setdefault(folder.rpartition("/")[2].removesuffix("-heard"), {})
        for room, kind, seconds, gpus, cpus in rows:
            mine[room, kind, gpus, cpus] = max(mine.get((room, kind, gpus, cpus), 0.0), seconds)
    return words


def with_repeated(lines: Iterable[CostLine], committed: Mapping[str, float]) -> tuple[CostLine, ...]:
    """Lines with what led to no commit of this run shown as ``repeated``.

    ``committed``: by room, the worker seconds that this run's own commits account for. What a room's working kinds
    (draw, encode; train) took beyond it was drawn twice, lost to another writer, or killed; its cost moves along.
    """
    out: list[CostLine] = []
    working = {"generate": ("draw", "encode"), "sweep": ("train",), "confirm": ("train",)}
    lines = tuple(lines)
    for room, kinds in working.items():
        mine = [one for one in lines if one.room == room and one.kind in kinds]
        total = sum(one.seconds for one in mine)
        share = max(0.0, 1 - committed.get(room, 0.0) / total) if total else 0.0
        if share * total < 0.05:   # the roundings of many small numbers
            share = 0.0
        for gpu in {one.gpu for one in mine}:
            part = [one for one in mine if one.gpu is gpu]
            costs = [one.cost for one in part]
            if share:
                out.append(CostLine(room, "repeated", round(sum(one.seconds for one in part) * share, 3), gpu,
                                    None if None in costs else sum(cost for cost in costs if cost is not None) * share))
        out += [CostLine(room, one.kind, round(one.seconds * (1 - share), 3), one.gpu,
                         None if one.cost is None else one.cost * (1 - share)) for one in mine]
    out += [one for one in lines if one.kind not in working.get(one.room, ())]
    return tuple(sorted(out, key=lambda one: (one.room, one.kind, one.gpu)))
