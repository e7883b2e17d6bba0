"""The pipeline beside its generator: both halves of the benchmark run from end to end. No claim on speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(300)]


def test_both_halves_run_and_say_what_they_measured(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    small = {"unit_s": 0.4, "units": 2, "runs": 1, "seconds_per_image": 0.05, "size_px": 128, "batch": 4, "images": 16}
    subprocess.run([sys.executable, "-m", "bench.pipeline", f"--json={file}", *(f"--{name}={value}" for name, value in small.items())],
                   check=True, capture_output=True)
    found = json.loads(file.read_text())
    room, cost = found["throughput"], found["cost"]
    assert (room["unit_size"], room["units"], room["batch"]) == (8, 2, 4)
    assert 0 < room["pipeline_over_bare"] == pytest.approx(room["images_per_s"]["pipeline"][0] / room["images_per_s"]["bare"][0], rel=0.01)
    assert room["images_per_s"]["bare"][0] <= 1 / small["seconds_per_image"]
    assert cost["encoding"] == "jpeg"
    assert set(cost["parts_ms"]) == {"check", "encode", "mark", "pack", "hash", "upload"}
    assert cost["cpu_ms_per_image"] > max(cost["parts_ms"].values()) > 0
