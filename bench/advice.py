"""Whether the advice is as sure as it is right, on made-up runs: ``python -m bench.advice 1000``.

Each repetition draws a true gain from ``GAINS``, a pilot (3 seeds, the world's validation images) and the test that follows it (10
seeds × 600 images), and asks ``advising.advise`` and ``statistics.word``. A sure advice that is often wrong is worse than none.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.worlds import DIGITS, OTHERS, ROUGH, World, answers
from job import advising, statistics
from job.pilot import SEEDS

GAINS = (-0.03, 0.0, 0.0, 0.0, 0.01, 0.02, 0.03, 0.05, 0.08)   # no effect is what most runs should expect
CONFIRM, TEST = 10, 600
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Told:
    """An advice, and the verdict that came."""

    word: str
    chance: float
    helped: float     # the chance that it gave to help
    came: str


def told(world: World, repetitions: int, seed: int = 0) -> list[Told]:
    """So many pilots with the tests that followed them; gains that would pass an accuracy of 1 are left out."""
    rng = np.random.default_rng(seed)
    gains = [gain for gain in GAINS if world.accuracy + gain < 1]
    found = []
    for at in range(repetitions):
        gain = gains[at % len(gains)]
        mixed, real, half = answers(world, (world.accuracy + gain, world.accuracy, world.accuracy - 0.02), SEEDS, world.n_val, rng)
        pilot = advising.Pilot((8,) * 10, 0.5, 80, real, half, mixed, None, None, 0.0, None, None, None)
        advice = advising.advise(pilot, confirm_seeds=CONFIRM, n_test=TEST)
        came = statistics.word(statistics.interval(*answers(world, (world.accuracy + gain, world.accuracy), CONFIRM, TEST, rng)))
        found.append(Told(advice.word, advice.chance, dict(advice.chances)[statistics.HELPED], came))
    return found


def rows(repetitions: int) -> Iterator[tuple[object, ...]]:
    for world in (DIGITS, ROUGH, *OTHERS):
        found = told(world, repetitions)
        bins = []
        for low, high in pairwise(BINS):
            mine = [one for one in found if low <= one.helped < high or high == one.helped == 1]
            bins.append(f"{100 * np.mean([one.came == statistics.HELPED for one in mine]):.0f} of {len(mine)}" if mine else "–")
        right, sure = np.mean([one.word == one.came for one in found]), np.mean([one.chance for one in found])
        nothing = np.mean([one.came == statistics.UNDECIDED for one in found])
        yield world.name, f"{100 * right:.0f}", f"{100 * sure:.0f}", f"{100 * nothing:.0f}", *bins


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("repetitions", type=int, nargs="?", default=1000)
    given = parser.parse_args()
    heads = ["world", "right %", "sure %", "right, were it always nothing %", *(f"helped %, where told {100 * low:.0f} to {100 * high:.0f}"
                                             for low, high in pairwise(BINS))]
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for row in rows(given.repetitions):
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
