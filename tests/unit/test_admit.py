"""Which run is this? Known work is found without looking at the data; what disagrees is named; a plan is frozen once."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from job import admit, plan, preview
from job.__main__ import main
from job.errors import ConflictError, DataError, SettingsError, TemporaryError
from job.ground import layout
from job.ground.store import Store
from job.records import Split
from job.runplan import RunPlan
from job.settings import Settings, load
from tests.folders import class_folders, encoded, picture, write
from tests.unit.made_run import draw_unit

pytestmark = pytest.mark.unit
Make = Callable[..., Settings]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Settings of a job on 2 × 40 small images in a folder; names are written without prefix."""
    write(tmp_path / "real", class_folders({"cat": 40, "dog": 40}, seed=5))

    def of(**environ: str) -> Settings:
        base = {"ROOT": str(tmp_path / "root"), "REAL__NAME": "image_folder", "REAL__OPTIONS__URL": str(tmp_path / "real"),
                "GENERATOR__NAME": "fake", "MEASURE__METRICS": "{}", "FILTER__KIND": "none", "SWEEP__ALPHAS": "0,.5"}
        return load([], {f"SALTWORKS_{name}": value for name, value in (base | environ).items()})

    return of


def admitted(settings: Settings, store: Store | None = None) -> tuple[RunPlan, Split]:
    """What a start of the job does before its first room."""
    store, chosen = store or admit.open_store(settings), plan.choose_plugs(settings)
    return admit.known(store, settings, chosen) or admit.freeze(store, settings, chosen, *admit.draft(store, settings, chosen))


def same(one: tuple[RunPlan, Split], other: tuple[RunPlan, Split]) -> bool:
    return one[0] == other[0] and one[1].classes == other[1].classes and one[1].table.equals(other[1].table)


def test_the_same_settings_and_data_are_the_same_run(make: Make) -> None:
    first = admitted(make())
    assert same(admitted(make()), first)
    assert same(admitted(make(PRICE__CURRENCY="EUR", GENERATOR__ACTORS="3", STORAGE__RETRY_S="1")), first)
    store = Store(make().root)
    assert same(admit.read(store, "digits", first[0].run), first)
    assert len([key for key, _ in store.list("") if key.endswith("plan.json")]) == 1


def test_other_settings_or_other_data_are_another_run(make: Make, tmp_path: Path) -> None:
    runs = {admitted(make())[0].run, admitted(make(SWEEP__SEEDS="2"))[0].run, admitted(make(GENERATOR__SEED="2"))[0].run}
    write(tmp_path / "real", {"cat/new.png": encoded(picture(9999))})
    runs.add(admitted(make())[0].run)
    assert len(runs) == 4


@pytest.mark.parametrize("by", ["SUBMISSION", "EDITION"])
def test_a_known_submission_or_edition_finds_its_run_without_looking_at_the_data(by: str, make: Make, tmp_path: Path) -> None:
    first = admitted(make(**{by: "monday"}))
    write(tmp_path / "real", {"cat/new.png": encoded(picture(9999))})
    assert same(admitted(make(**{by: "monday"})), first)
    shutil.rmtree(tmp_path / "real")
    assert same(admitted(make(**{by: "monday"})), first)
    for environ in ({by: "tuesday"}, {}):
        with pytest.raises(DataError, match="nothing to read at"):
            admitted(make(**environ))


@pytest.mark.parametrize("by", ["SUBMISSION", "EDITION"])
def test_a_name_that_was_planned_with_other_settings_is_a_conflict_and_the_difference_is_told(by: str, make: Make) -> None:
    admitted(make(**{by: "monday"}))
    with pytest.raises(ConflictError) as caught:
        admitted(make(**{by: "monday"}, SWEEP__SEEDS="7", GENERATOR__OPTIONS__NOISE=".5"))
    assert caught.value.exit_code == 73
    assert "'monday' was planned with other settings: generator.options:" in str(caught.value)
    assert "sweep.seeds: 5 there, 7 now" in str(caught.value)
    assert '"noise":0.25' in str(caught.value)
    assert "train.steps" not in str(caught.value)
    assert f"set SALTWORKS_{by} to a new name" in caught.value.cure


