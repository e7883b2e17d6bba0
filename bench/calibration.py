"""How often the rule of the sweep is right, by simulation of the code as it stands: ``python -m bench.calibration 4000``.

The argument is the number of repetitions behind each row; ± is one Monte Carlo standard error. ``bench/worlds.py``
says what is drawn, and ``docs/statistics.md`` keeps what was printed.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bench import worlds
from bench.worlds import DIGITS, OTHERS, ROUGH, TRUTHS, covered, sweeps, whole_rule
from job import statistics

SIZES = ((5, 600), (10, 600), (5, 1000))   # confirm seeds × test images


def percent(share: float, n: int) -> str:
    """With its Monte Carlo standard error."""
    return f"{100 * share:.1f} ± {100 * (share * (1 - share) / n) ** 0.5:.1f}"


def table(heads: str, rows: Iterator[Sequence[object]]) -> None:
    """Markdown, row by row as it is measured."""
    print(f"\n| {heads} |\n|{'---|' * (heads.count('|') + 1)}", flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)


def rule_rows(n: int) -> Iterator[Sequence[object]]:
    cells = itertools.product((DIGITS, ROUGH), ("flat", "all +3", "all −3", "peak of +3"), SIZES)
    for cell, (world, truth, (seeds, images)) in enumerate(cells):
        found = whole_rule(world, truth, seeds, images, n, seed=cell)   # runs of its own: chance errors do not line up
        error = np.array([one.error for one in found])
        words = [one.verdict.word for one in found]
        detectable = np.median([one.verdict.smallest_detectable for one in found])
        yield (world.name, truth, f"{seeds} × {images:,}", percent(words.count("helped") / n, n), percent(words.count("hurt") / n, n),
               percent(sum(one.covered for one in found) / n, n), f"{100 * error.mean():+.3f} ± {100 * error.std() / n**0.5:.3f}",
               f"{100 * detectable:.1f}")


def world_rows(n: int) -> Iterator[Sequence[object]]:
    cells = itertools.product((DIGITS, ROUGH, *OTHERS), ((5, 200), (5, 600), (5, 2000), (10, 600), (20, 2000)))
    for cell, (world, (seeds, images)) in enumerate(cells):
        flat = worlds.intervals(world, 0.0, seeds, images, n, seed=cell)
        shares = np.mean([(covered(one.low, 0.0, one.high), one.low > 0, one.high < 0) for one in flat], axis=0)
        yield world.name, f"{seeds} × {images:,}", *(percent(share, n) for share in shares)


def detectable_rows(n: int) -> Iterator[Sequence[object]]:
    for world, (seeds, images) in itertools.product((DIGITS, ROUGH, OTHERS[0]), SIZES):
        effect = 0.0
        for pilot in range(3):   # what is detectable depends a little on what is there
            found = worlds.intervals(world, effect, seeds, images, n // 4, seed=pilot)
            effect = float(np.median([statistics.smallest_detectable(one) for one in found]))
        found = worlds.intervals(world, effect, seeds, images, n, seed=3)
        yield world.name, f"{seeds} × {images:,}", f"{100 * effect:.1f}", percent(np.mean([one.low > 0 for one in found]), n)


def simpler_rows(n: int) -> Iterator[Sequence[object]]:
    for world, truth in itertools.product((DIGITS, ROUGH), ("flat", "all +3")):
        found = {name: row.mean() for name, row in worlds.simpler(whole_rule(world, truth, 10, 600, n)).items()}
        yield (world.name, truth, *(percent(found[one], n) for one in ("over seeds", "over images", "lab helped", "validation helped")),
               f"{100 * found['lab excess']:+.1f}", f"{100 * found['validation excess']:+.1f}")


def one_error_rows(n: int) -> Iterator[Sequence[object]]:
    for world, truth in itertools.product((DIGITS, ROUGH), ("rising to +3", "peak of +3")):
        helped = [np.mean([one.verdict.word == "helped" for one in whole_rule(world, truth, 10, 600, n, one_error=chosen)])
                  for chosen in (False, True)]
        yield world.name, truth, *(percent(one, n) for one in helped)


def interior_rows(n: int) -> Iterator[Sequence[object]]:
    for cell, (world, truth) in enumerate(itertools.product((DIGITS, ROUGH), TRUTHS)):
        found = [(swept.interior, swept.pointed) for swept, _ in sweeps(world, truth, n, seed=cell)]
        yield world.name, truth, *(percent(share, n) for share in np.mean(found, axis=0))


def seed_rows(n: int) -> Iterator[Sequence[object]]:
    for seeds in (2, 3, 4, 5, 10):
        cells = ((DIGITS, 600), (ROUGH, 600), (DIGITS, 60), (DIGITS, 20))
        found = [percent(worlds.coverage(world, 0.03, seeds, images, n, seed=cell), n) for cell, (world, images) in enumerate(cells)]
        few = n // 10
        yield (seeds, *found, percent(worlds.coverage(DIGITS, 0.03, seeds, 10_000, few), few), f"{100 * worlds.worst_coverage(seeds):.1f}")


def weight_rows(n: int) -> Iterator[Sequence[object]]:
    cells = itertools.product((False, True), (36, 100), (0.0, 0.3), (5, 10))
    for cell, (recall, rare, gain, seeds) in enumerate(cells):
        hits, helped = worlds.weighted_coverage(rare, gain, recall, seeds, n, seed=cell)
        yield "recall" if recall else "balanced accuracy", rare, f"{100 * gain:+.0f}", seeds, percent(hits, n), percent(helped, n)


def arm_rows(n: int) -> Iterator[Sequence[object]]:
    truths = ((0.0, 0.0), (0.03, 0.03), (0.03, 0.0))
    for cell, (world, (candidate, arms), count) in enumerate(itertools.product((DIGITS, ROUGH), truths, (2, 6))):
        found = worlds.families(world, candidate, arms, count, 10, 600, n, seed=cell)
        yield world.name, f"{100 * candidate:+.0f}", f"{100 * arms:+.0f}", count, *(percent(share, n) for share in found)


def class_rows(n: int) -> Iterator[Sequence[object]]:
    for cell, (world, classes, seeds) in enumerate(itertools.product((DIGITS, ROUGH), (10, 30), (5, 10))):
        yield world.name, f"{classes} × {600 // classes}", seeds, percent(worlds.false_classes(world, classes, seeds, 600, n, seed=cell), n)


def stability_rows(n: int) -> Iterator[Sequence[object]]:
    for world, truth in itertools.product((DIGITS, ROUGH), ("flat", "peak of +3")):
        for alpha, (stable, chosen) in worlds.how_stable(world, truth, n).items():
            yield world.name, truth, alpha, f"{100 * stable:.1f}", percent(chosen, n)


TABLES: dict[str, tuple[str, Callable[[int], Iterator[Sequence[object]]]]] = {
    "the whole rule": ("world | truth | seeds × images | helped % | hurt % | covered % | bias of the gain, points | detectable, points",
                       rule_rows),
    "worlds": ("world without effect | seeds × images | covered % | helped % | hurt %", world_rows),
    "detectable": ("world | seeds × images | smallest detectable effect, points | helped % where that is the truth", detectable_rows),
    "simpler rules": ("world | truth | t over seeds covers % | t over images covers % | lab says helped % | validation says helped % "
                      "| lab claims too much, points | validation claims too much, points", simpler_rows),
    "one standard error": ("world | truth | candidate: helped % | one-standard-error α: helped %", one_error_rows),
    "interior optimum": ("world | truth | claimed % | by point estimates %", interior_rows),
    "coverage by seeds": ("seeds | digits, 600 images % | rough, 600 % | digits, 60 % | digits, 20 % | digits, 10,000 % | worst case %",
                          seed_rows),
    "weights": ("statistic | rare images | gain of the rare class, points | seeds | covered % | helped %", weight_rows),
    "arms": ("world | gain of the candidate, points | of the arms | arms | any arm called helped or hurt % "
             "| candidate beyond any % | beyond all %", arm_rows),
    "classes": ("world without effect | classes × images | seeds | any class called helped or hurt %", class_rows),
    "stability": ("world | truth | α | mean stability % | candidate in % of sweeps", stability_rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("repetitions", type=int, nargs="?", default=2000)
    parser.add_argument("--only", choices=TABLES, action="append", help="one of the tables; may be given again")
    given = parser.parse_args()
    for name in given.only or TABLES:
        heads, rows = TABLES[name]
        print(f"\n{name}, {given.repetitions} repetitions")
        table(heads, rows(given.repetitions))


if __name__ == "__main__":
    main()
