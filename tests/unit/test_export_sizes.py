"""Exported files are about as large as was asked for, and by default as large as readers at scale like them."""

from pathlib import Path

import pytest

from job.__main__ import main
from job.ground.store import Store
from job.settings_groups import PublishGroup
from tests.unit.exporting import KINDS, published
from tests.unit.made_run import flags_of

pytestmark = pytest.mark.unit
MB = 10**6


def test_by_default_a_file_has_a_quarter_to_one_gigabyte() -> None:
    assert 250 <= PublishGroup().export_mb <= 1000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A version whose images take several megabytes."""
    folder = tmp_path_factory.mktemp("sizes")
    published(folder, flags=("--generator.size_px=96", "--generator.images_per_class=72", "--generator.unit_size=24"))
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_but_the_last_has_half_to_twice_the_megabytes_that_were_asked_for(kind: str, root: Path, tmp_path: Path) -> None:
    flags = flags_of(Store(str(root / "root")), root / "real")
    assert main(["export", *flags, f"--publish.export_format={kind}", "--publish.export_mb=1", "--publish.export_what=kept",
                          f"--publish.export_to={tmp_path}"]) == 0
    to = Store(str(tmp_path))
    sizes = [size for key, size in to.list("") if key.endswith((".parquet", ".tar"))]
    assert len(sizes) >= 4
    assert all(0.5 * MB <= size <= 2 * MB for size in sizes[:-1]), sizes
    assert 0 < sizes[-1] <= 2 * MB
