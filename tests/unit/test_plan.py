"""The cold plan: what a run is called, and what is refused before a GPU is rented."""

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from job import plan, plugs, splitting
from job.errors import DataError, SettingsError
from job.generators import GENERATORS
from job.ground import lineage
from job.metrics import SAMPLE_METRICS
from job.real import SOURCES
from job.records import INDEX_SCHEMA, RealIndex, Refusal
from job.runplan import RunPlan
from job.settings import Settings, env_name, leaves, load
from job.tasks import TASKS
from tests.unit.made_index import SMALL, index_of

pytestmark = pytest.mark.unit
BASE = {"SALTWORKS_GENERATOR__NAME": "fake"}
CHANGED = {   # another value of every setting
    "root": "s3://elsewhere/x", "dataset": "other", "edition": "tick", "submission": "again", "progress": "json", "real.name": "cifar10",
    "real.options": '{"max_pixels": 99}', "real.refused_share": ".5", "split.val_share": ".3", "split.test_share": ".3",
    "split.train_cap": "50", "generator.name": "text_to_image", "generator.options": '{"noise": 0.5}', "generator.seed": "1",
    "generator.templates": '["the {name}"]', "generator.descriptions": '{"cat": "a kitten"}', "generator.size_px": "64",
    "generator.images_per_class": "99", "generator.unit_size": "24", "generator.batch_size": "3", "generator.failed_share": ".5",
    "generator.actors": "2", "generator.cpus_per_actor": ".5", "generator.gpus_per_actor": "1", "generator.device": "cpu",
    "generator.peak_tflops": "790", "generator.tflop_per_image": "50.7",
    "generator.resource": "draws", "sweep.resource": "trains", "measure.metrics": "{}",
    "filter.kind": "quota", "filter.score": "clipscore.own", "filter.minimum": "1", "filter.oversample": "2", "filter.max_rounds": "4",
    "mixing.allocation": "equal", "mixing.only": '["cat"]', "mixing.supply": "all", "mixing.weighting": "loss",
    "task.options": '{"flip": true}', "train.size_px": "32", "train.steps": "7", "train.batch_size": "8",
    "train.learning_rate": ".1", "train.weight_decay": ".1", "train.threads": "2", "train.epochs": "3",
    "train.precision": "bf16", "train.compile": "true", "train.together": "never", "sweep.arms": '["unfiltered"]',
    "sweep.curves": '{"placebo": [0.5]}', "sweep.augmentation": '{"flip": true}', "sweep.objective": "balanced_accuracy",
    "sweep.objective_classes": '["cat"]', "sweep.guard": ".1", "sweep.alphas": "0,.5", "sweep.seeds": "6",
    "sweep.confirm_seeds": "11", "sweep.parallel_trials": "2", "sweep.cpus_per_trial": ".5", "sweep.gpus_per_trial": "1",
    "sweep.fit_deadline_s": "60", "sweep.halving": "true", "split.folds": "4", "split.repeats": "3", "split.fold": "1",
    "price.per_gpu_hour": "2", "price.per_cpu_hour": ".1", "price.currency": "EUR", "price.source": "a list", "price.date": "2026-01-01",
    "storage.retry_s": "5", "stop_grace_s": "3", "gpu_wait_s": "7", "expects": '{"KEY": "secret/key"}',
    "budget_usd": "7", "privacy": "true", "retries": "2", "kubernetes.manifest": "job.yaml", "kubernetes.namespace": "ns",
    "kubernetes.tick": "tick-1", "kubernetes.owner": "job/uid", "kubernetes.history": "5",
    "doctor.gpu": "true", "doctor.cpu": "true", "doctor.most_images": "64",
    "image_digest": "sha256:1", "code_digest": "abc", "real.generated_in_train": "true",
    "split.near_duplicate_bits": "2", "split.table": "parts.csv", "generator.unit_deadline_s": "60", "publish.when_done": "false",
    "publish.move_latest": "always", "publish.licences": '["MIT"]', "publish.version": "3", "publish.confirm": "true",
    "publish.gc_grace_s": "60", "publish.export_to": "elsewhere", "publish.export_format": "webdataset",
    "publish.export_what": "kept", "publish.export_mb": "64",
}
FOLDER = {"SALTWORKS_REAL__NAME": "image_folder", "SALTWORKS_REAL__OPTIONS__URL": "x"}
RECALL = {"SALTWORKS_SWEEP__OBJECTIVE": "recall", "SALTWORKS_SWEEP__OBJECTIVE_CLASSES": '["dog"]'}
ONLY_DOGS = {"SALTWORKS_MIXING__ALLOCATION": "only", "SALTWORKS_MIXING__ONLY": '["dog"]', "SALTWORKS_SWEEP__ALPHAS": "0,.5"}
FOLD = {"SALTWORKS_SPLIT__FOLDS": "5", "SALTWORKS_SPLIT__FOLD": "0"}
ALONG = {"split.folds": FOLD, "split.repeats": FOLD, "split.fold": FOLD,
         "mixing.only": ONLY_DOGS, "mixing.weighting": {"SALTWORKS_MIXING__SUPPLY": "all"}, "sweep.objective_classes": RECALL,
         "real.name": FOLDER, "real.options": FOLDER, "measure.metrics": {"SALTWORKS_FILTER__KIND": "none"}}   # what it needs beside it
