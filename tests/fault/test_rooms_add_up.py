"""A row that got lost in the store between two rooms, or while one is at work, ends the room: the real rooms, on real Ray."""

import json
import threading
import time
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from job import generate, measure, plan
from job.errors import DataError, JobError
from job.generators.fake import Fake
from job.ground import layout, lineage, shards
from job.ground.cost import Meter
from job.ground.events import Events
from job.ground.starts import Starts
from job.ground.store import Store
from job.measure import Measured
from job.records import Unit
from job.river import River
from job.runplan import Pool
from tests.fault.kills import frozen

pytestmark = [pytest.mark.fault, pytest.mark.long, pytest.mark.timeout(300)]
SLOW = ("--generator.images_per_class", "8", "--generator.options.seconds_per_image", "0.5", "--measure.metrics", '{"clipscore": {}}')


@pytest.fixture
def walk(local_ray: str, tmp_path: Path) -> River:
    """A run of one class: two units of four images, drawn in two seconds each."""
    one = River(*frozen(tmp_path, *SLOW), Events("json"), {"generate": Pool(1, 0.5, 0), "sweep": Pool(1, 0.5, 0)})
    one.plan = replace(one.plan, classes=one.plan.classes[:1], quotas=one.plan.quotas[:1])
    return one


def units(walk: River) -> list[Unit]:
    return list(plan.first_round(walk.plan))


def drawn(walk: River) -> None:
    """The first room of the two."""
    with walk.room("generate", 8, "images") as floor:
        generate.generate(walk.plan, units(walk), floor)


def measured(walk: River) -> Measured:
    """The second."""
    with walk.room("measure", 8, "images") as floor:
        return measure.measure(walk.plan, units(walk), floor)


def elsewhere(walk: River, unit: Unit) -> dict:
    """Another process draws the unit; its shard lies in the run's store, and its commit is returned."""
    store, run, painter = Store(f"memory://{uuid.uuid4().hex}", retry_s=0), layout.Run("other", "run"), Fake(Fake.Options())
    generate.work_unit(store, painter, painter.load("", "none", "cpu"), walk.plan.recipe, walk.plan.classes[0], unit, walk.plan.batch_size,
                       run="other", starts=Starts(store, run), meter=Meter(store, run, "generate", gpus=0, cpus=1))
    record = json.loads(store.read(layout.commit(walk.plan.recipe.id, unit)))
    walk.store.create(record["data"], store.read(record["data"]))
    return record


def test_a_commit_that_wins_while_the_unit_is_drawn_and_leaves_a_sample_out_ends_the_room(walk: River) -> None:
    unit = units(walk)[0]
    record = elsewhere(walk, unit)
    record |= {"made": record["made"] - 1, "ids": record["ids"][1:]}

    def win() -> None:
        while not walk.store.list(walk.keys.starts(unit.name)):
            time.sleep(0.05)
        assert walk.store.create(layout.commit(walk.plan.recipe.id, unit), lineage.canonical(record).encode())

    other = threading.Thread(target=win)
    other.start()
    with pytest.raises(JobError, match="8 samples were asked for, 7 made and 0 failed: some got lost") as caught:
        drawn(walk)
    other.join()
    assert caught.value.exit_code == 70
    with pytest.raises(DataError, match=f"{unit.name}.json tells of 3 made and 0 failed, and 4 were asked for"):
        generate.commits(walk.store, walk.plan, units(walk))


def test_an_image_that_is_not_in_the_shard_of_its_commit_ends_the_room_that_measures(walk: River) -> None:
    drawn(walk)
    key = layout.commit(walk.plan.recipe.id, units(walk)[1])
    record = json.loads(walk.store.read(key))
    data = shards.table_bytes(shards.read(walk.store.read(record["data"])).slice(1))
    record |= {"sha256": lineage.sha256(data), "data": layout.shard(walk.plan.recipe.id, units(walk)[1], lineage.sha256(data))}
    walk.store.create(record["data"], data)
    walk.store.replace(key, lineage.canonical(record).encode())
    with pytest.raises(JobError, match="8 images were to be scored, 7 were and 0 could not be: some got lost"):
        measured(walk)


def test_a_unit_without_a_commit_is_not_measured_and_a_lost_score_is_measured_again(walk: River) -> None:
    drawn(walk)
    key = layout.commit(walk.plan.recipe.id, units(walk)[1])
    record = walk.store.read(key)
    walk.store.delete(key)
    with pytest.raises(DataError, match=f"{units(walk)[1].name} is not committed → run again to draw it"):
        measured(walk)
    walk.store.create(key, record)
    assert measured(walk).blind == 0
    done = generate.commits(walk.store, walk.plan, units(walk))
    before = measure.scores(walk.store, walk.plan, done)
    walk.store.delete(layout.scores(walk.plan.metrics[0].digest, walk.plan.recipe.id, units(walk)[0].name))
    assert measured(walk) == Measured(4, 4, 0)
    assert measure.scores(walk.store, walk.plan, done).equals(before)
