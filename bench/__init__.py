"""Measurements. Every file takes ``--json FILE``; ratios and medians, never one absolute time of a noisy machine."""

import argparse
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def arguments(description: str, **defaults: int | str) -> argparse.Namespace:
    """Command line of a benchmark: ``--json FILE`` and one flag per default, a number or a word as that is."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="write the result here too; empty: nowhere")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    return parser.parse_args()


def finish(result: Mapping[str, Any], file: Path | None) -> None:
    """Print the result with what it was measured on, and write it if asked."""
    whole = {**result, "machine": {
        "processors": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(),
        "load": os.getloadavg(), "ray": version("ray"), "torch": version("torch"),
    }}
    text = json.dumps(whole, indent=1)
    print(text)
    if file and file.name:
        file.write_text(text + "\n")