ONLY = {"task.name"}   # there is but one


def plan_of(environ: dict[str, str], index: RealIndex = SMALL, weights: str = "none", clip: str = "c", unit: int | None = None) -> RunPlan:
    settings = load([], BASE | environ)
    chosen = plan.choose_plugs(settings)
    split = splitting.split(index, settings.split)
    return plan.make(settings, chosen, split, settings.edition or plan.index_digest(index), weights=weights, unit_size=unit,
                     metric_weights=dict.fromkeys(chosen.metrics, clip), alphas=settings.sweep.alphas, quotas=(45, 30))


@pytest.mark.parametrize("path", [path for path, _ in leaves(Settings) if ".".join(path) not in ONLY], ids=".".join)
def test_a_run_is_named_by_its_identity_settings_and_by_no_other(path: tuple[str, ...]) -> None:
    field, name = dict(leaves(Settings))[path], ".".join(path)
    along = ALONG.get(name, {})
    index = index_of([(label, f"{label}-{number}", "") for label in (0, 1) for number in range(12)]) if along == FOLD else SMALL
    before, after = plan_of(along, index), plan_of(along | {env_name(path): CHANGED[name]}, index)
    assert (before.run != after.run) == field.json_schema_extra["identity"]
    if not field.json_schema_extra["identity"]:
        allowed = {"batch_size", "failed_share", "unit_deadline_s", "fit_deadline_s", "price"}
        assert replace(after, **{one: getattr(before, one) for one in allowed}) == before


@pytest.mark.parametrize("path", [path for path, field in leaves(Settings) if field.default is not None], ids=".".join)
def test_a_default_that_is_spelt_out_is_still_the_default(path: tuple[str, ...]) -> None:
    default = dict(leaves(Settings))[path].default
    spelt = {env_name(path): default if isinstance(default, str) else json.dumps(default)}
    assert lineage.canonical(load([], spelt).identity()) == lineage.canonical(load([], {}).identity())


@pytest.mark.parametrize(("table", "name"), [(table, name) for table in (SOURCES, GENERATORS, TASKS, SAMPLE_METRICS) for name in table])
def test_an_option_of_a_plug_that_is_spelt_out_is_still_the_default(table: dict[str, str], name: str) -> None:
    plug = plugs.find(table, name, "")
    needed = {one: "x" for one, field in plug.Options.model_fields.items() if field.is_required()}
    plain = plugs.options(plug, needed, "")
    for one, field in plug.Options.model_fields.items():
        assert one == one.lower()   # or the environment could not name it
        if one not in needed and field.default is not None:
            spelt = field.default if isinstance(field.default, str) else json.dumps(field.default)
            assert plugs.identity(plugs.options(plug, needed | {one: spelt}, "")) == plugs.identity(plain)


