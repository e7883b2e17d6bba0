"""Real SIGKILLs of real actors, and what else ends them: the dataset comes out whole, once, and with its bill."""

import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from job import generate, plan
from job.cluster import listening
from job.drawing import GIVEN_UP
from job.errors import DataError, JobError, TemporaryError
from job.generators.fake import Fake
from job.ground import lineage, shards
from job.ground.events import Events
from job.pool import LOADS
from job.river import River
from tests.fault.kills import POOLS, Killer, Reader, count, nothing_given_up, outcome, river, starts, undisturbed

pytestmark = pytest.mark.fault


@pytest.mark.timeout(900)
def test_actors_that_are_killed_at_random_cost_two_units_each_at_most_and_nothing_else(
    local_ray: str, tmp_path: Path, whole: bool
) -> None:
    kills, walk = 25 if whole else 10, river(tmp_path, "--generator.images_per_class", "40" if whole else "24")
    units = len(plan.first_round(walk.plan))
    killer, reader = Killer(tmp_path, kills, units, seed=7), Reader(tmp_path)
    killer.start()
    reader.start()
    begun = time.monotonic()
    walk.draw()
    killer.over.set()
    reader.over.set()
    reader.join()
    found = outcome(walk.store, walk.plan)
    assert found == undisturbed(walk.plan)
    assert nothing_given_up(found)
    assert reader.wrong == []
    assert reader.looks > 100
    assert len(killer.killed) == kills
    assert max(killer.killed.values()) < units == len(found)   # all were struck while there was work
    assert starts(tmp_path) <= units + 2 * kills
    billed = [one for one in walk.ledger.total(walk.plan.price) if one.kind != "wall"]
    lived = (time.monotonic() - begun) * POOLS["generate"].workers
    worked = [one.draw_s + one.encode_s for one in walk.committed]
    least = sum(worked) - kills * max(worked)   # what a worker committed last may die with it, before the driver has heard
    assert least <= sum(one.seconds for one in billed if one.kind in ("draw", "encode")) < sum(one.seconds for one in billed) <= lived


def room(walk: River) -> generate.Drawn:
    """The room that draws, alone."""
    units = plan.first_round(walk.plan)
    with walk.room("generate", len(units), "units") as floor:
        return generate.generate(walk.plan, units, floor)


@pytest.mark.timeout(300)
def test_a_hanging_draw_is_ended_at_its_deadline_and_the_sample_given_up(local_ray: str, tmp_path: Path) -> None:
    walk = river(tmp_path, "--generator.images_per_class", "8", "--generator.options.hangs", "[5]", "--generator.unit_deadline_s", "3",
                 "--generator.options.seconds_per_image", "0", "--generator.failed_share", "0.5", "--generator.unit_size", "8",
                 "--generator.batch_size", "8")
    walk.plan = replace(walk.plan, classes=walk.plan.classes[:1], quotas=walk.plan.quotas[:1])
    done = room(walk)
    assert (done.asked, done.made, done.failed) == (8, 7, 1)
    ((_, _, failed),) = outcome(walk.store, walk.plan).values()
    assert [index for index, _, _ in failed] == [5]


@pytest.mark.timeout(300)
def test_a_sample_that_ends_its_process_is_given_up_after_three_ends_alone_and_all_others_are_made(local_ray: str, tmp_path: Path) -> None:
    walk = river(tmp_path, "--generator.images_per_class", "16", "--generator.options.ends_process", "[5]",
                 "--generator.options.seconds_per_image", "0", "--generator.failed_share", "0.5", "--generator.unit_size", "8",
                 "--generator.batch_size", "8")
    walk.plan = replace(walk.plan, classes=walk.plan.classes[:1], quotas=walk.plan.quotas[:1])
    done = room(walk)
    assert (done.asked, done.made, done.failed) == (16, 15, 1)
    struck, spared = plan.first_round(walk.plan)
    assert [found[2] for _, found in sorted(outcome(walk.store, walk.plan).items())] == [
        ((5, lineage.sample_id(walk.plan.recipe.id, struck.class_key, 5), GIVEN_UP),), ()]
    begun = {unit: count(tmp_path, f"*/runs/*/starts/{unit.name}/[0-9][0-9][0-9].json") for unit in (struck, spared)}
    assert begun[struck] == 6              # 2 whole, 3 with it alone, the last without
    assert 1 <= begun[spared] <= 1 + 5     # each of the 5 ends may strike the other while it is being written beside it
    for unit in (struck, spared):
        shard = generate.read_shard(walk.store, generate.read_commit(walk.store, walk.plan.recipe, unit))
        for row, picture in zip(shard.to_pylist(), shards.images(shard), strict=True):
            (clean,) = Fake(Fake.Options()).draw([lineage.spec(walk.plan.recipe, walk.plan.classes[0], row["index"])])
            assert np.array_equal(picture, clean.pixels_HWC)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("how", "kind", "words"), [
    ("raises", JobError, "asked to fail while loading"), ("ends process", DataError, "processes died while they loaded"),
])
def test_a_constructor_that_cannot_succeed_ends_the_room_in_a_bounded_number_of_tries_with_the_cause(
    local_ray: str, tmp_path: Path, how: str, kind: type[JobError], words: str
) -> None:
    walk = river(tmp_path, "--generator.options.load", how)
    with pytest.raises(kind, match=words):
        room(walk)
    assert count(tmp_path, "*/runs/*/starts/load-*/begun-*.json") <= LOADS + 2 * POOLS["generate"].workers
    assert outcome(walk.store, walk.plan) == {}


@pytest.mark.timeout(300)
def test_a_stop_that_comes_before_a_room_begins_nothing(local_ray: str, tmp_path: Path) -> None:
    walk = river(tmp_path)
    with listening(walk.stop, 5, Events("json")):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(TemporaryError, match="stopped by a signal"):
            room(walk)
    assert starts(tmp_path) == 0
