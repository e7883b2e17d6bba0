"""The whole job on local Ray with the fake generator: on a folder, on a bucket, again, and in part."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from job import admit, plugs, settings, sweep
from job.errors import SettingsError
from job.ground import layout
from job.ground.events import Events
from job.ground.store import Store
from job.real.digits import cut, draw, label
from job.records import refuse_synthetic
from job.run import redo_report
from tests.flow.conftest import SMALL, Opened

pytestmark = [pytest.mark.flow, pytest.mark.timeout(900)]   # two whole jobs, on cores that may be busy elsewhere


def objects(root: str, prefix: str) -> dict[str, bytes]:
    """Every object below the prefix of a root."""
    store = Store(root)
    return {key: store.read(key) for key, _ in store.list(prefix)}


def without_clock(objects: dict[str, bytes]) -> dict[str, object]:
    """Commits without the seconds that they took, and the processes that took them."""
    return {
        key: {name: value for name, value in json.loads(data).items() if not name.endswith("_s") and name not in ("seconds", "process")}
        if key.endswith(".json") else data
        for key, data in objects.items()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flow")


@pytest.fixture
def finished(folder: Path, job: Callable) -> tuple:
    """The small job on a folder, done once for the module."""
    return job(folder)


def test_folder_and_bucket_give_the_same_ids_the_same_bytes_and_the_same_alpha(
    finished: tuple, folder: Path, bucket: str, job: Callable
) -> None:
    report, _ = finished
    other, _ = job(bucket)
    assert other.run == report.run
    assert without_clock(objects(str(folder), "synthetic/")) == without_clock(objects(bucket, "synthetic/"))
    trials = f"digits/runs/{report.run}/trials/"
    assert without_clock(objects(str(folder), trials)) == without_clock(objects(bucket, trials))
    assert (other.alpha_star, other.gain, other.verdict, other.arms) == (report.alpha_star, report.gain, report.verdict, report.arms)


def test_the_report_says_what_was_planned_and_what_became_of_it(finished: tuple, folder: Path) -> None:
    report, where = finished
    counts = report.counts
    assert counts.planned == counts.kept + counts.rejected + counts.failed + counts.unused
    assert [arm.n_synthetic for arm in report.arms] == [0, 80]
    assert {arm.samples_seen for arm in report.arms} == {40 * 64}
    assert {path.name for path in Path(where).iterdir()} == {"mixing_sweep.png", "report.html", "report.json"}
    assert set(report.confirmed[0].seeds).isdisjoint(report.arms[0].seeds)


def test_a_finished_run_repeats_nothing_and_reads_a_handful_of_objects(
    finished: tuple, folder: Path, job: Callable, opened: Opened
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    opened.below, opened.paths = str(folder), []
    again, _ = job(folder)
    opened.below = ""
    assert again == finished[0]
    assert len(opened.paths) <= 20   # whatever the run has drawn
    changed = {path for path in folder.rglob("*") if path.is_file() and before.get(path) != path.stat().st_mtime_ns}
    assert {path.parent.name for path in changed} <= {"submissions"}


def test_a_lost_trial_is_fitted_again_and_nothing_else(finished: tuple, folder: Path, job: Callable) -> None:
    keys = layout.Run("digits", finished[0].run)
    records = sorted((folder / f"{keys.root}trials").glob("*.json"))
    kept = {path: path.stat().st_mtime_ns for path in records[1:]}
    was = json.loads(records[0].read_text())
    records[0].unlink()
    (folder / keys.done()).unlink()
    again, _ = job(folder)
    assert json.loads(records[0].read_text())["sha256"] == was["sha256"]
    assert {path: path.stat().st_mtime_ns for path in records[1:]} == kept
    assert (again.gain, again.arms) == (finished[0].gain, finished[0].arms)


def test_the_report_can_be_made_again_without_ray(finished: tuple, folder: Path) -> None:
    chosen = settings.load([*SMALL, "--root", str(folder)])
    path = folder / layout.Run("digits", finished[0].run).report("report.html")
    path.unlink()
    again, _ = redo_report(chosen, Events("json"))
    assert path.exists()
    assert again.arms == finished[0].arms


def test_the_trial_at_alpha_zero_predicts_exactly_as_a_plain_loop_does(finished: tuple, folder: Path) -> None:
    store = Store(str(folder))
    planned, _ = admit.read(store, "digits", finished[0].run)
    found = next(one for one in (sweep.read_result(store, planned, Path(key).stem)
                 for key, _ in store.list(f"digits/runs/{planned.run}/trials/") if key.endswith(".json"))
                 if one.alpha == 0 and one.judged_on == "val")

    def pixels(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        from PIL import Image

        images = [np.asarray(Image.fromarray(draw(row)).resize((16, 16), Image.Resampling.BICUBIC)) for row in cut()[part]]
        return torch.tensor(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1, torch.tensor([label(r) for r in cut()[part]])

    (x, y), (val_x, val_y) = pixels("train"), pixels("val")
    task = plugs.find({"classification": "job.tasks.classification:Classification"}, "classification", "")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for seed, correct in zip(found.seeds, found.correct_SN, strict=True):
            torch.manual_seed(seed)
            model = task(task.Options(), classes=10, size_px=16).build().to(memory_format=torch.channels_last)
            optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0, fused=True)
            rng = np.random.default_rng(seed)
            stream = np.concatenate([rng.permutation(80) for _ in range(32)])
            for step in range(40):
                rows = stream[step * 64 : (step + 1) * 64]
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
                optimiser.step()
            model.eval()
            with torch.no_grad():
                assert ((model(val_x).argmax(1) == val_y).numpy() == correct.astype(bool)).all()
    finally:
        torch.set_num_threads(threads)


def test_more_images_than_are_supplied_are_refused_with_the_number_missing(tmp_path: Path, job: Callable) -> None:
    with pytest.raises(SettingsError, match="30 missing"):
        job(tmp_path, "--generator.images_per_class", "5")
    assert not list(tmp_path.iterdir())


def test_nothing_synthetic_stands_in_the_judged_parts(finished: tuple, folder: Path) -> None:
    _, split = admit.read(Store(str(folder)), "digits", finished[0].run)
    for part in ("val", "test"):
        refuse_synthetic(split.part(part)["id"].to_pylist())
    assert len(split.part("val")) == 200
    assert len(split.part("test")) == 617




@pytest.mark.long
def test_halving_gives_the_worse_half_no_further_seeds_and_the_report_says_so(tmp_path: Path, job: Callable) -> None:
    report, _ = job(tmp_path, "--sweep.alphas", "0,.2,.4,.6", "--sweep.seeds", "3", "--sweep.halving", "true", "--train.steps", "20")
    often = {arm.alpha: len(arm.seeds) for arm in report.arms}
    assert often.pop(0.0) == 3
    assert sorted(often.values()) == [2, 3, 3]
    assert often[report.candidate] == 3
    assert often.get(report.argmax_alpha, 3) == 3
    assert "halving" in report.held["seeds"]
    assert len(objects(str(tmp_path), f"digits/runs/{report.run}/trials/")) == 2 * (4 + 3 + 2)   # a record and its data each
