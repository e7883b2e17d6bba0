"""One driver of ``bench/scale.py``: ``job.run.run`` once, in a process of its own, and what each stretch of it took.

``python -m bench.scale_job FLAGS…`` takes the flags of the job. Its last line on stdout is JSON: per stretch seconds, peak
memory of this process (MiB; the kernel's own mark, set back at every border, so nothing is missed between two looks)
and when it began and ended.
"""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from job import run, settings
from job.errors import JobError
from job.ground.events import Advance, Events, More

AFTER = {   # what follows a room until the next one begins
    "plan": "start of Ray", "generate": "commits and decisions", "measure": "commits and decisions", "sweep": "choice",
    "confirm": "verdict", "report": "end of Ray and publish",
}


class Stretches(Events):
    """Events that keep the time and the peak memory of every room, and of what lies between two rooms."""

    def __init__(self) -> None:
        super().__init__("json")
        self.found: list[dict[str, Any]] = []
        self._begin("imports and settings")

    @contextmanager
    def room(self, name: str, total: int, unit: str, more: More = dict) -> Iterator[Advance]:
        self.turn(name)
        with super().room(name, total, unit, more) as advance:
            yield advance
        self.turn(AFTER[name])

    def turn(self, name: str) -> None:
        """The stretch up to here is over, and the next one begins."""
        now, cpu = time.time(), time.process_time()
        self.found.append({
            "name": self._name, "from": self._since, "to": now, "seconds": round(now - self._since, 3),
            "driver_cpu_s": round(cpu - self._cpu, 3), "peak_mib": _memory("VmHWM"), "end_mib": _memory("VmRSS"),
            "end_shared_mib": _memory("RssShmem"),
        })
        self._begin(name)

    def _begin(self, name: str) -> None:
        self._name, self._since, self._cpu = name, time.time(), time.process_time()
        Path("/proc/self/clear_refs").write_text("5")   # sets the mark of the peak back


def _memory(field: str) -> float:
    """A line of this process's status, MiB."""
    told = re.search(rf"^{field}:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    return round(int(told[1]) / 1024, 1) if told else float("nan")


def main() -> int:
    stretches = Stretches()
    try:
        report, _ = run.run(settings.load(sys.argv[1:]), stretches)
    except JobError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    stretches.turn("over")
    print(json.dumps({"stretches": stretches.found, "planned": report.counts.planned, "kept": report.counts.kept,
                      "pid": os.getpid()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