@pytest.mark.parametrize("by", ["SUBMISSION", "EDITION"])
def test_free_settings_are_todays_when_a_run_goes_on(by: str, make: Make) -> None:
    first, split = admitted(make(**{by: "monday"}))
    again, its = admitted(make(**{by: "monday"}, GENERATOR__BATCH_SIZE="2", GENERATOR__FAILED_SHARE=".5"))
    assert (again.run, again.batch_size, again.failed_share, again.price) == (first.run, 2, 0.5, first.price)
    assert admitted(make(**{by: "monday"}, PRICE__PER_GPU_HOUR="9"))[0].price.per_gpu_hour == 9   # it had no price
    assert its.table.equals(split.table)


def test_a_dataset_of_other_classes_is_a_conflict(make: Make, tmp_path: Path) -> None:
    admitted(make())
    write(tmp_path / "real", class_folders({"eel": 40}, seed=500))
    with pytest.raises(ConflictError, match=r"dataset 'digits' exists with other classes: .*'dog'\] there, .*'dog', 'eel'\] now") as caught:
        admitted(make())
    assert caught.value.exit_code == 73
    assert admitted(make(DATASET="animals"))[0].dataset == "animals"


def test_the_first_run_of_a_recipe_fixes_its_units(make: Make) -> None:
    small, large = admitted(make())[0], admitted(make(SWEEP__ALPHAS="0,.9"))[0]
    assert small.recipe == large.recipe
    assert large.unit_size == small.unit_size
    elsewhere = admitted(make(SWEEP__ALPHAS="0,.9", GENERATOR__SEED="1"))[0]
    assert elsewhere.unit_size > small.unit_size
    assert admitted(make(GENERATOR__UNIT_SIZE="8", GENERATOR__SEED="1"))[0].unit_size == elsewhere.unit_size


class Dying(Store):
    """A store in whose hands the process dies before it writes a key."""

    dies_at = "?"

    def create(self, key: str, data: bytes) -> bool:
        if self.dies_at in key:
            raise TemporaryError("preempted")
        return super().create(key, data)


@pytest.mark.parametrize("name", ["dataset.json", "recipe.json", "split.parquet", "editions/", "plan.json", "submissions/"])
def test_a_start_that_died_at_any_write_is_taken_up_again(name: str, make: Make, tmp_path: Path) -> None:
    settings = make(EDITION="monday", SUBMISSION="one")
    store = Dying(settings.root)
    store.dies_at = name
    with pytest.raises(TemporaryError):
        admitted(settings, store)
    reborn = admitted(settings)
    assert same(reborn, admitted(make(EDITION="monday", SUBMISSION="one", ROOT=str(tmp_path / "undisturbed"))))
    shutil.rmtree(tmp_path / "real")
    assert same(admitted(settings), reborn)


def test_a_split_that_was_begun_on_other_images_is_not_mixed_with_todays(make: Make, tmp_path: Path) -> None:
    settings = make(EDITION="monday")
    store = Dying(settings.root)
    store.dies_at = "plan.json"
    with pytest.raises(TemporaryError):
        admitted(settings, store)
    write(tmp_path / "real", {"cat/new.png": encoded(picture(9999))})
    with pytest.raises(ConflictError, match="was begun on other real images → set SALTWORKS_EDITION to a new name"):
        admitted(settings)


def test_starts_at_the_same_time_agree_on_one_plan(make: Make) -> None:
    with ThreadPoolExecutor(4) as starts:
        found = list(starts.map(lambda number: admitted(make(SUBMISSION=f"s{number}", EDITION="monday")), range(4)))
    assert all(same(one, found[0]) for one in found)


