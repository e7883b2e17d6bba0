"""The lab's setting: four CIFAR-10 classes, 200 real images each, α in 0, .25, .5, .75, as many images as the largest needs.

With a folder or bucket that holds CIFAR-10, and a generator, it is the experiment:

    make lab CIFAR=/data/cifar-10 FLAGS='--generator.name text_to_image --generator.options.model /data/sd-1.5 --generator.size_px 512'

Without, it runs on CIFAR-shaped noise and ``fake`` images, to show the path: it makes no claim on accuracy.
``--json FILE`` anywhere among the flags writes arms, verdict and seconds per room there.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import finish
from job import settings
from job.__main__ import main as job
from job.admit import draft, known, open_store
from job.plan import choose_plugs
from job.report import read

LAB = ("--dataset", "lab", "--real.name", "cifar10", "--sweep.alphas", "0,.25,.5,.75", "--train.size_px", "32",
       "--generator.images_per_class", "auto", "--generator.size_px", "32", "--task.options.flip", "true")
STAND_IN = ("--generator.name", "fake", "--measure.metrics", "{}", "--filter.kind", "none", "--train.steps", "60",
            "--sweep.seeds", "2", "--sweep.confirm_seeds", "2")


def stand_in(folder: Path, per_batch: int = 65) -> str:
    """CIFAR-shaped noise: 5 × ``per_batch`` training and ``per_batch`` test images of each of the ten classes."""
    from tests.folders import cifar_batches, cifar_binary, write

    return write(folder, cifar_binary(cifar_batches(per_batch)))


def pop_json(arguments: Sequence[str]) -> tuple[list[str], Path | None]:
    """The arguments without ``--json FILE``, and the file."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--json", type=Path)
    known, rest = parser.parse_known_args(arguments)
    return rest, known.json


def figures(flags: Sequence[str]) -> dict[str, Any]:
    """What the finished run's report says, as plain values."""
    given = settings.load(flags)
    store = open_store(given)
    chosen = choose_plugs(given)
    report = read(store, (known(store, given, chosen) or draft(store, given, chosen))[0])
    assert report is not None   # the run has just written it
    return {
        "run": report.run, "verdict": report.verdict, "alpha_star": report.alpha_star, "candidate": report.candidate,
        "gain": report.gain, "gain_interval": report.gain_interval, "arms": [arm.model_dump() for arm in report.arms],
        "seconds": {room.room: {"wall": room.wall_s, "workers": room.worker_s} for room in report.spent},
    }


def main() -> int:
    arguments, file = pop_json(sys.argv[1:])
    cifar, *flags = arguments or [""]
    if cifar:
        chosen = ["--root", "lab-output", *LAB, "--real.options.url", cifar, *flags]
    else:
        print("no CIFAR=folder was given: CIFAR-shaped noise and fake images, no claim on accuracy", file=sys.stderr)
        chosen = ["--root", "lab-output", *LAB, "--real.options.url", stand_in(Path("lab-output/cifar-shaped")), *STAND_IN, *flags]
    code = job(["run", *chosen])
    if file and code == 0:
        finish(figures(chosen), file)
    return code


if __name__ == "__main__":
    sys.exit(main())
