"""What grows with the number of images: the whole job, plan to version, over 10 k, 100 k, 1 M small ``fake`` images.

``python -m bench.scale --samples 10000,100000 --json FILE``. Every size is a run of its own in a process of its own
(``bench/scale_job.py``), so a peak of memory is that size's; it is resumed once when it is finished, in another process.
``--units`` are images per unit, ``--nodes`` are Ray nodes of one CPU each (0: this machine as ``run`` starts it, with one
actor). Requests are counted between the job and an S3 server (moto), for two small sizes: what lies between them is the
cost of a unit. A FILE that exists keeps what was measured before and is not measured again.
"""

import argparse
import datetime
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from bench import finish
from bench.scale_job import AFTER
from job.ground.store import Store

CLASSES = 10   # of the digits
JOB = (
    "--real.name", "digits", "--edition", "scale", "--generator.name", "fake", "--generator.size_px", "16", "--measure.metrics", "{}",
    "--filter.kind", "none", "--sweep.arms", "[]", "--sweep.alphas", "0,.5", "--sweep.seeds", "2",
    "--sweep.confirm_seeds", "2", "--train.steps", "20",
    "--progress", "json",
)
LOOK_S = 0.5   # between two looks at the processor time of all processes


class Processors(threading.Thread):
    """CPU-seconds of all processes below this one, as time goes by. What dies between two looks loses its last half second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._seconds: dict[tuple[int, float], float] = {}
        self._looks: list[tuple[float, float]] = []
        self._over = threading.Event()

    def __enter__(self) -> "Processors":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        while True:
            for one in psutil.Process().children(recursive=True):
                try:
                    times = one.cpu_times()
                    self._seconds[one.pid, one.create_time()] = times.user + times.system
                except psutil.Error:   # it is gone
                    continue
            self._looks.append((time.time(), sum(self._seconds.values())))
            if self._over.wait(LOOK_S):
                return

    def between(self, begin: float, end: float) -> float:
        """CPU-seconds from one time to another."""
        def at(when: float) -> float:
            return max((seconds for time_, seconds in self._looks if time_ <= when), default=0.0)

        return round(at(end + LOOK_S) - at(begin), 2)


def flags(root: str, samples: int, unit: int, workers: int) -> list[str]:
    """The job over so many images, by ``workers`` actors."""
    return ["--root", root, *JOB, "--generator.images_per_class", str(samples // CLASSES), "--generator.unit_size", str(unit),
            "--generator.actors", str(workers)]


def job(given: Sequence[str], environ: dict[str, str]) -> tuple[dict[str, Any], float]:
    """One call of ``run`` in a fresh process: what it told, and the seconds of the process from birth to death."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "bench.scale_job", *given], stdout=subprocess.PIPE, text=True, env=environ, check=True)
    return json.loads(done.stdout.splitlines()[-1]), time.perf_counter() - start


