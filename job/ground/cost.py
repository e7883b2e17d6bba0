"""The ledger: seconds by process, room and kind.

Every process, the driver too, tells what it has spent so far in create-only heartbeats, one each ``BEAT_S`` seconds and
one when it ends, so that killed and losing work is billed too, to within one heartbeat per process that was killed. A
heartbeat is cumulative: the last of a process is its bill. A trial is held by its driver, which tells for how long; its
processes tell where that went, and what none of them told is the trial's ``start``.
"""

import atexit
import json
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from job.errors import JobError
from job.ground.bill import line
from job.ground.layout import Run
from job.ground.store import Store
from job.results import CostLine
from job.runplan import Price

BEAT_S = 30.0
READERS = 16
BESIDE = ("upload", "encode")   # what can be done while the device is at work, the least of it first
Spent = dict[str, float]   # seconds by kind
Key = tuple[str, str, float, float, str]   # of a line: room, kind, GPUs and CPUs held, and the trial that was held (or nothing)


def wall(room: str, seconds: float) -> tuple[str, str, float, float, float]:
    """The driver's wall clock over a room, for ``Ledger.add``; priced with the workers, not here."""
    return room, "wall", seconds, 0.0, 0.0


class Meter:
    """Where the seconds of one process go. One kind at a time: what is not claimed is idle.

    Where threads work side by side, what one of them does on the device counts, and else what is done beside it: the
    kinds add up to the time that passed, and ``encode`` and ``upload`` are what the device waited for.

    ``clock`` counts seconds and never goes back. ``beat`` may be called by anyone at any time; ``start`` calls it every
    ``every_s`` seconds from a thread of its own, and when the process ends. Storage trouble never stops the work that is
    metered: the next heartbeat says it all again. ``part_of``: the trial whose driver tells for how long it was held.
    """

    def __init__(
        self, store: Store, run: Run, room: str, *, gpus: float, cpus: float, clock: Callable[[], float] = time.monotonic,
        part_of: str = "", every_s: float = BEAT_S,
    ) -> None:
        self.process = f"{part_of}/{uuid.uuid4().hex[:12]}".lstrip("/")
        self._every_s = every_s
        self._store, self._run, self._room, self._held, self.clock = store, run, room, (gpus, cpus), clock
        self._seconds: Spent = {}
        self._told: Spent = {}
        self._doing: dict[int, list[str]] = {}   # by thread, the innermost kind last
        self._kind, self._since = "idle", clock()
        self._lock, self._writing = threading.RLock(), threading.Lock()
        self._sequence = 0

    @contextmanager
    def spending(self, kind: str) -> Iterator[None]:
        """What happens inside is of this kind; the kind from before goes on afterwards."""
        with self._lock:
            mine = self._doing.setdefault(threading.get_ident(), [])
            mine.append(kind)
            self._account()
        try:
            yield
        finally:
            with self._lock:
                mine.pop()
                self._account()

    def seconds(self) -> Spent:
        """Seconds by kind up to now."""
        with self._lock:
            self._account()
            return dict(self._seconds)

    def since(self) -> dict[str, Any]:
        """What a commit tells: seconds by kind since the commit before it, and what this process holds."""
        gpus, cpus = self._held
        with self._lock:
            now = self.seconds()
            spent = {kind: round(seconds - self._told.get(kind, 0.0), 4) for kind, seconds in now.items()}
            self._told = now
        return {"spent_s": {kind: seconds for kind, seconds in spent.items() if seconds}, "gpus": gpus, "cpus": cpus}

    def rows(self) -> list[list[Any]]:
        """As a heartbeat holds them: room, kind, seconds, GPUs and CPUs held."""
        return [[self._room, kind, round(seconds, 4), *self._held] for kind, seconds in sorted(self.seconds().items())]

    def beat(self) -> None:
        """Tell what is spent up to now."""
        with self._writing, suppress(JobError):   # not the lock of the seconds: storage may make us wait, and the work goes on
            self._sequence = _tell(self._store, self._run, self.process, self._sequence, self.rows())

    def start(self) -> "Meter":
        """Beat until the process ends, and once more then, unless it is killed."""
        atexit.register(self.beat)
        _beating(self.beat, self._every_s, threading.Event())
        return self

    def _account(self) -> None:
        """Book the time up to now to the kind that it was, and see which it is from now on."""
        now = self.clock()
        if now > self._since:
            self._seconds[self._kind] = self._seconds.get(self._kind, 0.0) + now - self._since
        kinds = {doing[-1] for doing in self._doing.values() if doing}
        beside = sorted(kinds.intersection(BESIDE), key=BESIDE.index)
        self._kind = next(iter(sorted(kinds.difference(BESIDE))), beside[-1] if beside else "idle")
        self._since = now


