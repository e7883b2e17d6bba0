"""``gc`` takes what nobody names, and nothing else, whenever it dies and whoever works beside it."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import DataError
from job.generate import read_commit
from job.ground import layout, lineage
from job.ground.files import TEMPORARY
from job.ground.store import Store
from job.publish import inventory, records
from job.publish.gc import Garbage, gc
from job.publish.verify import verify
from job.records import Unit
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import Crash, Dying, contents, folder, publish_it

pytestmark = pytest.mark.unit
OLD_S, GRACE_S = 100_000.0, 50_000.0
OTHER = ("--generator.seed=7",)                                    # another recipe
FEWER = (*OTHER, "--sweep.alphas=0,.5")                            # the same, of which fewer images are wanted


class Place:
    """A root with everything in it that may and may not go."""

    def __init__(self, root: Path, real: Path) -> None:
        self.store = folder(root)
        self.kept = make_run(self.store, real)
        publish_it(self.kept)
        self.spent = make_run(self.store, real, flags=OTHER)       # finished, published nothing
        self.working = make_run(self.store, real, dataset="zoo", flags=FEWER, finished=False)
        self.litter = set(self._litter(self.kept)) | set(self._litter(self.spent))
        self._litter(self.working)
        for key, _, _ in self.store.ages("", partial=True):
            age(root, key, OLD_S)

    def _litter(self, made: Made) -> list[str]:
        """What attempts leave behind, below one run and beside its images; returns what is nobody's."""
        keys, recipe, unit = made.keys, made.planned.recipe.id, made.committed[0].unit
        stray = Unit(unit.class_key, unit.label, 900_000, 900_008)
        below = [keys.stop("p1"), keys.error("t-1"), keys.compiled("c"), keys.compiled_data("c", "0" * 64)]
        below += [keys.filtered(unit.class_key, "0" * 16), keys.trial_data("t", "0" * 64)]
        below += [keys.mix("0" * 64)] if made is self.kept else []
        shared = [layout.shard(recipe, stray, "a" * 64), layout.scores("m", recipe, stray.name),
                  f"{made.planned.dataset}/runs/{TEMPORARY}x-plan.json"]
        lost = [] if made is getattr(self, "spent", None) else [layout.shard(recipe, unit, "b" * 64)]
        for key in [*below, *shared, *lost]:
            self.store.create(key, b"{}")
        starts = [key for key, _ in self.store.list(f"{keys.root}starts/")]
        return [*below, *shared, *lost, *starts]

    @property
    def needed(self) -> set[Unit]:
        """Units of the unfinished run."""
        return {one.unit for one in self.working.committed}


