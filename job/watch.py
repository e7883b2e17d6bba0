"""HOT tool. What Prometheus may know while the job runs: progress, results, seconds and money, from the driver alone.

Through Ray's own metrics, so they appear at the port that Ray's agent of the head node serves; docs/metrics.md is the
table. Nothing is recorded outside ``on``, and whatever goes wrong in here ends the watch, never the run.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from job.ground.events import Advance
from job.runplan import Chip

BEAT_S = 5.0   # Ray forgets a gauge that is not told again; it exports every 10 s
RESULTS = ("made", "failed", "scored", "blind")
METRICS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {   # name: (kind, help, labels)
    "saltworks_images": ("Counter", "images by what became of them", ("dataset", "room", "result")),
    "saltworks_seconds": ("Counter", "GPU-seconds of workers that hold GPUs, else worker-seconds", ("dataset", "room", "kind")),
    "saltworks_room_done": ("Gauge", "items of the room that are done", ("dataset", "room", "unit")),
    "saltworks_room_total": ("Gauge", "items that the room has to do", ("dataset", "room", "unit")),
    "saltworks_spent": ("Gauge", "spent by the run so far, all its submissions together", ("dataset", "currency")),
    "saltworks_budget": ("Gauge", "most that the run may spend", ("dataset", "currency")),
    "saltworks_peak_tflops": ("Gauge", "matrix peak of one GPU, as it was measured", ("dataset",)),
    "saltworks_tflop_per_image": ("Gauge", "TFLOP that one image takes", ("dataset",)),
    "saltworks_last_progress_timestamp_seconds": ("Gauge", "when an item was last done", ("dataset",)),
}


class Pace:
    """How fast a room's images come and what a million of them costs so far: its own work now, loading and waiting included.

    ``spent`` tells what the room's workers have cost since it began, in ``currency``; 0 where nothing has a price.
    """

    def __init__(self, spent: Callable[[], float], currency: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._spent, self._currency, self._clock = spent, currency, clock
        self._began, self._images = clock(), 0

    def count(self, images: int) -> None:
        self._images += images

    def told(self) -> dict[str, float | str]:
        """Nothing before the first image; nothing of money without a price."""
        took = self._clock() - self._began
        if not self._images or took <= 0:
            return {}
        spent = self._spent()
        money = {"cost_per_million": float(f"{1e6 * spent / self._images:.3g}"), "currency": self._currency} if spent else {}
        return {"images_per_s": float(f"{self._images / took:.3g}"), **money}


class Watch:
    """One driver's metrics. Every method costs a look at one attribute while nothing is recorded."""

    def __init__(self, dataset: str, currency: str = "", budget: float | None = None, chip: Chip | None = None) -> None:
        self._dataset, self._currency, self._budget, self._chip = dataset, currency, budget, chip
        self._metrics: dict[str, Any] = {}
        self._gauges: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self._heard: dict[tuple[str, str, str], float] = {}
        self._before = 0.0
        self._lock = threading.Lock()   # trials report side by side
        self.pace: Pace | None = None   # of the room that is at work on images

    @property
    def recording(self) -> bool:
        return bool(self._metrics)

    @contextmanager
    def on(self, kinds: Any = None) -> Iterator[None]:
        """Record what happens inside, where Ray is there. ``kinds`` stands for ``ray.util.metrics``."""
        over = threading.Event()

        def beat() -> None:
            while not over.wait(BEAT_S) and self.recording:
                self._tell_gauges()

        teller = threading.Thread(target=beat, daemon=True, name="saltworks-watch")
        try:
            if kinds is None:
                from ray.util import metrics as kinds
            self._metrics = {name: getattr(kinds, kind)(name, said, labels) for name, (kind, said, labels) in METRICS.items()}
            teller.start()
        except Exception:
            self._metrics = {}
        if self._budget is not None:
            self._gauge("saltworks_budget", self._budget, currency=self._currency)
        if self._chip:
            self._gauge("saltworks_peak_tflops", self._chip.peak_tflops)
            self._gauge("saltworks_tflop_per_image", self._chip.tflop_per_image)
        try:
            yield
        finally:
            self._tell_gauges()
            self._metrics = {}   # what comes now would reach a Ray that ends
            over.set()
            if teller.is_alive():
                teller.join(BEAT_S)

    def room(self, name: str, total: int, unit: str, advance: Advance) -> Advance:
        """The room's own count, and beside it the room's gauges."""
        if not self.recording:
            return advance
        done = 0

        def counted(count: int = 1) -> None:
            nonlocal done
            advance(count)
            done += count
            self._gauge("saltworks_room_done", done, room=name, unit=unit)
            self._gauge("saltworks_last_progress_timestamp_seconds", time.time())

        self._gauge("saltworks_room_total", total, room=name, unit=unit)
        self._gauge("saltworks_room_done", 0, room=name, unit=unit)
        self._gauge("saltworks_last_progress_timestamp_seconds", time.time())
        return counted

    def images(self, room: str, row: Mapping[str, Any]) -> None:
        """What became of a unit's images, if this run drew or scored them."""
        if self.pace and row.get("ours", True):
            self.pace.count(sum(row.get(result, 0) for result in RESULTS if result != "failed"))
        if self.recording and row.get("ours", True):
            for result in RESULTS:
                self._count("saltworks_images", row.get(result, 0), room=room, result=result)

    def heard(self, process: str, rows: Sequence[Sequence[Any]]) -> None:
        """What a worker says it has spent since it began: (room, kind, seconds, GPUs, CPUs)."""
        for room, kind, seconds, gpus, _ in rows if self.recording else ():
            key = process, room, kind
            with self._lock:
                before = self._heard.get(key, 0.0)
                self._heard[key] = max(before, seconds)
            self._count("saltworks_seconds", (seconds - before) * (gpus or 1), room=room, kind=kind)

    def spent(self, now: float, before: float | None = None) -> None:
        """Money: ``before`` this room began, and ``now`` what it has cost since."""
        if self.recording:
            self._before = self._before if before is None else before
            self._gauge("saltworks_spent", self._before + now, currency=self._currency)

    def _count(self, name: str, more: float, **labels: str) -> None:
        if more > 0:   # Ray takes no other
            try:
                self._metrics[name].inc(more, {"dataset": self._dataset, **labels})
            except Exception:
                self._metrics = {}

    def _gauge(self, name: str, value: float, **labels: str) -> None:
        if self.recording:
            key = name, tuple(sorted({"dataset": self._dataset, **labels}.items()))
            with self._lock:
                self._gauges[key] = value
            self._set(key, value)

    def _tell_gauges(self) -> None:
        with self._lock:
            known = list(self._gauges.items())
        for key, value in known:
            self._set(key, value)

    def _set(self, key: tuple[str, tuple[tuple[str, str], ...]], value: float) -> None:
        name, labels = key
        try:
            self._metrics[name].set(value, dict(labels))
        except Exception:
            self._metrics = {}
