"""COLD. Early halving on seeds: an α that validation puts in the worse half gets no further seeds.

Successive halving (Jamieson and Talwalkar 2016) with seeds as the resource. Never epochs: a training that was cut short ranks
arms by how fast they learn. Every α is trained in full, only less often; α = 0 keeps all seeds, for everything is compared
with it, and the candidate is chosen among those that have them all. The confirmation is untouched: it trains on fresh seeds.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from job import choosing
from job.results import TrialResult

FIRST = 2   # seeds before the first cut: one alone says nothing of what another would do


def rounds(seeds: Sequence[int], halving: bool) -> tuple[tuple[int, ...], ...]:
    """The seeds of each round, one after another: 2, then as many again as there were, up to all of them."""
    cuts = [len(seeds)]
    if halving:
        cuts = [cut for cut in (FIRST << number for number in range(len(seeds))) if cut < len(seeds)] + cuts
    return tuple(tuple(seeds[start:end]) for start, end in zip([0, *cuts], cuts, strict=False))


def survivors(results: Sequence[TrialResult], weights_N: np.ndarray | None = None, guard: float = 0.0) -> tuple[float, ...]:
    """α = 0, and the better half of the α above it (rounded up, ties to less salt), ascending.

    With ``weights_N`` those whose accuracy is below that of α = 0 by more than ``guard`` come last, as ``choose`` would have none of
    them. ``results``: all α that are still tried, on the same seeds. Raises ``JobError`` unless they were judged alike.
    """
    choosing.alike(results, "val")
    accuracy = {one.alpha: choosing.score(one) for one in results}

    def place(one: TrialResult) -> tuple[bool, float, float]:
        barred = weights_N is not None and accuracy[one.alpha] < accuracy[0.0] - guard - choosing.ROUNDING
        return barred, -choosing.score(one, weights_N), one.alpha

    salted = sorted((one for one in results if one.alpha), key=place)
    return (0.0, *sorted(one.alpha for one in salted[: -(-len(salted) // 2)]))


def trainings(alphas: int, seeds: int, halving: bool) -> int:
    """How many trainings a sweep of so many α, 0 among them, takes."""
    total, salted = 0, alphas - 1
    for its in rounds(range(seeds), halving):
        total += (1 + salted) * len(its)
        salted = -(-salted // 2)
    return total


def joined(parts: Sequence[TrialResult]) -> TrialResult:
    """The rounds of one α as one result: seeds one after another, seconds summed."""
    first = parts[0]

    def chain(name: str) -> tuple:
        return tuple(value for one in parts for value in getattr(one, name))

    return first if len(parts) == 1 else replace(
        first, trial="+".join(one.trial for one in parts), correct_SN=np.concatenate([one.correct_SN for one in parts]),
        seeds=chain("seeds"), first_loss_S=chain("first_loss_S"), train_loss_S=chain("train_loss_S"), late_gain_S=chain("late_gain_S"),
        seconds=sum(one.seconds for one in parts), load_s=sum(one.load_s for one in parts),
    )


def finalists(results: Sequence[TrialResult]) -> tuple[TrialResult, ...]:
    """Those that were trained on all seeds, in their order."""
    most = max(len(one.seeds) for one in results)
    return tuple(one for one in results if len(one.seeds) == most)