def test_where_data_and_weights_lie_is_nothing_and_what_they_are_is_everything() -> None:
    big = {"SALTWORKS_GENERATOR__NAME": "text_to_image"}
    moved = big | {"SALTWORKS_GENERATOR__OPTIONS__MODEL": "/else", "SALTWORKS_MEASURE__METRICS__CLIPSCORE__MODEL": "/where"}
    assert plan_of(moved, weights="w").run == plan_of(big, weights="w").run
    assert plan_of(moved, weights="w").recipe == plan_of(big, weights="w").recipe
    assert plan_of(FOLDER).run == plan_of(FOLDER | {"SALTWORKS_REAL__OPTIONS__URL": "y", "SALTWORKS_REAL__OPTIONS__READERS": "3"}).run
    assert plan_of({"SALTWORKS_TASK__OPTIONS__FLIP": "false", "SALTWORKS_GENERATOR__OPTIONS__NOISE": ".25"}).run == plan_of({}).run
    runs = [plan_of(big, weights=one, clip=other) for one in ("w", "v") for other in ("c", "d")]
    assert len({one.run for one in runs}) == 4
    assert len({one.recipe.id for one in runs}) == 2


def test_a_frozen_plan_takes_todays_free_settings_and_no_other() -> None:
    frozen = plan_of({})
    today = load([], BASE | {"SALTWORKS_GENERATOR__OPTIONS__SECONDS_PER_IMAGE": "1", "SALTWORKS_GENERATOR__BATCH_SIZE": "7",
                             "SALTWORKS_GENERATOR__FAILED_SHARE": "0.5", "SALTWORKS_PRICE__PER_GPU_HOUR": "3"})
    fresh = plan.refresh(frozen, today, plan.choose_plugs(today))
    assert json.loads(fresh.generator_options)["seconds_per_image"] == 1
    assert (fresh.batch_size, fresh.failed_share) == (6, 0.5)   # 6 is the largest divisor of the unit of 24 up to 7
    assert fresh.price.per_gpu_hour == 3   # nothing was priced yet
    same = {one: getattr(frozen, one) for one in ("generator_options", "batch_size", "failed_share", "price")}
    assert replace(fresh, **same) == frozen
    later = load([], BASE | {"SALTWORKS_PRICE__PER_GPU_HOUR": "9"})
    assert plan.refresh(fresh, later, plan.choose_plugs(later)).price == fresh.price   # a run has one bill


def test_the_digest_of_the_real_images_is_their_content() -> None:
    rows = SMALL.table.to_pylist()

    def digest(rows: list[dict], refused: int = 0) -> str:
        return plan.index_digest(RealIndex(SMALL.classes, pa.Table.from_pylist(rows, INDEX_SCHEMA), (Refusal("x", "y"),) * refused))

    assert digest(rows[::-1], 2) == digest([row | {"locator": "moved"} for row in rows]) == plan.index_digest(SMALL)
    changes = [{"id": "other"}, {"label": 1}, {"digest": "other"}, {"published": "val"}, {"group": "g"}]
    assert len({digest([rows[0] | change, *rows[1:]]) for change in [{}, *changes]} | {digest(rows[1:])}) == 7


@given(st.sampled_from(["auto", 1, 7, 24, 256]), st.integers(1, 300), st.sampled_from([None, 16, 48]), st.sampled_from(["none", "quota"]))
def test_units_are_aligned_whole_and_enough_and_batches_divide_them(asked: str | int, batch: int, fixed: int | None, kind: str) -> None:
    made = plan_of({"SALTWORKS_GENERATOR__UNIT_SIZE": str(asked), "SALTWORKS_GENERATOR__BATCH_SIZE": str(batch),
                    "SALTWORKS_FILTER__KIND": kind}, unit=fixed)
    assert made.unit_size == (fixed or (24 if asked == "auto" else asked))
    assert made.unit_size % made.batch_size == 0
    assert made.batch_size <= batch
    units = plan.first_round(made)
    for label, quota in enumerate(made.quotas):
        mine = [unit for unit in units if unit.label == label]
        wanted = quota * (1.5 if kind == "quota" else 1)
        assert [(one.lo, one.hi) for one in mine] == [(at * made.unit_size, (at + 1) * made.unit_size) for at in range(len(mine))]
        assert wanted <= len(mine) * made.unit_size < wanted + made.unit_size
        assert {one.class_key for one in mine} == {made.classes[label].key}
        (more, *_) = plan.units(made, label, mine[-1].hi, 1)
        assert (more.lo, more.hi) == (mine[-1].hi, mine[-1].hi + made.unit_size)