def on_a_folder(samples: int, unit: int, nodes: int, scratch: Path) -> dict[str, Any]:
    """One size in a folder of its own, which is removed again."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix="root-") as root, cluster(nodes) as environ:
        return {"samples": samples, "unit_size": unit, "nodes": nodes, "actors": max(nodes, 1)} | measure(
            flags(root, samples, unit, max(nodes, 1)), root, environ)


def measure(given: Sequence[str], root: str, environ: dict[str, str]) -> dict[str, Any]:
    """The job with these flags on the folder ``root``: whole, and resumed when it is finished."""
    with Processors() as processors:
        whole, seconds = job(given, environ)
        again, resumed_s = job(given, environ)
    objects = Store(root).list("")
    took = {one["name"]: one for one in whole["stretches"]}
    for one in took.values():
        one["cpu_s"] = processors.between(one.pop("from"), one.pop("to"))
    drawn, generate = whole["planned"], took["generate"]
    return {
        "drawn": drawn, "units": sum("/commits/" in key for key, _ in objects), "kept": whole["kept"],
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(), "load": os.getloadavg(),
        "whole_s": round(seconds, 1), "cpu_s": round(sum(one["cpu_s"] for one in took.values()), 1),
        "images_per_s": round(drawn / generate["seconds"], 1), "images_per_cpu_s": round(drawn / generate["cpu_s"], 1),
        "driver_peak_mib": max(one["peak_mib"] for one in took.values()),
        "resume": {"process_s": round(resumed_s, 2), "run_s": round(sum(one["seconds"] for one in again["stretches"]), 2),
                   "peak_mib": max(one["peak_mib"] for one in again["stretches"])},
        "objects": len(objects), "objects_by_kind": dict(Counter(kind(key) for key, _ in objects)),
        "bytes": sum(size for _, size in objects), "bytes_by_kind": by_kind(objects), "stretches": took,
    }


def kind(key: str) -> str:
    """What an object is, by the part of its key that says so."""
    parts = [part for part in key.split("/") if part in (
        "data", "commits", "starts", "cost", "filtered", "trials", "rounds", "report", "publish", "versions", "stops")]
    return parts[0] if parts else "other"


def by_kind(objects: Sequence[tuple[str, int]]) -> dict[str, int]:
    """Bytes by kind."""
    sums: Counter[str] = Counter()
    for key, size in objects:
        sums[kind(key)] += size
    return dict(sums)


@contextmanager
def cluster(nodes: int) -> Iterator[dict[str, str]]:
    """The environment of a job: with the address of a cluster of so many nodes, or none at all."""
    environ = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    if not nodes:
        yield environ
        return
    from ray.cluster_utils import Cluster

    with tempfile.TemporaryDirectory(prefix="sw-") as folder:   # nobody else's Ray shall find this cluster; socket paths are short
        os.environ["RAY_TMPDIR"] = folder
        one = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        try:
            for _ in range(nodes - 1):
                one.add_node(num_cpus=1)
            yield {**environ, "RAY_TMPDIR": folder, "RAY_ADDRESS": one.address}
        finally:
            one.shutdown()
            del os.environ["RAY_TMPDIR"]


def requests(unit: int = 16, few: int = 2, many: int = 8) -> dict[str, Any]:
    """Requests by method and kind: of one unit, of a run apart from its units, and of the resume of a finished run.

    From two runs of ``few`` and ``many`` units per class; their size does not matter to the number of requests.
    """
    from moto.server import ThreadedMotoServer

    from tests.fault.proxy import Proxy

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    proxy = Proxy("http://{}:{}".format(*server.get_host_and_port())).start()
    environ = {**os.environ, "AWS_ENDPOINT_URL": proxy.url, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
               "AWS_DEFAULT_REGION": "us-east-1"}
    counted: list[Counter[str]] = []
    try:
        subprocess.run([sys.executable, "-c", "import s3fs; s3fs.S3FileSystem().mkdir('scale')"], env=environ, check=True)
        for number in (few, many):
            given = flags(f"s3://scale/{number}", CLASSES * unit * number, unit, 1)
            proxy.seen.clear()
            job(given, environ)
            counted.append(Counter(map(asked, proxy.seen)))
            proxy.seen.clear()
            job(given, environ)
            resume = Counter(map(asked, proxy.seen))
    finally:
        proxy.stop()
        server.stop()
    units = CLASSES * (many - few)
    each = {name: round((counted[1][name] - counted[0][name]) / units, 2) for name in sorted(counted[1])}
    fixed = {name: round(counted[0][name] - CLASSES * few * each[name], 1) for name in sorted(counted[1])}
    return {
        "per_unit": {name: n for name, n in each.items() if n}, "per_run": {name: n for name, n in fixed.items() if abs(n) >= 0.5},
        "of_a_resume": dict(sorted(resume.items())), "counted_over": [CLASSES * few, CLASSES * many],
    }


def asked(seen: tuple[str, str]) -> str:
    """Method and kind of a request. A listing is told by its query."""
    method, target = seen
    path, _, query = target.partition("?")
    return f"LIST {kind(query.replace('%2F', '/'))}" if "list-type" in query else f"{method} {kind(path)}"


def compare(runs: Sequence[dict[str, Any]], told: dict[str, Any]) -> dict[str, Any]:
    """The largest size against the smallest, for each unit size and number of nodes; and the requests of a million images."""
    ratios = {}
    for unit, nodes in sorted({(one["unit_size"], one["nodes"]) for one in runs}):
        mine = sorted((one for one in runs if (one["unit_size"], one["nodes"]) == (unit, nodes)), key=lambda one: one["samples"])
        if len(mine) > 1:
            least, most = mine[0], mine[-1]
            ratios[f"units of {unit}, {f'{nodes} nodes' if nodes else 'one process'}"] = {
                "from": least["samples"], "to": most["samples"],
                "driver_peak": round(most["driver_peak_mib"] / least["driver_peak_mib"], 3),
                "driver_peak_before_the_sweep": round(before_the_sweep(most) / before_the_sweep(least), 3),
                "resume_peak": round(most["resume"]["peak_mib"] / least["resume"]["peak_mib"], 3),
                "cpu_s_per_image": round((most["cpu_s"] / most["drawn"]) / (least["cpu_s"] / least["drawn"]), 3),
                "cpu_s_per_image_drawing": round(least["images_per_cpu_s"] / most["images_per_cpu_s"], 3),
                "further_cpu_ms_per_image": [
                    round(1000 * (on_images(two) - on_images(one)) / (two["drawn"] - one["drawn"]), 3)
                    for one, two in itertools.pairwise(mine)],
            }
    largest = {one["unit_size"]: one for one in sorted(runs, key=lambda one: one["samples"])}
    return {
        "ratios": ratios,
        "per_million_images": {f"units of {unit}": {
            "objects": round(sum(one["objects_by_kind"][name] for name in ("data", "commits", "starts")) / one["drawn"] * 1e6),
            "requests": round(sum(map(round, told["per_unit"].values())) * 1e6 / unit),   # what looks at a few units alone is none's
            "gigabytes": round(one["bytes"] / one["drawn"] / 1e3, 3),
        } for unit, one in sorted(largest.items())},
    }


def on_images(one: dict[str, Any]) -> float:
    """CPU-seconds of all processes in the rooms that meet every image; trainings are the same at every size."""
    return sum(one["stretches"][name]["cpu_s"] for name in ("generate", AFTER["generate"], AFTER["report"]))


def before_the_sweep(one: dict[str, Any]) -> float:
    """Peak of the driver's memory (MiB) until the libraries of the training are loaded, which take more than all the rest."""
    before = itertools.takewhile(lambda stretch: stretch["name"] != "sweep", one["stretches"].values())
    return max(stretch["peak_mib"] for stretch in before)


def main() -> None:
    def numbers(text: str) -> list[int]:
        return [int(float(part)) for part in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the result here too, beside what is there")
    parser.add_argument("--samples", type=numbers, default=[10_000, 100_000], help="default 10000,100000")
    parser.add_argument("--units", type=numbers, default=[256], help="images per unit, default 256")
    parser.add_argument("--nodes", type=numbers, default=[0], help="Ray nodes of one CPU each, default 0: one process that draws")
    parser.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()), help="folder with room for the images")
    chosen = parser.parse_args()
    there = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {"runs": [], "requests": {}}
    runs, told = there["runs"], there["requests"] or requests()
    for unit in chosen.units:
        for nodes in chosen.nodes:
            for samples in chosen.samples:
                if not any((one["samples"], one["unit_size"], one["nodes"]) == (samples, unit, nodes) for one in runs):
                    runs.append(on_a_folder(samples, unit, nodes, chosen.scratch))
                    finish({**compare(runs, told), "requests": told, "runs": runs}, chosen.json)


if __name__ == "__main__":
    main()
