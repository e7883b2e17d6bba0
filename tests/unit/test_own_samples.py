"""A sample that comes back among the real images is recognised, even without its metadata."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from job import admit, plan
from job.errors import DataError
from job.generate import commits, own_marks, read_shard
from job.settings import load
from tests.folders import class_folders, write
from tests.unit.made_run import draw_unit

pytestmark = pytest.mark.unit


def stripped(data: bytes) -> bytes:
    """The same pixels in a new PNG, with nothing beside them."""
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(out, "BMP")
    return out.getvalue()


@pytest.fixture
def drafted(tmp_path: Path):   # type: ignore[no-untyped-def]
    def start(photos: Path, **more: str):   # type: ignore[no-untyped-def]
        chosen = load([], {
            "SALTWORKS_ROOT": str(tmp_path / "root"), "SALTWORKS_REAL__NAME": "image_folder", "SALTWORKS_REAL__OPTIONS__URL": str(photos),
            "SALTWORKS_GENERATOR__NAME": "fake", "SALTWORKS_GENERATOR__SIZE_PX": more.pop("SIZE_PX", "16"),
            "SALTWORKS_MEASURE__METRICS": "{}", "SALTWORKS_FILTER__KIND": "none", "SALTWORKS_SWEEP__ALPHAS": "0,.5", **more})
        store, plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
        return store, chosen, plugs, admit.draft(store, chosen, plugs)
    return start


@pytest.mark.parametrize("size", ["16", "128"])   # PNG and JPEG
def test_a_sample_drawn_here_is_refused_among_real_images_without_its_mark(size: str, drafted, tmp_path: Path) -> None:   # type: ignore[no-untyped-def]
    photos = Path(write(tmp_path / "photos", class_folders({"cat": 40, "dog": 40})))
    store, chosen, plugs, made = drafted(photos, SIZE_PX=size)
    planned, _ = admit.freeze(store, chosen, plugs, *made)
    unit = plan.first_round(planned)[0]
    draw_unit(store, planned, unit)
    (done,) = commits(store, planned, [unit])
    marks = json.loads(store.read(f"synthetic/{planned.recipe.id}/commits/{unit.name}.json"))["marks"]
    assert own_marks(store, frozenset([*marks, "0" * 16])) == set(marks)
    assert len(marks) == done.made
    images = [row["bytes"] for row in read_shard(store, done)["image"].to_pylist()]
    (photos / "cat" / "back.bmp").write_bytes(stripped(images[0]))
    with pytest.raises(DataError, match=r"1 of 81 real images are generated: cat/back.bmp in train") as caught:
        drafted(photos, SIZE_PX=size)
    assert caught.value.exit_code == 65
    assert "SALTWORKS_REAL__GENERATED_IN_TRAIN" in caught.value.cure
    _, _, _, (_, split, _) = drafted(photos, SIZE_PX=size, SALTWORKS_REAL__GENERATED_IN_TRAIN="true")
    part = dict(zip(split.table["id"].to_pylist(), split.table["part"].to_pylist(), strict=True))
    assert part["cat/back.bmp"] in ("train", "aside")
