"""Real files that cannot be used are reported with a reason, those set aside are counted, and no secret is told with them."""

import json
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from job import admit, choosing, plan, report
from job.filtering import tally
from job.ground import layout
from job.ground.cost import Ledger
from job.ground.store import Store
from job.records import DECISION_SCHEMA, Split
from job.report.assemble import REFUSED
from job.report.model import Report
from job.results import Choice, TrialResult
from job.runplan import RunPlan
from job.settings import load
from tests.folders import encoded, picture, write

pytestmark = pytest.mark.unit
REAL = {f"{part}/{name}/{number}.png": encoded(picture(100 * at + number, 16, 16))
        for at, (part, name) in enumerate([(part, name) for part in ("train", "val", "test") for name in ("cat", "dog")])
        for number in range(4)}
COPY = {"train/cat/copy.png": REAL["test/cat/0.png"], "train/cat/again.png": REAL["val/cat/0.png"]}
TORN = {"train/dog/torn.png": REAL["train/dog/0.png"][:50], "train/cat/empty.png": b""}
URL = "s3://key:Zq-7/se@cr'et@bucket/x?sig=\"q\"&tok=Zq-7"


def frozen(tmp_path: Path, files: dict[str, bytes], **more: str) -> tuple[Store, RunPlan, Split]:
    chosen = load([], {
        "SALTWORKS_ROOT": str(tmp_path / "root"), "SALTWORKS_REAL__NAME": "image_folder", "SALTWORKS_REAL__REFUSED_SHARE": ".5",
        "SALTWORKS_REAL__OPTIONS__URL": write(tmp_path / "real", files), "SALTWORKS_GENERATOR__NAME": "fake",
        "SALTWORKS_MEASURE__METRICS": "{}", "SALTWORKS_FILTER__KIND": "none", "SALTWORKS_SWEEP__ALPHAS": "0,.5", **more,
    })
    store, plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
    return store, *admit.freeze(store, chosen, plugs, *admit.draft(store, chosen, plugs))


def measured(alpha: float, judged_on: str, n_images: int) -> TrialResult:
    """A made-up result; two seeds that agree on nothing."""
    values: dict[str, Any] = {field.name: (1.0, 1.0) for field in fields(TrialResult) if field.name.endswith("_S")}
    correct = np.random.default_rng(int(8 * alpha)).integers(0, 2, (2, n_images)).astype(np.uint8)
    return TrialResult(**values | {
        "trial": "t", "alpha": alpha, "realised_alpha": alpha, "n_real": 8, "n_synthetic": 0, "samples_seen": 8, "seeds": (1, 2),
        "judged_on": judged_on, "correct_SN": correct, "seconds": 1.0,
    })


def written(store: Store, planned: RunPlan, split: Split, warnings: Sequence[str] = ()) -> tuple[Report, str]:
    """The report on a run in which nothing was drawn, and its text in the store."""
    on_val = [measured(alpha, "val", planned.n_val) for alpha in (0.0, 0.5)]
    baseline, candidate = (measured(alpha, "test", planned.n_test) for alpha in (0.0, 0.5))
    keys = layout.Run(planned.dataset, planned.run)
    made = report.write(store, report.Found(
        planned, split, {words.key: tally(words, DECISION_SCHEMA.empty_table(), pa.table({"unit": []}), 0, 8) for words in planned.classes},
        (), 1, on_val,
        Choice(0.5, 0.5, 0.0, 0.5), 1, candidate, baseline, choosing.verdict(candidate, baseline),
    ), warnings, {}, Ledger(store, keys))
    return made, store.read(keys.report("report.json")).decode()


def test_files_that_cannot_be_used_are_frozen_and_reported_each_with_its_reason(tmp_path: Path) -> None:
    store, planned, split = frozen(tmp_path, REAL | TORN)
    key = layout.Run(planned.dataset, planned.run).refused()
    stored = json.loads(store.read(key))
    assert sorted(item for item, _ in stored) == sorted(TORN)
    assert all(reason for _, reason in stored)
    made, _ = written(store, planned, split, ["another"])
    assert made.n_refused == 2
    assert made.refused == [f"{item}: {reason}" for item, reason in stored]
    assert made.warnings == ["another", f"2 real files could not be used, see {key}: {made.refused[0]}"]


def test_a_run_whose_files_can_all_be_used_says_so_without_a_warning(tmp_path: Path) -> None:
    store, planned, split = frozen(tmp_path, REAL)
    assert json.loads(store.read(layout.Run(planned.dataset, planned.run).refused())) == []
    made, _ = written(store, planned, split)
    assert (made.n_refused, made.refused, made.warnings, made.aside) == (0, [], [], {})


def test_only_the_first_of_many_are_named_and_all_are_counted(tmp_path: Path) -> None:
    store, planned, split = frozen(tmp_path, REAL)
    many = [[f"{number}.png", f"torn at {URL}"] for number in range(100)]
    store.replace(layout.Run(planned.dataset, planned.run).refused(), json.dumps(many).encode())
    made, text = written(store, planned, split)
    assert (made.n_refused, len(made.refused)) == (100, REFUSED)
    assert made.warnings[0].startswith("100 real files could not be used")
    assert "Zq-7" not in text


def test_what_a_second_freeze_finds_does_not_replace_the_first(tmp_path: Path) -> None:
    store, planned, _ = frozen(tmp_path, REAL | TORN)
    key = layout.Run(planned.dataset, planned.run).refused()
    before = store.read(key)
    (tmp_path / "real" / "train" / "cat" / "late.png").write_bytes(b"torn")   # no edition of the usable ones
    assert frozen(tmp_path, REAL | TORN)[1].run == planned.run
    assert store.read(key) == before


def test_images_set_aside_are_counted_by_reason_and_all_copies_together(tmp_path: Path) -> None:
    store, planned, split = frozen(tmp_path, REAL | COPY, SALTWORKS_SPLIT__TRAIN_CAP="3")
    rows = split.table.to_pylist()
    rows.append(rows[0] | {"id": "stray", "part": "aside", "reason": "set aside by the source"})
    made, _ = written(store, planned, Split(split.classes, pa.Table.from_pylist(rows, split.table.schema)))
    assert made.aside == {"beyond the cap": 2, "identical to another": 2, "set aside by the source": 1}
    assert sum(made.aside.values()) == planned.n_aside + 1


def test_the_secret_of_a_source_never_reaches_the_report(tmp_path: Path) -> None:
    store, planned, split = frozen(tmp_path, REAL)
    leaky = json.dumps({"url": URL, "more": [{"url": URL}], "max_pixels": 99})
    planned = replace(planned, source_options=leaky, generator_options=json.dumps({"model": URL}))
    made, text = written(store, planned, split)
    page = store.read(layout.Run(planned.dataset, planned.run).report("report.html")).decode()
    assert "Zq-7" not in text + page
    shown = "s3://***@bucket/x?***"
    assert json.loads(str(made.settings["source_options"])) == {"url": shown, "more": [{"url": shown}], "max_pixels": 99}
    assert json.loads(made.generator["options"]) == {"model": shown}