def test_a_run_that_is_not_there_is_data_that_is_missing(make: Make) -> None:
    store = admit.open_store(make())
    with pytest.raises(DataError, match=r"there is no digits/runs/0123/plan\.json below"):
        admit.read(store, "digits", "0123")
    planned, _ = admitted(make())
    key = layout.Run("digits", planned.run).plan()
    store.replace(key, json.dumps({name: value for name, value in json.loads(store.read(key)).items() if name != "quotas"}).encode())
    with pytest.raises(ConflictError, match=f"the plan of run {planned.run} lacks 'quotas'"):
        admit.read(store, "digits", planned.run)


def test_a_split_of_which_one_bit_is_another_or_that_is_gone_is_told_with_its_key_and_its_cure(make: Make) -> None:
    settings = make(EDITION="monday")
    planned, split = admitted(settings)
    store, key = Store(settings.root), layout.Run("digits", planned.run).split()
    whole = store.read(key)
    for at in range(0, len(whole), len(whole) // 7):
        store.replace(key, whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(DataError) as caught:
            admitted(settings)
        assert str(caught.value) == f"{key} does not hold what was committed → restore it, or set SALTWORKS_EDITION to a new name"
    store.delete(key)
    with pytest.raises(DataError, match=f"there is no {key} below"):
        admitted(settings)
    assert admitted(make(EDITION="tuesday"))[1].table.equals(split.table)
    store.replace(key, whole)
    assert same(admitted(settings), (planned, split))


def test_a_root_in_memory_is_refused_before_anything_starts(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match="SALTWORKS_ROOT='memory://x' lives in one process"):
        admit.open_store(make(ROOT="memory://x"))
    for verb in ("run", "plan", "report"):
        assert main([verb, "--root", "memory://x", "--generator.name", "fake"]) == 64
        assert "use a folder or a bucket" in capsys.readouterr().err


def test_fewer_images_than_the_largest_alpha_needs_are_refused_before_anything_is_written(make: Make) -> None:
    with pytest.raises(SettingsError, match="the largest α needs more synthetic images than are planned"):
        admitted(make(GENERATOR__IMAGES_PER_CLASS="3"))
    assert Store(make().root).list("") == []


def test_too_many_unusable_files_end_the_planning(make: Make, tmp_path: Path) -> None:
    write(tmp_path / "real", {"cat/torn.png": b"not a picture"})
    with pytest.raises(DataError, match=r"1 of 81 real files cannot be used, more than the share of 0.01: cat/torn.png"):
        admitted(make())
    assert admitted(make(REAL__REFUSED_SHARE=".02"))[1].table.num_rows == 80


def test_a_plan_is_told_in_words_and_nothing_is_written(make: Make) -> None:
    settings = make(PRICE__PER_GPU_HOUR="2.5", PRICE__SOURCE="a list")
    store, chosen = admit.open_store(settings), plan.choose_plugs(settings)
    drafted, *_ = admit.draft(store, settings, chosen)
    text = preview.text(store, drafted)
    assert store.list("") == []
    units = plan.first_round(drafted)
    for words in (drafted.run, store.shown, f"{sum(drafted.n_train)} train, {drafted.n_val} validation, {drafted.n_test} locked test",
                  f"{len(units)} units of {drafted.unit_size} ({len(units)} to draw, 0 there already)", "2.5 USD per GPU-hour (a list",
                  f"0 (0), 0.5 ({sum(drafted.n_train)})", "not known before a first unit"):
        assert words in text
    planned, _ = admitted(settings)
    draw_unit(store, planned, units[0])
    before = store.list("")
    text = preview.text(store, planned)
    assert f"({len(units) - 1} to draw, 1 there already)" in text
    assert "at the measured" in text
    assert store.list("") == before
    assert "no price is set, so no cost is stated" in preview.text(store, admit.draft(store, make(), chosen)[0])
