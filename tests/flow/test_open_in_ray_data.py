"""Ray Data opens the published set: the page's snippet on a real Ray."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.loading import demo_output, run_snippets

pytestmark = pytest.mark.flow


def test_ray_data_opens_the_export_as_images_with_their_classes(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, version = demo_output(tmp_path)
    monkeypatch.chdir(tmp_path)
    rows = run_snippets("Ray Data")["images"].take_all()
    assert len(rows) == len({row["id"] for row in rows}) == version.mix.n_synthetic
    assert {row["id"] for row in rows} <= made.ids("kept")
    assert Counter(row["label"] for row in rows) == {one.name: one.in_mix for one in version.classes}
    assert all(row["pixels"].dtype == np.uint8 and row["pixels"].shape == (16, 16, 3) for row in rows)
