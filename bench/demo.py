"""Seconds per room of the embedded default, medians of several whole runs: ``python -m bench.demo --runs 3``."""

import statistics
import subprocess
import sys
import tempfile
import time

from bench import arguments, finish
from job import settings
from job.admit import draft, open_store
from job.plan import choose_plugs
from job.report import read


def main() -> None:
    chosen = arguments(__doc__, runs=1)
    rooms: dict[str, list[float]] = {}
    verdicts = set()
    for _ in range(chosen.runs):
        with tempfile.TemporaryDirectory() as root:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "job", "run", "--root", root], check=True, stderr=subprocess.DEVNULL)
            rooms.setdefault("process", []).append(time.perf_counter() - start)
            given = settings.load(["--root", root])
            store = open_store(given)
            report = read(store, draft(store, given, choose_plugs(given))[0])
        verdicts.add((report.verdict, report.alpha_star, round(report.gain, 4)))
        for room in report.spent:
            rooms.setdefault(room.room, []).append(room.wall_s)
            for kind, seconds in room.worker_s.items():
                rooms.setdefault(f"{room.room}.{kind} (workers)", []).append(seconds)
    finish({
        "runs": chosen.runs, "verdicts": sorted(verdicts),
        "median_s": {room: round(statistics.median(seconds), 2) for room, seconds in rooms.items()},
        "share_of_process": {room: round(statistics.median(seconds) / statistics.median(rooms["process"]), 3)
                             for room, seconds in rooms.items() if "(workers)" not in room},
        "all_s": {room: [round(one, 2) for one in seconds] for room, seconds in rooms.items()},
    }, chosen.json)


if __name__ == "__main__":
    main()
