"""What ends a run and how: failures beyond their share, outages again and again, and secrets of URLs on the way."""

import errno
import json
import uuid
from pathlib import Path

import pytest

from job import admit, generate, plan
from job.__main__ import main
from job.errors import DataError, QualityError, TemporaryError, full_disk
from job.ground import layout
from job.ground.starts import MOST, Starts
from job.ground.store import Store
from job.records import Unit
from job.settings import load
from tests.folders import class_folders, write
from tests.unit.made_run import draw_unit

pytestmark = pytest.mark.unit
RUN = layout.Run("dataset", "run")
CANARY = "canary-4711"


def drawn(tmp_path: Path, bad: str, allowed: str):   # type: ignore[no-untyped-def]
    """A run of which every unit of the first round is drawn."""
    photos = write(tmp_path / "photos", class_folders({"cat": 40, "dog": 40}))
    chosen = load([], {
        "SALTWORKS_ROOT": str(tmp_path / "root"), "SALTWORKS_REAL__NAME": "image_folder", "SALTWORKS_REAL__OPTIONS__URL": photos,
        "SALTWORKS_GENERATOR__NAME": "fake", "SALTWORKS_GENERATOR__OPTIONS__BLANK_SHARE": bad, "SALTWORKS_MEASURE__METRICS": "{}",
        "SALTWORKS_FILTER__KIND": "none", "SALTWORKS_SWEEP__ALPHAS": "0,.5", "SALTWORKS_GENERATOR__FAILED_SHARE": allowed})
    store, plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
    planned, _ = admit.freeze(store, chosen, plugs, *admit.draft(store, chosen, plugs))
    units = plan.first_round(planned)
    for unit in units:
        draw_unit(store, planned, unit)
    return store, planned, units


def test_more_failures_than_their_share_end_in_65_with_a_reason_and_the_cure(tmp_path: Path) -> None:
    store, planned, units = drawn(tmp_path, "0.9", "0.3")
    with pytest.raises(QualityError, match=r"of \d+ samples failed, more than the share of 0\.3: blank") as caught:
        generate.commits(store, planned, units)
    assert caught.value.exit_code == 65
    assert "SALTWORKS_GENERATOR__FAILED_SHARE" in caught.value.cure


def test_fewer_failures_than_their_share_are_told_and_go_on(tmp_path: Path) -> None:
    store, planned, units = drawn(tmp_path, "0.5", "0.5")
    found = generate.commits(store, planned, units)
    assert sum(len(one.failed) + one.made for one in found) == sum(unit.hi - unit.lo for unit in units)


def test_starts_of_earlier_sessions_stand_in_nobodys_way() -> None:
    store, unit = Store(f"memory://{uuid.uuid4().hex}", retry_s=0), Unit("cat-1", 0, 0, 8)
    for number in range(5):   # an outage ends each session after some starts
        for _ in range(MOST // 4):
            Starts(store, RUN, session=f"session-{number}").begin(unit)
    late = Starts(store, RUN, session="repaired")
    for _ in range(MOST - 1):
        late.begin(unit)
    late.begin(unit)
    with pytest.raises(DataError, match="was begun"):
        late.begin(unit)


def test_units_without_a_commit_pass_when_run_again(tmp_path: Path) -> None:
    store, planned, units = drawn(tmp_path, "0", "0")
    store.delete(layout.commit(planned.recipe.id, units[0]))
    with pytest.raises(TemporaryError, match="have no commit"):
        generate.commits(store, planned, units)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_without_room_passes_whoever_meets_it(number: int) -> None:
    assert full_disk(OSError(number, "No space left on device", "/tmp/x")).exit_code == 75   # type: ignore[union-attr]
    assert full_disk(OSError(errno.EACCES, "no")) is None
    assert full_disk(ValueError("x")) is None


def test_no_secret_of_a_url_is_frozen_with_the_plan(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", class_folders({"cat": 40, "dog": 40}))
    environ = {
        "SALTWORKS_ROOT": str(tmp_path / "root"), "SALTWORKS_REAL__NAME": "image_folder", "SALTWORKS_REAL__OPTIONS__URL": photos,
        "SALTWORKS_GENERATOR__NAME": "fake", "SALTWORKS_MEASURE__METRICS": "{}", "SALTWORKS_FILTER__KIND": "none",
        "SALTWORKS_SWEEP__ALPHAS": "0,.5", "SALTWORKS_SUBMISSION": "monday"}
    chosen = load([], environ)
    store, plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
    drafted = admit.draft(store, chosen, plugs)
    told = load([], environ | {"SALTWORKS_REAL__OPTIONS__URL": f"http://me:{CANARY}@host/photos?X-Signature={CANARY}"})
    others = plan.choose_plugs(told)
    secret = plan.refresh(drafted[0], told, others)
    assert CANARY in secret.source_options
    planned, _ = admit.freeze(store, told, others, secret, *drafted[1:])
    assert CANARY in planned.source_options   # who goes on brings it
    written = [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if CANARY.encode() in path.read_bytes()]
    frozen, _ = admit.read(store, planned.dataset, planned.run)
    assert json.loads(frozen.source_options)["url"].startswith("http://***@host")


def test_the_file_of_a_defect_tells_no_secret(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    from job import verbs

    def broken(settings: object, events: object) -> str:
        raise ValueError(f"nothing at s3://key:{CANARY}@bucket/x?sig={CANARY}")

    monkeypatch.setitem(verbs.VERBS, "plan", (broken, ""))   # type: ignore[arg-type]
    assert main(["plan"]) == 70
    (file,) = tmp_path.glob("saltworks-defect-*.txt")
    assert "Traceback" in file.read_text()
    assert CANARY not in file.read_text() + capsys.readouterr().err
