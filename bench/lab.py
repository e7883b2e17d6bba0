"""The lab's setting: four CIFAR-10 classes, 200 real images each, α in 0, .25, .5, .75, as many images as the largest needs.

With a folder or bucket that holds CIFAR-10, and a generator, it is the experiment:

    make lab CIFAR=/data/cifar-10 FLAGS='--generator.name text_to_image --generator.options.model /data/sd-1.5 --generator.size_px 512'

Without, it runs on CIFAR-shaped noise and ``fake`` images, to show the path: it makes no claim on accuracy.
"""

import sys
from pathlib import Path

from job.__main__ import main as job

LAB = ("--dataset", "lab", "--real.name", "cifar10", "--sweep.alphas", "0,.25,.5,.75", "--train.size_px", "32",
       "--generator.images_per_class", "auto", "--generator.size_px", "32", "--task.options.flip", "true")
STAND_IN = ("--generator.name", "fake", "--measure.metrics", "{}", "--filter.kind", "none", "--train.steps", "60",
            "--sweep.seeds", "2", "--sweep.confirm_seeds", "2")


def stand_in(folder: Path, per_batch: int = 65) -> str:
    """CIFAR-shaped noise: 5 × ``per_batch`` training and ``per_batch`` test images of each of the ten classes."""
    from tests.folders import cifar_batches, cifar_binary, write

    return write(folder, cifar_binary(cifar_batches(per_batch)))


def main() -> int:
    cifar, *flags = sys.argv[1:] or [""]
    root = ("--root", "lab-output")
    if cifar:
        return job(["run", *root, *LAB, "--real.options.url", cifar, *flags])
    print("no CIFAR=folder was given: CIFAR-shaped noise and fake images, no claim on accuracy", file=sys.stderr)
    return job(["run", *root, *LAB, "--real.options.url", stand_in(Path("lab-output/cifar-shaped")), *STAND_IN, *flags])


if __name__ == "__main__":
    sys.exit(main())
