"""What the plan prints: a sum wherever price and rate are known, and otherwise what is unknown and until when."""

import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from job import admit, plan, preview
from job.errors import SettingsError
from job.ground import layout
from job.ground.store import Store
from job.records import Unit
from job.runplan import Price, RunPlan
from job.settings import Settings, load
from tests.folders import encoded, picture, write

pytestmark = pytest.mark.unit
REAL = {f"{part}/{name}/{number}.png": encoded(picture(seed * 10 + number, 16, 16))
        for seed, (part, name) in enumerate([(part, name) for part in ("train", "val", "test") for name in ("cat", "dog")])
        for number in range(2)}
BOTH = Price(2.0, 0.5, "USD", "a list", "2026-01-01")


class Counted(Store):
    """A store that counts what is read."""

    reads = 0

    def read(self, key: str) -> bytes:
        self.reads += 1
        return super().read(key)


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    """Two classes of 800 synthetic images in units of 8; 2 alphas × 3 seeds, then 2 × 5."""
    folder: Path = tmp_path_factory.mktemp("real")
    chosen = load([], {
        "SALTWORKS_ROOT": str(folder / "root"), "SALTWORKS_REAL__NAME": "image_folder",
        "SALTWORKS_REAL__OPTIONS__URL": write(folder / "real", REAL), "SALTWORKS_GENERATOR__NAME": "fake",
        "SALTWORKS_MEASURE__METRICS": "{}", "SALTWORKS_FILTER__KIND": "none", "SALTWORKS_SWEEP__ALPHAS": "0,.5",
        "SALTWORKS_SWEEP__SEEDS": "3", "SALTWORKS_SWEEP__CONFIRM_SEEDS": "5",
    })
    made = admit.draft(admit.open_store(chosen), chosen, plan.choose_plugs(chosen))[0]
    return replace(made, unit_size=8, quotas=(800, 800))


@pytest.fixture
def store() -> Counted:
    return Counted(f"memory://preview/{uuid.uuid4().hex}")


def commit(store: Store, planned: RunPlan, count: int, seconds: float = 72) -> None:
    """The first ``count`` units, each in so many seconds: most of them draw, a tenth encodes, a quarter stores."""
    record = json.dumps({"failed": [], "data": "", "sha256": "", "bytes": 0, "made": 8, "draw_s": 0.65 * seconds, "encode_s": 0.1 * seconds,
                         "spent_s": {"load": 500, "upload": 0.25 * seconds}, "origin": ["", "", ""], "run": "another"}).encode()
    for unit in plan.first_round(planned)[:count]:
        store.create(layout.commit(planned.recipe.id, unit), record)


def fit(store: Store, planned: RunPlan, count: int, seconds: float) -> None:
    for number in range(count):
        key = layout.Run(planned.dataset, planned.run).trial(f"trial-{number}")
        store.create(key, json.dumps({"seconds": seconds, "seeds": [1, 2, 3]}).encode())
        store.create(key.replace(".json", "-x.parquet"), b"")


def test_without_a_price_no_sum_is_stated(store: Counted, planned: RunPlan) -> None:
    commit(store, planned, 3)
    told = preview.text(store, planned)
    assert "no price is set, so no cost is stated" in told
    assert "about" not in told.partition("price ")[2]


def test_before_a_first_unit_the_plan_says_what_is_unknown_and_until_when(store: Counted, planned: RunPlan) -> None:
    told = preview.text(store, replace(planned, price=BOTH))
    assert told.count("to draw 1600 images: not known before a first unit of this recipe is drawn") == 1
    assert "to draw 1600 images: the seconds of one are not known before a first unit of this recipe is drawn" in told
    assert "to fit all 26 trainings: the seconds of one are not known before a first trial of this run is fitted" in told
    assert "2 USD per GPU-hour, 0.5 USD per CPU-hour (a list, 2026-01-01)" in told


@pytest.mark.parametrize(("drawer", "sum_of_it"), [   # 150 units of 72 s are 3 hours
    ((1, 0), "about 1.50 USD to draw 1200 images (3 worker-hours × 1 CPU × 0.5 USD)"),
    ((4, 0), "about 6.00 USD to draw 1200 images (3 worker-hours × 4 CPU × 0.5 USD)"),
    ((4, 0.5), "about 3.00 USD to draw 1200 images (3 worker-hours × 0.5 GPU × 2 USD)"),
    ((1, 2), "about 12.00 USD to draw 1200 images (3 worker-hours × 2 GPU × 2 USD)")])
def test_a_price_and_a_measured_rate_give_a_sum_for_what_a_worker_holds(
    drawer: tuple[float, float], sum_of_it: str, store: Counted, planned: RunPlan
) -> None:
    commit(store, planned, 50)
    told = preview.text(store, replace(planned, price=BOTH), drawer=drawer)
    assert sum_of_it in told
    assert "3 worker-hours to draw 1200 images, at the measured 9 s each" in told
    assert "(150 to draw, 50 there already)" in told


def test_trainings_are_priced_by_the_trials_of_this_run(store: Counted, planned: RunPlan) -> None:
    fit(store, planned, 2, seconds=2700)   # 900 s each: 26 of them are 6.5 hours
    fit(store, replace(planned, run="another"), 1, seconds=1)
    told = preview.text(store, replace(planned, price=BOTH), trainer=(8, 1))
    assert "6.5 worker-hours to fit all 26 trainings, at the measured 900 s each" in told
    assert "about 13.00 USD to fit all 26 trainings (6.5 worker-hours × 1 GPU × 2 USD)" in told


def test_a_price_of_the_other_kind_gives_no_sum_but_names_the_setting(store: Counted, planned: RunPlan) -> None:
    commit(store, planned, 3)
    told = preview.text(store, replace(planned, price=replace(BOTH, per_gpu_hour=None)), drawer=(1, 1))
    assert "to draw 1576 images: not known, as a worker is billed by the GPU and SALTWORKS_PRICE__PER_GPU_HOUR is not set" in told


def test_thirty_thousand_units_are_looked_up_not_searched_and_few_are_read(
    store: Counted, planned: RunPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = replace(planned, quotas=(120_000, 120_000))
    commit(store, large, 2000)
    fit(store, large, 12, seconds=3)
    compared = []
    monkeypatch.setattr(Unit, "__eq__", lambda self, other: compared.append(1) or self is other)
    told = preview.text(store, large)
    assert "in 30000 units of 8 (28000 to draw, 2000 there already)" in told
    assert len(compared) <= 30_000
    assert store.reads == preview.MEASURED + 12   # of the units a few, of the trials each: their seeds are counted


def test_seeds_that_cannot_be_trained_together_are_refused_before_anything_is_spent(store: Counted, planned: RunPlan) -> None:
    together = replace(planned, task_options='{"model": "resnet18"}', schedule=replace(planned.schedule, together="always"))
    with pytest.raises(SettingsError, match="SALTWORKS_TRAIN__TOGETHER=always, and the model has 60 buffers"):
        preview.affordable(store, Settings(), together)
    preview.affordable(store, Settings(), replace(together, task_options="{}"))
