"""Bad input through the front door: one readable line, the right exit code, and nothing written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from job.__main__ import main
from tests.folders import class_folders, write

pytestmark = pytest.mark.unit
Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs the job with these flags, which must end with this exit code: what it said."""
    def start(code: int, *flags: str) -> str:
        root = tmp_path / "root"
        assert main(["run", "--root", str(root), "--storage.retry_s", "1", *flags]) == code
        said = capsys.readouterr().err.splitlines()
        assert said[-1].startswith("saltworks: ")
        assert " → " in said[-1]
        assert not any("Traceback" in line for line in said)
        assert not root.exists()
        return said[-1]
    return start


def test_a_setting_that_does_not_exist_ends_with_64(refuse: Refuse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALTWORKS_SWEEP__SEDES", "3")
    assert "did you mean SALTWORKS_SWEEP__SEEDS?" in refuse(64)


def test_an_alpha_outside_0_and_1_ends_with_64_naming_value_and_limit(refuse: Refuse) -> None:
    said = refuse(64, "--sweep.alphas", "0,1.5")
    assert "1.5" in said
    assert "less than or equal to 1" in said


def test_a_bucket_that_is_not_there_ends_with_65(refuse: Refuse, bucket: str) -> None:
    said = refuse(65, "--real.name", "image_folder", "--real.options.url", "s3://no-such-bucket-4711/photos")
    assert "no-such-bucket-4711" in said


def test_a_class_without_an_image_ends_with_65_naming_it(refuse: Refuse, tmp_path: Path) -> None:
    url = write(tmp_path / "photos", class_folders({"cat": 12, "dog": 12}) | {"eel/readme.md": b"no image"})
    assert "eel" in refuse(65, "--real.name", "image_folder", "--real.options.url", url, "--real.refused_share", "1")


def test_labels_that_do_not_match_end_with_65_naming_them(refuse: Refuse, tmp_path: Path) -> None:
    url = write(tmp_path / "photos", class_folders({"train/cat": 5, "train/dog": 5, "val/cat": 5, "val/elk": 5}))
    said = refuse(65, "--real.name", "image_folder", "--real.options.url", url)
    assert "dog" in said or "elk" in said


def test_a_model_folder_with_pickled_weights_ends_with_65_naming_the_file(refuse: Refuse, tmp_path: Path) -> None:
    model = write(tmp_path / "model", {"unet/diffusion_pytorch_model.bin": b"pickle", "model_index.json": b"{}"})
    assert "diffusion_pytorch_model.bin" in refuse(65, "--generator.options.model", model)
