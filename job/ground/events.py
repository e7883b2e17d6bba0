"""What a person or a log sees while the job runs: bars on a terminal, one JSON line per event elsewhere."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

EVERY_S = 10   # at most one progress line per room in this time


class Advance(Protocol):
    """Tells that ``count`` further items of the room are done."""

    def __call__(self, count: int = 1) -> None: ...


More = Callable[[], Mapping[str, float | str]]   # what a room's progress tells beside its count, when it is asked


class Events:
    """Writes to stderr, so that stdout carries the verdict alone."""

    def __init__(self, progress: str = "auto") -> None:
        self.bars = progress == "bars" or (progress == "auto" and sys.stderr.isatty())

    def event(self, name: str, **fields: Any) -> None:
        """One thing that happened, with plain values."""
        if self.bars:
            text = "  ".join(f"{key} {value}" for key, value in fields.items())
            print(f"  {name}: {text}" if text else f"  {name}", file=sys.stderr)
        else:
            print(json.dumps({"time": round(time.time(), 3), "event": name, **fields}), file=sys.stderr, flush=True)

    @contextmanager
    def room(self, name: str, total: int, unit: str, more: More = dict) -> Iterator[Advance]:
        """A room at work on ``total`` items; yields the function that counts them. ``more`` stands beside the count."""
        with self._bar(name, total, unit, more) if self.bars else self._lines(name, total, unit, more) as advance:
            yield advance

    @contextmanager
    def _bar(self, name: str, total: int, unit: str, more: More) -> Iterator[Advance]:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit),
                   TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[more]}"))
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(name, total=total, more="")

            def advance(count: int = 1) -> None:
                bar.update(task, advance=count, more=_words(more()))

            yield advance
            bar.update(task, more=_words(more()))

    @contextmanager
    def _lines(self, name: str, total: int, unit: str, more: More) -> Iterator[Advance]:
        start = last = time.monotonic()
        done = 0
        self.event("room_started", room=name, total=total, unit=unit)

        def advance(count: int = 1) -> None:
            nonlocal done, last
            done += count
            if time.monotonic() - last > EVERY_S:
                last = time.monotonic()
                self.event("progress", room=name, done=done, total=total, unit=unit, **more())

        yield advance
        self.event("room_finished", room=name, done=done, total=total, unit=unit, seconds=round(time.monotonic() - start, 2), **more())


def _words(more: Mapping[str, float | str]) -> str:
    """The same for the end of a bar."""
    rate = f"{more['images_per_s']:g}/s" if "images_per_s" in more else ""
    cost = f"{more['cost_per_million']:,.0f} {more['currency']} per million" if "cost_per_million" in more else ""
    return f"{rate}  {cost}".strip()
