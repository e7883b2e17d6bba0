"""HOT. A few synthetic images, three small trainings and a look at features: what ``advising`` judges a run by beforehand.

All that it draws and measures is the run's own: the first units of its classes, which the run will find committed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from job import advising, decisions, measure, mixing, plan
from job.errors import QualityError, SettingsError
from job.generate import Committed
from job.ground.cost import Meter
from job.ground.layout import Run
from job.ground.store import Store
from job.pool import Floor, check_device
from job.records import Mix, Split, Tally, Unit
from job.results import Advice
from job.runplan import Pool, RunPlan, from_plain, plain
from job.trainset import Pixels

SEEDS = 3         # one alone has no interval over seeds
LOOKED_AT = 2000  # images of each kind, at most: distances take the square of it


@dataclass(frozen=True, slots=True)
class Seen:
    """What the features say; None where no metric has any."""

    coverage: float | None = None
    coverage_mixed: float | None = None
    distance: float | None = None


def seeds() -> tuple[int, ...]:
    """Neither the sweep's nor the confirmation's."""
    return plan.seeds("pilot", SEEDS)


def units(planned: RunPlan) -> tuple[Unit, ...]:
    """The first round of a run that would want no more than the pilot's largest α takes."""
    alpha = advising.reach(planned.alphas, planned.n_train, planned.salting, planned.unit_size)[-1]
    return plan.first_round(replace(planned, quotas=mixing.takes_at(alpha, planned.alphas, planned.n_train, planned.salting)))


def tallies(store: Store, planned: RunPlan, committed: Sequence[Committed]) -> dict[str, Tally]:
    """What the filter makes of the pilot's images, by class key: by quota the share that the run will keep."""
    found = {}
    for words in planned.classes:
        mine = [one for one in committed if one.unit.class_key == words.key]
        drawn = len(mine) * planned.unit_size
        quota = int(drawn / planned.filter.oversample) if planned.filter.kind == "quota" else drawn
        found[words.key], _ = decisions.judge(store, planned, words, mine, quota)
    return found


def largest(planned: RunPlan, found: Mapping[str, Tally]) -> float:
    """The largest α that what was kept can serve: of the grid, or below all of it. Raises ``QualityError`` if it serves none."""
    kept = [int(found[words.key].kept.sum()) for words in planned.classes]

    def served(alpha: float) -> bool:
        try:
            wanted = mixing.takes_at(alpha, planned.alphas, planned.n_train, planned.salting)
        except SettingsError:   # less than one image
            return False
        return all(have >= want for have, want in zip(kept, wanted, strict=True))

    able = advising.reach(planned.alphas, planned.n_train, planned.salting, planned.unit_size)
    below = [number / 100 for number in range(1, math.ceil(100 * able[0]))]
    for alpha in (*able[::-1], *below[::-1]):
        if served(alpha):
            return alpha
    short = min(zip(kept, planned.classes, strict=True), key=lambda one: one[0])
    raise QualityError(f"the filter kept too few of the pilot's images for any α: {short[0]} of class {short[1].name}",
                       "describe the class in SALTWORKS_GENERATOR__DESCRIPTIONS, or let the filter keep more (SALTWORKS_FILTER__KIND)")


def half(real: Mix, split: Split) -> Mix:
    """Real images alone, every other one of each class."""
    labels = dict(zip(split.part("train")["id"].to_pylist(), split.part("train")["label"].to_pylist(), strict=True))
    of_class: dict[int, list[str]] = {}
    for name in real.real_ids:
        of_class.setdefault(labels[name], []).append(name)
    taken = {name for names in of_class.values() for name in names[::2]}
    return replace(real, real_ids=tuple(name for name in real.real_ids if name in taken))


def foreign(store: Store, planned: RunPlan, committed: Sequence[Committed]) -> float | None:
    """Share of the images whose margin over the best other class is below 0; None where no metric measures a margin."""
    table = measure.scores(store, planned, committed)
    name = next((name for name in table.column_names if name.endswith(".margin")), None)
    return None if name is None or not table.num_rows else float((table[name].to_numpy() < 0).mean())


def look(planned: RunPlan, shared: Pixels, floor: Floor) -> Seen:
    """Coverage and distance among the features of the first metric that has any, on the pixels that a classifier sees.

    On those alone, because they went one way: a codec of their own would set the synthetic images apart. It looks where the trials
    were trained: what drew may be given back by now.
    """
    import ray

    if not planned.metrics:
        return Seen()
    pool = floor.pool
    task = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, resources=pool.custom or None)(_look)
    told, rows = ray.get(task.remote(planned, floor.store.url, floor.store.retry_s, pool, shared.part("train"), shared.part("val"),
                                     *shared.synthetic.values()))
    floor.heard("pilot-look", rows)
    return Seen(**{name: value for name, value in told.items() if np.isfinite(value)})


def _look(
    planned: RunPlan, url: str, retry_s: float, pool: Pool, train: Any, val: Any, *synthetic: Any
) -> tuple[dict[str, float], list[list[Any]]]:
    """What the features say, and what it took."""
    meter = Meter(Store(url, retry_s), Run(planned.dataset, planned.run), "pilot", gpus=pool.gpus, cpus=pool.cpus)
    with meter.spending("score"):
        check_device(pool, "SALTWORKS_SWEEP__GPUS_PER_TRIAL=0")
        told = _features(planned, pool, train[0], val[0], np.concatenate([part["images"] for part in synthetic]))
    meter.beat()
    return told, meter.rows()


def _features(planned: RunPlan, pool: Pool, train_NHWC: np.ndarray, val_NHWC: np.ndarray, drawn_MHWC: np.ndarray) -> dict[str, float]:
    for metric in planned.metrics:
        one = measure.loaded(planned, metric, pool.device)
        real, judged, drawn = (_some(one.features, images) for images in (train_NHWC, val_NHWC, drawn_MHWC))
        if real.shape[1]:
            both = np.concatenate([real, drawn])
            return {"coverage": advising.coverage(real_ND=judged, by_MD=real),
                    "coverage_mixed": advising.coverage(real_ND=judged, by_MD=both),
                    "distance": advising.relative_distance(real_ND=real, synthetic_MD=drawn)}
    return {}


def _some(features: Any, images_NHWC: np.ndarray) -> np.ndarray:
    """Features of at most ``LOOKED_AT`` images, spread evenly over all."""
    rows = np.linspace(0, len(images_NHWC) - 1, min(LOOKED_AT, len(images_NHWC))).astype(int)
    return features([images_NHWC[row] for row in rows])


def read(store: Store, run: Run) -> Advice | None:
    """The advice that was given, if any was."""
    data = store.get(run.advice())
    return from_plain(Advice, json.loads(data)) if data else None


def write(store: Store, run: Run, advice: Advice) -> Advice:
    """Store it, create-only; what was there wins."""
    store.create(run.advice(), json.dumps(plain(advice), indent=1).encode())
    return read(store, run) or advice
