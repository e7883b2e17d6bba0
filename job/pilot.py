"""HOT. A few synthetic images, three small trainings and a look at features: what ``advising`` judges a run by beforehand.

All that it draws and measures is the run's own: the first units of its classes, which the run will find committed.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from job import advising, decisions, measure, plugs
from job.errors import QualityError
from job.generate import Committed
from job.ground import lineage, weights
from job.ground.layout import Run
from job.ground.store import ReadOnlyFolder, Store
from job.metrics import SAMPLE_METRICS
from job.pool import Floor, check_device
from job.records import Mix, Split, Tally, Unit
from job.results import Advice
from job.runplan import MetricPlan, RunPlan, from_plain, plain
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
    return tuple(lineage.seed_of(f"pilot/{number}") & 0x7FFFFFFF for number in range(SEEDS))


def units(plan: RunPlan) -> tuple[Unit, ...]:
    """The first units of every class that gets synthetic images: what the pilot's largest α takes of it."""
    alpha = advising.reach(plan.alphas, plan.n_train, plan.salting, plan.unit_size)[-1]
    wanted = advising.takes(alpha, plan.alphas, plan.n_train, plan.salting)
    return tuple(
        Unit(words.key, words.label, number * plan.unit_size, (number + 1) * plan.unit_size)
        for words, count in zip(plan.classes, wanted, strict=True) for number in range(math.ceil(count / plan.unit_size))
    )


def tallies(store: Store, plan: RunPlan, committed: Sequence[Committed]) -> dict[str, Tally]:
    """What the filter makes of the pilot's images, by class key: by quota the share that the run will keep."""
    found = {}
    for words in plan.classes:
        mine = [one for one in committed if one.unit.class_key == words.key]
        drawn = len(mine) * plan.unit_size
        quota = int(drawn / plan.filter.oversample) if plan.filter.kind == "quota" else drawn
        found[words.key], _ = decisions.judge(store, plan, words, mine, quota)
    return found


def largest(plan: RunPlan, found: Mapping[str, Tally]) -> float:
    """The largest α that what was kept can serve. Raises ``QualityError`` if it serves none."""
    kept = [int(found[words.key].kept.sum()) for words in plan.classes]
    able = advising.reach(plan.alphas, plan.n_train, plan.salting, plan.unit_size)
    served = [alpha for alpha in able
              if all(have >= want for have, want in zip(kept, advising.takes(alpha, plan.alphas, plan.n_train, plan.salting), strict=True))]
    if not served:
        short = min(zip(kept, plan.classes, strict=True), key=lambda one: one[0])
        raise QualityError(f"the filter kept too few of the pilot's images for α = {able[0]:g}: {short[0]} of class {short[1].name}",
                           "describe the class in SALTWORKS_GENERATOR__DESCRIPTIONS, or lower SALTWORKS_FILTER__MINIMUM")
    return served[-1]


def half(real: Mix, split: Split) -> Mix:
    """Real images alone, every other one of each class."""
    labels = dict(zip(split.part("train")["id"].to_pylist(), split.part("train")["label"].to_pylist(), strict=True))
    of_class: dict[int, list[str]] = {}
    for name in real.real_ids:
        of_class.setdefault(labels[name], []).append(name)
    taken = {name for names in of_class.values() for name in names[::2]}
    return replace(real, real_ids=tuple(name for name in real.real_ids if name in taken))


def foreign(store: Store, plan: RunPlan, committed: Sequence[Committed]) -> float | None:
    """Share of the images whose margin over the best other class is below 0; None where no metric measures a margin."""
    table = measure.scores(store, plan, committed)
    name = next((name for name in table.column_names if name.endswith(".margin")), None)
    return None if name is None or not table.num_rows else float((table[name].to_numpy() < 0).mean())


def look(plan: RunPlan, shared: Pixels, floor: Floor) -> Seen:
    """Coverage and distance among the features of the first metric that has any, on the pixels that a classifier sees.

    On those alone, because they went one way: a codec of their own would set the synthetic images apart.
    """
    import ray

    if not plan.metrics:
        return Seen()
    pool = floor.pool
    task = ray.remote(num_cpus=pool.cpus, num_gpus=pool.gpus, resources=pool.custom or None)(_look)
    told = task.remote(plan.metrics, [words.name for words in plan.classes], pool, shared.part("train"), shared.part("val"),
                       *shared.synthetic.values())
    return Seen(**ray.get(told))


def _look(metrics: Sequence[MetricPlan], names: Sequence[str], pool: Any, train: Any, val: Any, *synthetic: Any) -> dict[str, float | None]:
    check_device(pool, "SALTWORKS_GENERATOR__DEVICE=cpu")
    for metric in metrics:
        plug = plugs.find(SAMPLE_METRICS, metric.name, "metric")
        one = plug(plugs.options(plug, metric.options, "metric"), names)
        folder, _ = weights.fetch(one.location(), one.revision(), ReadOnlyFolder)
        one.load(folder, pool.device)
        real, judged, drawn = (_some(one.features, images) for images in (
            train[0], val[0], np.concatenate([part["images"] for part in synthetic])))
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
