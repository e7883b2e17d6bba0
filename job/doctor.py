"""EDGE. What the verb ``doctor`` finds out about a root: does it keep the promises that a run builds on?

Every probe asks the real place, below a prefix of its own that is removed afterwards. Stores that speak S3 differ where
it matters most: some ignore the conditions of a request without a word, and then two writers destroy each other's work.
"""

import hashlib
import shutil
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from job.errors import JobError
from job.ground.place import BUCKETS
from job.ground.store import Store

PART_BYTES = 5 * 2**20   # the least that S3 takes for a part that is not the last
WRITERS = 8
SKEW_S = 300             # S3 refuses requests whose clock is 15 minutes off
FREE_GIB = 1.0           # of a folder's disk, below which a person should know


@dataclass(frozen=True, slots=True)
class Probe:
    """One promise and whether it was kept. ``needed_by``: whom it fails if not."""

    name: str
    found: Literal["ok", "warning", "FAILED"]
    means: str
    needed_by: Literal["one writer", "several writers", "nobody"]


@dataclass(frozen=True, slots=True)
class Findings:
    """All probes of one root."""

    place: str
    probes: tuple[Probe, ...]

    @property
    def one_writer_safe(self) -> bool:
        """Whether a run that is alone there can be trusted. If not, the place is of no use."""
        return not any(probe.found == "FAILED" and probe.needed_by == "one writer" for probe in self.probes)

    @property
    def several_writers_safe(self) -> bool:
        """Whether several runs, or a run and its own retry, may write there at once."""
        return not any(probe.found == "FAILED" and probe.needed_by != "nobody" for probe in self.probes)

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per probe, and the sentence that sums up."""
        width = max(len(probe.name) for probe in self.probes)
        verdict = ("several writers are safe there" if self.several_writers_safe else
                   "one writer at a time is safe there, several are NOT: never let two jobs, or a job and its retry, share this root"
                   if self.one_writer_safe else "it is NOT safe to write there: use another root")
        return (*(f"{probe.found:<7}  {probe.name:<{width}}  {probe.means}" for probe in self.probes), f"{self.place}: {verdict}")


class _Broken(Exception):
    """A promise was not kept."""


def storage(store: Store, *, part_bytes: int = PART_BYTES, writers: int = WRITERS, now: Callable[[], float] = time.time) -> Findings:
    """Probe the root and remove the probes. ``now`` tells this machine's seconds since 1970.

    Raises what the store raises if not even one object can be made: the place cannot be reached or written to.
    """
    prefix = f"doctor-{uuid.uuid4().hex}/"
    examiner = _Examiner(store, prefix, part_bytes, writers, now)
    try:
        store.create(f"{prefix}reached", b"")
        probes = examiner.examine()
    finally:
        removed = _probe("remove the probes", "nobody", examiner.remove)
    return Findings(store.shown, (*probes, removed))


class _Examiner:
    def __init__(self, store: Store, prefix: str, part_bytes: int, writers: int, now: Callable[[], float]) -> None:
        self.store, self.prefix, self.writers, self.now = store, prefix, writers, now
        self.parts = Store(store.url, store.retry_s, part_bytes=part_bytes)

    def examine(self) -> tuple[Probe, ...]:
        probes = [
            _probe("create once", "several writers", self.create_once),
            _probe("read back", "one writer", self.read_back),
            _probe("list after write", "nobody", self.listed),
            _probe("replace", "one writer", self.replace),
            _probe("compare and swap", "several writers", self.swap),
            _probe(f"create, {self.writers} at once", "several writers", lambda: self.race(self.raced_create)),
            _probe(f"swap, {self.writers} at once", "several writers", lambda: self.race(self.raced_swap)),
            _probe("delete", "nobody", self.delete),
            _probe("clock", "nobody", self.clock),
        ]
        if self.store.scheme in BUCKETS:
            probes.insert(5, _probe("create in parts", "several writers", self.create_in_parts))
        if self.store.scheme == "file":
            probes.append(_probe("free space", "nobody", self.space))
        if self.store.scheme == "memory":
            probes.append(Probe("reach", "FAILED", "memory lives and dies with one process: use a folder or a bucket", "several writers"))
        return tuple(probes)

    def create_once(self) -> str:
        key = f"{self.prefix}once"
        first, second = self.store.create(key, b"first"), self.store.create(key, b"second")
        _expect(first, "an object could not be made where none was")
        _expect(not second and self.store.get(key) == b"first", "a second writer replaced the first one's object: conditions are ignored")
        return "the second writer of a key is told so, and changes nothing"

    def create_in_parts(self) -> str:
        key, size = f"{self.prefix}parts", 2 * self.parts.part_bytes
        first, second = b"1" * size, b"2" * size
        _expect(self.parts.create(key, first), "a large object could not be made")
        _expect(self.parts.read(key, hashlib.sha256(first).hexdigest()) == first, "a large object came back otherwise")
        _expect(not self.parts.create(key, second), "a second writer replaced a large object: conditions of uploads in parts are ignored")
        return f"the same for an upload in parts ({size / 2**20:.0f} MiB)"

    def read_back(self) -> str:
        data = uuid.uuid4().bytes * 1000
        self.store.create(f"{self.prefix}data", data)
        _expect(self.store.get(f"{self.prefix}data") == data, "what was written is not what is read")
        return "what is written is read at once, unchanged"

    def listed(self) -> str:
        key = f"{self.prefix}listed"
        self.store.create(key, b"123")
        _expect((key, 3) in self.store.list(self.prefix), "new objects are listed later: a resume may ask for more than it needs to")
        return "a new object is listed at once"

    def replace(self) -> str:
        key = f"{self.prefix}report"
        for data in (b"old", b"new"):
            self.store.replace(key, data)
            _expect(self.store.get(key) == data, "what was overwritten is read as before")
        return "what is overwritten is read at once"

    def swap(self) -> str:
        key = f"{self.prefix}pointer"
        _expect(self.store.swap(key, None, b"1"), "a pointer could not be made where none was")
        there = self.store.stamped(key)
        _expect(self.store.swap(key, b"1", b"2"), "a pointer that is as expected could not be moved")
        for stamp in (there[1] if there else None, None):   # the condition itself, past the comparison that swap begins with
            _expect(not self.store.put_if(key, b"stale", stamp) and self.store.get(key) == b"2",
                    "a writer that had seen an old pointer overwrote the new one: conditions are ignored")
        return "a pointer is moved only by who has seen where it points"

    def delete(self) -> str:
        key = f"{self.prefix}gone"
        self.store.create(key, b"")
        self.store.delete(key)
        _expect(self.store.get(key) is None, "what was deleted is still read: gc would free nothing")
        self.store.delete(key)
        return "what is deleted is gone, and may be deleted again"

    def clock(self) -> str:
        off = self.store.clock() - self.now()
        side = "behind" if off > 0 else "ahead of"
        _expect(abs(off) <= SKEW_S, f"this machine's clock is {abs(off):.0f} s {side} the store's: set it (NTP), S3 bears 15 minutes")
        return f"within {max(abs(off), 1):.0f} s of this machine's"

    def space(self) -> str:
        free = shutil.disk_usage(_folder(self.store)).free / 2**30
        _expect(free >= FREE_GIB, f"only {free:.2f} GiB are free")
        return f"{free:.0f} GiB are free"

    def remove(self) -> str:
        for key, _, _ in self.store.ages(self.prefix, partial=True):
            self.store.delete(key)
        if self.store.scheme == "file":
            with suppress(OSError):
                (_folder(self.store) / self.prefix).rmdir()
        return f"nothing is left below {self.prefix}"

    def race(self, act: Callable[[Store, int, str], bool]) -> str:
        """All writers at one key, each with a client of its own; exactly one may win, and its data must stand."""
        for turn in range(3):
            key = f"{self.prefix}race-{act.__name__}-{turn}"
            if act == self.raced_swap:
                self.store.create(key, b"start")
            start = threading.Barrier(self.writers)

            def write(number: int, key: str = key, start: threading.Barrier = start) -> bool:
                one = Store(self.store.url, self.store.retry_s)
                one.get(key)   # so that all are connected before they start
                start.wait(timeout=60)
                return act(one, number, key)

            with ThreadPoolExecutor(self.writers) as pool:
                won = list(pool.map(write, range(self.writers)))
            _expect(sum(won) == 1, f"{sum(won)} of {self.writers} writers were told that they had won")
            _expect(self.store.get(key) == b"%d" % won.index(True), "another writer's data stand than the winner's")
        return "of writers of one key exactly one wins"

    def raced_create(self, store: Store, number: int, key: str) -> bool:
        return store.create(key, b"%d" % number)

    def raced_swap(self, store: Store, number: int, key: str) -> bool:
        return store.swap(key, b"start", b"%d" % number)


def _probe(name: str, needed_by: Literal["one writer", "several writers", "nobody"], check: Callable[[], str]) -> Probe:
    try:
        return Probe(name, "ok", check(), needed_by)
    except _Broken as broken:
        return Probe(name, "warning" if needed_by == "nobody" else "FAILED", str(broken), needed_by)
    except (JobError, KeyError) as error:
        return Probe(name, "warning" if needed_by == "nobody" else "FAILED", f"could not be tried: {error}", needed_by)


def _expect(kept: bool, otherwise: str) -> None:
    if not kept:
        raise _Broken(otherwise)


def _folder(store: Store) -> Path:
    return Path(store.url.removeprefix("file://"))