class Ledger:
    """The driver's book: its own lines, the last word of its workers, and the sum over all processes of the run.

    ``room`` and ``trial`` are running clocks; while a room is open, what they say is told every ``every_s`` seconds.
    """

    def __init__(self, store: Store, run: Run, *, clock: Callable[[], float] = time.monotonic, every_s: float = BEAT_S) -> None:
        self._store, self._run, self._clock, self._every_s = store, run, clock, every_s
        self._process, self._sequence = uuid.uuid4().hex[:12], 0
        self._lines: dict[Key, float] = {}
        self._open: dict[Key, float] = {}   # lines that still run: when they began
        self._workers: dict[str, dict[tuple[str, str, float, float], float]] = {}   # by process, the last word of each line
        self._unbooked: set[str] = set()
        self._lock, self._writing = threading.Lock(), threading.Lock()   # trials report side by side

    def add(self, lines: Iterable[tuple[str, str, float, float, float]]) -> None:
        """Record what the driver has seen: (room, kind, seconds, GPUs, CPUs)."""
        with self._lock:
            for room, kind, seconds, gpus, cpus in lines:
                self._book((room, kind, gpus, cpus, ""), seconds)
        self.tell()

    @contextmanager
    def room(self, name: str) -> Iterator[None]:
        """A room at work: its wall clock, and at its end the last word of its workers."""
        over = threading.Event()
        try:
            with self._running((name, "wall", 0.0, 0.0, "")):
                _beating(self.beat, self._every_s, over)
                yield
        except BaseException:
            with suppress(JobError):   # the first error is the one to tell
                self.close()
            raise
        else:
            self.close()
        finally:
            over.set()

    @contextmanager
    def trial(self, room: str, name: str, *, gpus: float, cpus: float) -> Iterator[None]:
        """A trial at work, and what it holds. Its processes are ``part_of`` its name."""
        try:
            with self._running((room, "start", gpus, cpus, name)):
                yield
        finally:
            self.beat()

    def beat(self) -> None:
        """Tell what is known up to now. Storage trouble stops nothing: the next heartbeat says it all again."""
        with suppress(JobError):
            self.tell()

    def tell(self) -> None:
        """As ``beat``, but raises ``JobError`` where it cannot."""
        with self._writing:
            with self._lock:
                now, lines = self._clock(), dict(self._lines)
                for key, since in self._open.items():
                    lines[key] = lines.get(key, 0.0) + now - since
            if lines:
                rows = [[room, kind, round(seconds, 4), gpus, cpus, *([of] if of else [])]
                        for (room, kind, gpus, cpus, of), seconds in sorted(lines.items())]
                self._sequence = _tell(self._store, self._run, self._process, self._sequence, rows)

    @contextmanager
    def _running(self, key: Key) -> Iterator[None]:
        """A line whose seconds run until it is left."""
        with self._lock:
            self._open[key] = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._book(key, self._clock() - self._open.pop(key))

    def _book(self, key: Key, seconds: float) -> None:
        self._lines[key] = self._lines.get(key, 0.0) + seconds

    def hear(self, process: str, rows: list[list[Any]], booked: bool = True) -> None:
        """What a worker says it has spent so far; it comes with every unit. ``booked``: ``close`` writes it down.

        Of two units in flight the word of the later one may come first.
        """
        with self._lock:
            mine = self._workers.setdefault(process, {})
            for room, kind, seconds, gpus, cpus in rows:
                mine[room, kind, gpus, cpus] = max(seconds, mine.get((room, kind, gpus, cpus), 0.0))
            self._unbooked |= set() if booked else {process}

    def close(self) -> None:
        """Write everything down, and the last word of every worker, for it may have been ended between two heartbeats."""
        with self._lock:
            heard, self._workers = self._workers, {}
        for process, lines in heard.items():
            if process not in self._unbooked:
                rows = [[room, kind, seconds, gpus, cpus] for (room, kind, gpus, cpus), seconds in lines.items()]
                self._store.create(self._run.cost(f"{process}-heard", 0), json.dumps(rows).encode())
        self.tell()

    def heard(self, price: Price) -> float:
        """What the workers of this driver have cost since ``close`` was last called, as far as heard; 0 without a price."""
        with self._lock:
            return sum(line(room, kind, seconds, gpus=gpus, cpus=cpus, price=price).cost or 0.0
                       for lines in self._workers.values() for (room, kind, gpus, cpus), seconds in lines.items())

    def spent(self, price: Price) -> float:
        """The sum of ``total``; what has no price costs nothing."""
        return math.fsum(one.cost or 0.0 for one in self.total(price))

    def gpus(self, room: str, kind: str) -> float:
        """GPUs that a worker held while it spent seconds of this kind, their mean over those seconds; 0 where nobody did."""
        rows = [(seconds, held) for one in _last_words(self._store, self._run).values()
                for (of_room, of_kind, held, _, _), seconds in one.items() if (of_room, of_kind) == (room, kind)]
        total = math.fsum(seconds for seconds, _ in rows)
        return math.fsum(seconds * held for seconds, held in rows) / total if total else 0.0

    def total(self, price: Price) -> tuple[CostLine, ...]:
        """All lines of this run so far, summed by room and kind, killed and repeated work included."""
        sums: dict[tuple[str, str, bool], list[tuple[float, float | None]]] = {}
        words = _last_words(self._store, self._run)
        for rows in words.values():
            for (room, kind, gpus, cpus, of), seconds in rows.items():
                if of:   # a trial that was held: its own processes tell where most of it went
                    seconds = max(0.0, seconds - sum(sum(one.values()) for name, one in words.items() if name.startswith(f"{of}/")))
                one = line(room, kind, seconds, gpus=gpus, cpus=cpus, price=price)
                sums.setdefault((room, kind, one.gpu), []).append((seconds, one.cost if kind != "wall" else None))
        return tuple(
            CostLine(room, kind, round(math.fsum(s for s, _ in spent), 3), gpu,
                     None if any(c is None for _, c in spent) else math.fsum(c for _, c in spent if c is not None))
            for (room, kind, gpu), spent in sorted(sums.items())
        )