@given(st.integers(9, 10**6))
def test_a_unit_is_small_enough_for_two_in_the_largest_class(quota: int) -> None:
    settings = load([], BASE)
    made = plan.make(settings, plan.choose_plugs(settings), splitting.split(SMALL, settings.split), "e", weights="none", unit_size=None,
                     metric_weights={"clipscore": "c"}, alphas=(0, 0.5), quotas=(1, quota))
    assert made.unit_size % 8 == 0
    assert made.unit_size <= 256
    assert sum(unit.label == 1 for unit in plan.first_round(made)) >= 2


def test_confirm_seeds_are_fresh_and_more_seeds_keep_the_first_ones() -> None:
    few, many = plan_of({}), plan_of({"SALTWORKS_SWEEP__SEEDS": "1000", "SALTWORKS_SWEEP__CONFIRM_SEEDS": "1000"})
    assert len({*many.sweep_seeds, *many.confirm_seeds}) == 2000
    assert (many.sweep_seeds[:5], many.confirm_seeds[:10]) == (few.sweep_seeds, few.confirm_seeds)


class Masks:
    """A task that learns from masks."""

    label = "mask"

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)


@pytest.mark.parametrize(("environ", "problem"), [
    ({"SALTWORKS_GENERATOR__TEMPLATES": '["a {name}", "a photo"]'}, r"TEMPLATES has 'a photo' without \{name\}"),
    ({"SALTWORKS_GENERATOR__DESCRIPTIONS": '{"cow": "x"}'}, "DESCRIPTIONS describes 'cow', which is no class → classes: cat, dog"),
    ({"SALTWORKS_FILTER__SCORE": "clipscore.hue"}, "SCORE='clipscore.hue' is measured by no metric → use one of clipscore.own"),
    ({"SALTWORKS_MEASURE__METRICS": "{}"}, "measured by no metric → add a metric, or set SALTWORKS_FILTER__KIND=none"),
    ({"SALTWORKS_MEASURE__METRICS": '{"clipscor": {}}'}, "SALTWORKS_MEASURE__METRICS='clipscor' names no plug → did you mean 'clipscore'"),
    ({"SALTWORKS_GENERATOR__NAME": "fakke"}, "SALTWORKS_GENERATOR__NAME='fakke' names no plug → did you mean 'fake'"),
    ({"SALTWORKS_MEASURE__METRICS__CLIPSCORE__SIZE": "3"}, "SALTWORKS_MEASURE__METRICS__CLIPSCORE__SIZE='3': Extra"),
    ({"SALTWORKS_TASK__NAME": "masks"}, "generator 'fake' cannot promise mask labels for task 'masks'"),
])
def test_what_cannot_work_is_refused_with_its_cure(environ: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TASKS, "masks", "tests.unit.test_plan:Masks")   # one line of the table
    with pytest.raises(SettingsError, match=problem):
        plan_of(environ)


@given(st.integers(0, 30), st.floats(0, 1))
def test_too_many_unusable_files_are_refused_and_listed(bad: int, share: float) -> None:
    index = index_of([(0, number, "") for number in range(30)], refused=bad)
    if bad <= share * (30 + bad):
        plan.check_refused(index, share)
        return
    with pytest.raises(DataError, match=f"{bad} of {30 + bad} real files") as caught:
        plan.check_refused(index, share)
    assert all((f"f{number}: torn" in str(caught.value)) == (number < min(bad, 3)) for number in range(bad))
    assert ("more" in str(caught.value).partition("f0")[2].partition("→")[0]) == (bad > 3)


@pytest.mark.parametrize("more", [{"SALTWORKS_SWEEP__ALPHAS": "0,.5,1"}, {"SALTWORKS_SWEEP__ARMS": '["synthetic_only"]'}])
def test_synthetic_images_alone_are_not_trained_on_where_a_class_would_have_none(more: dict[str, str]) -> None:
    plan_of(ONLY_DOGS)
    with pytest.raises(SettingsError, match="no image of cat"):
        plan_of(ONLY_DOGS | more)
