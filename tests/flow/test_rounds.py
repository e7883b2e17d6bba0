"""Drawing, measuring and filtering in rounds, up to the point where every class has its images or cannot get them."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from job import admit, plan, settings
from job.errors import QualityError
from job.ground.events import Events
from job.records import STATES
from job.run import River
from job.runplan import Pool
from tests.flow.conftest import SMALL

pytestmark = pytest.mark.flow
POOLS = {"generate": Pool(2, 0.5, 0), "sweep": Pool(2, 0.5, 0)}


@pytest.fixture
def river(local_ray: None, tmp_path: Path) -> Callable[..., River]:
    """A run that is planned and frozen, ready to be drawn."""
    def start(*flags: str) -> River:
        chosen = settings.load([*SMALL, "--root", str(tmp_path), *flags])
        store, plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
        planned, split = admit.freeze(store, chosen, plugs, *admit.draft(store, chosen, plugs))
        return River(store, planned, split, Events("json"), POOLS)
    return start


def test_the_shards_do_not_depend_on_batch_size_or_number_of_actors(river: Callable, tmp_path: Path) -> None:
    def shards(folder: str, batch_size: int, actors: int) -> dict[str, bytes]:
        walk = river("--root", str(tmp_path / folder), "--generator.unit_size", "12", "--generator.batch_size", str(batch_size))
        walk.pools = {**POOLS, "generate": Pool(actors, 0.5, 0)}
        walk.draw()
        return {key: walk.store.read(key) for key, _ in walk.store.list(f"synthetic/{walk.plan.recipe.id}/data/")}

    alone = shards("alone", 3, 1)
    assert len(alone) == 10
    assert shards("together", 12, 3) == alone


def tables(river: River) -> dict[str, pa.Table]:
    """What was decided, as it stands in the store."""
    index = json.loads(river.store.read(river.keys.filtered_index()))
    return {key: pq.read_table(io.BytesIO(river.store.read(where))) for key, where in index.items()}


def states(river: River, decisions: dict) -> dict[str, int]:
    """How many of everything drawn are in each state; refuses a sample that is in none or in two."""
    found: dict[str, int] = {}
    for table in decisions.values():
        assert table["index"].to_pylist() == list(range(len(table)))
        for row in pc.value_counts(table["state"]).to_pylist():
            found[row["values"]] = found.get(row["values"], 0) + row["counts"]
    assert sum(found.values()) == sum(one.unit.hi - one.unit.lo for one in river.committed)
    return found


def test_a_quota_keeps_the_best_of_each_class_by_clipscore_and_rejects_the_rest_with_its_rank(river: Callable) -> None:
    walk = river("--generator.name", "text_to_image", "--measure.metrics", '{"clipscore": {}}', "--filter.kind", "quota",
                 "--filter.score", "clipscore.own", "--filter.oversample", "2", "--sweep.alphas", "0,.3", "--generator.options.steps", "8")
    tallies, rounds = walk.draw()
    decisions = tables(walk)
    found = states(walk, decisions)
    assert rounds == 1
    assert found["kept"] == sum(walk.plan.quotas)
    assert found["rejected"] == 10 * 8 - found["kept"]
    assert all({"clipscore.own", "clipscore.plain", "clipscore.margin"} <= set(one.means) for one in tallies.values())
    for table in decisions.values():
        kept, rejected = (table.filter(pc.equal(table["state"], word)) for word in ("kept", "rejected"))
        assert pc.min(kept["score"]).as_py() >= pc.max(rejected["score"]).as_py()
        assert all("ranks" in reason for reason in rejected["reason"].to_pylist())


def test_a_class_that_lost_images_is_refilled_in_rounds_that_are_frozen(river: Callable) -> None:
    walk = river("--generator.options.blank_share", "0.9", "--generator.failed_share", "1", "--filter.max_rounds", "30")
    tallies, rounds = walk.draw()
    decisions = tables(walk)
    found = states(walk, decisions)
    assert found == {state: count for state in STATES if (count := sum(one.states[state] for one in tallies.values()))}
    assert rounds > 1
    assert found["failed"] > 0
    assert all(pc.sum(pc.equal(table["state"], "kept")).as_py() == quota
               for table, quota in zip(decisions.values(), walk.plan.quotas, strict=True))
    frozen = [json.loads(walk.store.read(walk.keys.round(number))) for number in range(1, rounds + 1)]
    units = [tuple(unit) for one in frozen for unit in one]
    assert len(set(units)) == len(units) == len(walk.committed)
    again, same = River(walk.store, walk.plan, walk.split, walk.events, POOLS).draw()
    assert same == rounds
    assert all((again[key].kept == one.kept).all() for key, one in tallies.items())
    assert all(tables(walk)[key].equals(table) for key, table in decisions.items())


def test_a_class_that_cannot_get_its_images_ends_the_run_with_the_shortfall(river: Callable) -> None:
    walk = river("--measure.metrics", '{"clipscore": {}}', "--filter.kind", "threshold", "--filter.minimum", "99",
                 "--filter.max_rounds", "2")
    with pytest.raises(QualityError, match=r"0 of 8 images, .* and 7 more classes after 2 rounds: 80 missing") as caught:
        walk.draw()
    assert caught.value.exit_code == 65
    assert "SALTWORKS_FILTER__MINIMUM" in caught.value.cure
    assert walk.store.get(walk.keys.round(2)) is not None
    assert walk.store.get(walk.keys.done()) is None
