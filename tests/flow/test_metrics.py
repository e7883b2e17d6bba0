"""What a running job tells Prometheus, read from the port that Ray serves."""

import re
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.monitoring import listed

pytestmark = pytest.mark.flow
WAIT_S = 60   # Ray exports every 10 s


def scrape() -> dict[str, list[str]]:
    """The lines of every metric at the port of this machine's Ray, without the history of earlier jobs' gauges."""
    import ray

    url = f"http://127.0.0.1:{ray.nodes()[0]['MetricsExportPort']}/metrics"
    found: dict[str, list[str]] = {}
    for line in urllib.request.urlopen(url, timeout=20).read().decode().splitlines():
        if line and not line.startswith("#"):
            found.setdefault(line.partition("{")[0].partition(" ")[0], []).append(line)
    return found


def test_every_metric_that_the_docs_promise_is_emitted_by_a_running_job(job: Callable, tmp_path: Path) -> None:
    promised = {name for name, origin in listed().items() if origin in ("job", "ray")}
    job(tmp_path, "--dataset", "watched", "--price.per_cpu_hour", "1", "--budget_usd", "100", "--generator.peak_tflops", "0.5",
        "--generator.tflop_per_image", "0.001")
    seen: dict[str, list[str]] = {}
    until = time.monotonic() + WAIT_S
    while promised - set(seen) and time.monotonic() < until:
        seen |= scrape()
        time.sleep(1)
    assert promised <= set(seen)
    for name in listed():
        if name.startswith("ray_saltworks_"):
            assert any('dataset="watched"' in line for line in seen[name]), name
    made = [line for line in seen["ray_saltworks_images_total"] if 'dataset="watched"' in line and 'result="made"' in line]
    assert [float(line.rpartition(" ")[2]) for line in made] == [80.0]
    kinds = {kind for line in seen["ray_saltworks_seconds_total"] if 'dataset="watched"' in line and 'room="generate"' in line
             for kind in re.findall(r'kind="(\w+)"', line)}
    assert kinds == {"load", "draw", "encode", "upload", "idle"}