def _beating(beat: Callable[[], None], every_s: float, over: threading.Event) -> None:
    """Call ``beat`` every so many seconds from a thread, until it is over."""
    def loop() -> None:
        while not over.wait(every_s):
            beat()

    threading.Thread(target=loop, daemon=True, name="saltworks-heartbeat").start()


def _tell(store: Store, run: Run, process: str, sequence: int, rows: list[list[Any]]) -> int:
    """A heartbeat of this number, or of the next that is free: the answer to an earlier one may have got lost."""
    data = json.dumps(rows).encode()
    while not store.create(run.cost(process, sequence), data):
        sequence += 1
    return sequence + 1


def _last_words(store: Store, run: Run) -> dict[str, dict[Key, float]]:
    """By process, the most that any of its last heartbeats says of each line."""
    last: dict[str, str] = {}
    for key, _ in store.list(run.costs()):   # sorted, so the last of a process comes last
        last[key.rpartition("/")[0]] = key
    with ThreadPoolExecutor(READERS) as readers:
        read = list(readers.map(lambda key: json.loads(store.read(key)), last.values()))
    words: dict[str, dict[Key, float]] = {}
    for folder, rows in zip(last, read, strict=True):
        mine = words.setdefault(folder.removeprefix(run.costs()).removesuffix("-heard"), {})
        for room, kind, seconds, gpus, cpus, *of in rows:
            key = room, kind, gpus, cpus, of[0] if of else ""
            mine[key] = max(mine.get(key, 0.0), seconds)
    return words