def age(root: Path, key: str, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(root / key, (then, then))


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Place:
    home = tmp_path_factory.mktemp("gc")
    return Place(home / "root", home / "real")


@pytest.fixture
def fresh(ready: Place, tmp_path: Path) -> Callable[[], Store]:
    """The same place, a copy each time; ages are copied too."""
    def copy() -> Store:
        target = tmp_path / f"copy-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(ready.store.url, target)
        return folder(target)

    return copy


def sound(store: Store, ready: Place) -> None:
    """Every version verifies, no commit lacks its data, and the unfinished run has all that it drew."""
    for dataset in ("pets", "zoo"):
        for number in records.numbers(store, dataset):
            assert verify(store, dataset, number).problems == ()
    for key, _ in store.list("synthetic/"):
        if "/commits/" in key:
            told = json.loads(store.read(key))
            assert lineage.sha256(store.read(told["data"])) == told["sha256"]
    for one in ready.working.committed:
        assert read_commit(store, ready.working.planned.recipe, one.unit) == one
    assert len(store.list(f"{ready.working.keys.root}rounds/")) == ready.working.rounds


def only_spent(ready: Place) -> set[str]:
    """Commits, data and scores of units that the finished, unpublished run alone has drawn."""
    recipe = ready.spent.planned.recipe.id
    units = {one.unit.name for one in ready.spent.committed} - {unit.name for unit in ready.needed}
    assert units
    return {key for key, _ in ready.store.list("") if (found := inventory.unit_of(key)) and found[0] == recipe and found[1] in units}


def keys(found: tuple[Garbage, ...]) -> set[str]:
    return {one.key for one in found}


def test_what_nobody_names_is_told_and_nothing_else(ready: Place, fresh: Callable[[], Store]) -> None:
    found = gc(fresh(), "pets", GRACE_S, confirm=False)
    stray = layout.shard(ready.working.planned.recipe.id, ready.working.committed[0].unit, "b" * 64)
    assert keys(found) == ready.litter | only_spent(ready) | {stray}
    assert not [one for one in keys(found) if one.startswith("zoo/")]   # another dataset's
    assert all(one.reason and one.age_s > GRACE_S for one in found)
    assert {one.key: one.bytes for one in found}.items() <= dict(ready.store.list("")).items() | {
        one.key: one.bytes for one in found if TEMPORARY in one.key}.items()


def test_telling_changes_nothing_and_removing_removes_what_was_told(ready: Place, fresh: Callable[[], Store]) -> None:
    store = fresh()
    before = contents(store)
    told = gc(store, "pets", GRACE_S, confirm=False)
    assert contents(store) == before
    removed = gc(store, "pets", GRACE_S, confirm=True)
    assert [(one.key, one.bytes, one.reason) for one in removed] == [(one.key, one.bytes, one.reason) for one in told]
    assert contents(store) == {key: data for key, data in before.items() if key not in keys(told)}
    assert gc(store, "pets", GRACE_S, confirm=False) == ()
    sound(store, ready)


def test_of_a_unit_the_commit_goes_before_its_data_and_after_its_scores(ready: Place, fresh: Callable[[], Store]) -> None:
    order = [(inventory.unit_of(one.key), one.key) for one in gc(fresh(), "pets", GRACE_S, confirm=False)]
    commits = {unit: at for at, (unit, key) in enumerate(order) if "/commits/" in key}
    assert commits
    for at, (unit, key) in enumerate(order):
        if unit in commits and key.startswith("scores/"):
            assert at < commits[unit]
        elif unit in commits and "/data/" in key:
            assert at > commits[unit]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_removal_that_dies_anywhere_leaves_nothing_broken_and_the_next_ends_it(
    done: bool, ready: Place, fresh: Callable[[], Store]
) -> None:
    store = fresh()
    whole = len(gc(store, "pets", GRACE_S, confirm=True))
    left = contents(store)
    for changes in range(0, whole, 3 if done else 2):
        store = fresh()
        with pytest.raises(Crash):
            gc(Dying(store.url, changes, done), "pets", GRACE_S, confirm=True)
        sound(store, ready)
        gc(store, "pets", GRACE_S, confirm=True)
        assert contents(store) == left


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_nothing_young_is_removed_and_what_remains_is_sound(
    ready: Place, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    root = tmp_path_factory.mktemp("young") / "root"
    shutil.copytree(ready.store.url, root)
    everything = [key for key, _, _ in ready.store.ages("", partial=True)]
    young = data.draw(st.sets(st.sampled_from(everything), max_size=30))
    for key in young:
        age(root, key, 10)
    found = gc(folder(root), "pets", GRACE_S, confirm=True)
    assert not keys(found) & young
    sound(folder(root), ready)


def test_nothing_is_old_enough_for_a_longer_grace(ready: Place, fresh: Callable[[], Store]) -> None:
    assert gc(fresh(), "pets", 2 * OLD_S, confirm=True) == ()


def test_a_run_that_finished_a_moment_ago_keeps_its_images_and_can_publish(ready: Place, fresh: Callable[[], Store]) -> None:
    store = fresh()
    age(Path(store.url), ready.spent.keys.done(), 10)
    assert not keys(gc(store, "pets", GRACE_S, confirm=True)) & only_spent(ready)
    assert publish_it(ready.spent, store)[0].number == 2
    sound(store, ready)


def test_the_images_of_another_dataset_are_its_own_to_give_up(ready: Place, fresh: Callable[[], Store]) -> None:
    assert not keys(gc(fresh(), "zoo", GRACE_S, confirm=True)) & only_spent(ready)


def test_a_run_whose_units_are_not_frozen_yet_keeps_its_whole_recipe(ready: Place, fresh: Callable[[], Store]) -> None:
    store = fresh()
    for key, _ in store.list(f"{ready.working.keys.root}rounds/"):
        store.delete(key)
    recipe = ready.spent.planned.recipe.id
    assert not [key for key in keys(gc(store, "pets", GRACE_S, confirm=True)) if recipe in key]


def test_data_of_a_unit_that_is_begun_wait_for_their_commit(ready: Place, fresh: Callable[[], Store]) -> None:
    store, one = fresh(), ready.working.committed[0]
    store.delete(layout.commit(ready.working.planned.recipe.id, one.unit))
    gc(store, "pets", GRACE_S, confirm=True)
    assert store.get(one.key) is not None


def test_a_run_that_begins_between_report_and_removal_is_respected(ready: Place, fresh: Callable[[], Store], tmp_path: Path) -> None:
    class Meanwhile(Store):
        looks = 0

        def ages(self, prefix: str, partial: bool = False) -> list[tuple[str, int, float]]:
            self.looks += 1
            if self.looks == 2:
                make_run(Store(self.url, 0), tmp_path / "real", dataset="ark", flags=OTHER, finished=False)
            return super().ages(prefix, partial)

    store = fresh()
    removed = gc(Meanwhile(store.url, 0), "pets", GRACE_S, confirm=True)
    assert removed
    assert not keys(removed) & only_spent(ready)
    sound(store, ready)


@pytest.mark.parametrize("broken", ["version", "plan", "round"])
def test_what_cannot_be_read_may_name_anything_so_nothing_is_removed(broken: str, ready: Place, fresh: Callable[[], Store]) -> None:
    store = fresh()
    key = {"version": layout.version("pets", 1), "plan": ready.working.keys.plan(), "round": ready.working.keys.round(1)}[broken]
    store.replace(key, b"{")
    before = contents(store)
    with pytest.raises(DataError, match=key.rpartition("/")[2].replace(".", r"\.")):
        gc(store, "pets", 0, confirm=True)
    assert contents(store) == before


def test_without_its_version_a_run_is_as_any_other_that_published_nothing(ready: Place, fresh: Callable[[], Store]) -> None:
    store = fresh()
    store.create(layout.version_file("pets", 1, "README.md"), b"card")
    age(Path(store.url), layout.version_file("pets", 1, "README.md"), OLD_S)
    store.delete(layout.version("pets", 1))
    removed = keys(gc(store, "pets", GRACE_S, confirm=True))
    assert {one.key for one in ready.kept.committed} <= removed
    assert layout.version_file("pets", 1, "README.md") in removed
    sound(store, ready)


def test_an_empty_root_and_an_unknown_dataset_have_no_garbage(tmp_path: Path, fresh: Callable[[], Store]) -> None:
    assert gc(folder(tmp_path / "empty"), "pets", 0, confirm=True) == ()
    assert not [key for key in keys(gc(fresh(), "pest", GRACE_S, confirm=False)) if key.startswith(("pets", "zoo"))]
