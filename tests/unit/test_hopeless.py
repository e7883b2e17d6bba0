"""Retries of a hopeless submission end at once; what may pass, and what was repaired, goes on."""

from pathlib import Path

import pytest

from job.__main__ import main
from job.errors import AccessError, BudgetError, ConflictError, DataError, JobError, SettingsError, TemporaryError
from job.ground import layout
from job.ground.store import Store
from job.hopeless import remembered
from job.settings import load
from tests.folders import class_folders, encoded, picture, write

pytestmark = pytest.mark.unit


def attempt(root: Path, error: Exception | None, submission: str = "uid-1") -> bool:
    """Whether the attempt got as far as doing anything."""
    chosen = load([], {"SALTWORKS_ROOT": str(root), "SALTWORKS_SUBMISSION": submission})
    begun = False
    with remembered(Store(chosen.root, 1), chosen):
        begun = True
        if error:
            raise error
    return begun


@pytest.mark.parametrize("error", [kind("a", "b") for kind in (SettingsError, DataError, ConflictError, JobError)] + [KeyError("x")])
def test_a_hopeless_error_is_met_again_without_doing_anything(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        attempt(tmp_path, error)
    with pytest.raises(JobError, match="has met this before") as caught:
        attempt(tmp_path, None)
    assert caught.value.exit_code == getattr(error, "exit_code", 70)
    assert attempt(tmp_path, None, "uid-2")   # a repaired submission starts


@pytest.mark.parametrize("error", [TemporaryError("a"), BudgetError("a"), AccessError("a"), KeyboardInterrupt()])
def test_what_may_pass_blocks_nobody(error: BaseException, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        attempt(tmp_path, error)   # type: ignore[arg-type]
    assert attempt(tmp_path, None)
    assert Store(str(tmp_path)).list("digits/terminal/") == []


def test_what_is_written_down_tells_no_secret(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        attempt(tmp_path, DataError("nothing at s3://key:hunter2@bucket/x?sig=hunter2", "look"))
    data = Store(str(tmp_path)).read(layout.terminal("digits", "uid-1"))
    assert b"hunter2" not in data


def test_through_the_front_door_a_retry_ends_with_the_same_code_and_a_repaired_submission_gets_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write(tmp_path / "photos", class_folders({"cat": 12, "dog": 12}) | {"eel/readme.md": b"no image"})
    flags = ["--root", str(tmp_path / "root"), "--real.name", "image_folder", "--real.options.url", photos, "--real.refused_share", "1",
             "--generator.name", "fake"]
    assert main(["run", *flags, "--submission", "uid-1"]) == 65
    first = capsys.readouterr().err
    write(tmp_path / "photos", {f"eel/{number}.png": encoded(picture(9000 + number)) for number in range(40)})
    assert main(["run", *flags, "--submission", "uid-1"]) == 65
    assert "has met this before" in capsys.readouterr().err
    assert "eel" in first
    assert main(["plan", *flags, "--submission", "uid-2"]) == 0
