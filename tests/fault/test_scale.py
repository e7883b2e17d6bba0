"""What must not grow with the number of images: the driver's memory, the objects per image. Two sizes of the whole job.

The trials are fitted beforehand, in this process and from the same pictures: they are the same at every size, for a mix is
named by what it takes. So the job adopts them, and what is compared are the rooms that meet every image, without the
libraries of the training that would hide what these add.
"""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench import scale
from job import admit, mixing, plan, settings, trainset
from job.generate import work_unit
from job.generators.fake import Fake
from job.ground import layout
from job.ground.cost import Meter
from job.ground.starts import Starts
from job.ground.store import Store
from job.records import Split
from job.results import TrialResult
from job.runplan import RunPlan
from tests.fault import fitted

pytestmark = [pytest.mark.fault, pytest.mark.nodes]

SMALL, LARGE, UNIT = 10_000, 100_000, 256
KEPT_BYTES = 800   # of the driver's memory per further image: a shard's row takes as much, so no image may stay there


def frozen(given: list[str]) -> tuple[Store, RunPlan, Split]:
    chosen = settings.load(given, environ={})
    store, chosen_plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
    return store, *admit.freeze(store, chosen, chosen_plugs, *admit.draft(store, chosen, chosen_plugs))


def fit_all(store: Store, planned: RunPlan, split: Split) -> list[TrialResult]:
    """Draw the first unit of every class, then fit every trial of the run from them."""
    keys = layout.Run(planned.dataset, planned.run)
    meter, starts = Meter(store, keys, "generate", gpus=0, cpus=1), Starts(store, keys)
    painter = Fake(Fake.Options.model_validate_json(planned.generator_options))
    origin = painter.load("", "none", "cpu")
    drawn = {}
    for unit in plan.first_round(planned):
        if unit.lo == 0:
            done, _ = work_unit(store, painter, origin, planned.recipe, planned.classes[unit.label], unit, planned.batch_size,
                                run=planned.run, starts=starts, meter=meter)
            drawn[unit.class_key] = trainset.decode_synthetic(store.url, 0, planned.schedule.size_px, unit.label, [done])
    train = split.part("train")
    kept = {words.key: np.ones(quota, bool) for words, quota in zip(planned.classes, planned.quotas, strict=True)}
    mixes = {alpha: mixing.mix(alpha, planned.alphas, train["id"].to_pylist(), train["label"].to_pylist(), planned.classes, kept,
                               planned.salting) for alpha in planned.alphas}
    return fitted.fit_all(planned, split, mixes, drawn)


@pytest.mark.timeout(900)
def test_the_drivers_memory_does_not_follow_the_number_of_images_and_an_image_costs_as_many_objects(tmp_path: Path) -> None:
    found, results = {}, []
    for samples in (SMALL, LARGE):
        root = str(tmp_path / str(samples))
        given = scale.flags(root, samples, UNIT, 2)
        store, planned, split = frozen(given)
        results = results or fit_all(store, planned, split)
        fitted.commit(store, planned, results)
        found[samples] = scale.measure(given, root, {**os.environ})
        shutil.rmtree(root)
    small, large = found[SMALL], found[LARGE]

    for samples, one in found.items():
        units = scale.CLASSES * -(-samples // scale.CLASSES // UNIT)
        assert one["kept"] == samples
        assert one["drawn"] == units * UNIT
        assert one["objects_by_kind"]["data"] == one["objects_by_kind"]["commits"] == units
        assert one["objects_by_kind"]["versions"] == 3   # the version, its card and its description
        assert one["objects_by_kind"]["trials"] == 8     # none was fitted again: two of each arm and part, records and results
    same = {name: n for name, n in large["objects_by_kind"].items() if name not in ("data", "commits", "starts", "cost")}
    assert same == {name: n for name, n in small["objects_by_kind"].items() if name not in ("data", "commits", "starts", "cost")}
    assert large["driver_peak_mib"] <= 1.2 * small["driver_peak_mib"]
    assert (large["driver_peak_mib"] - small["driver_peak_mib"]) * 2**20 <= KEPT_BYTES * (LARGE - SMALL)
    assert large["resume"]["peak_mib"] <= 1.2 * small["resume"]["peak_mib"]
