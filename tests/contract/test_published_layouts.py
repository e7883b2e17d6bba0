"""Real libraries write, and our sources read: Hugging Face ``datasets`` and ``webdataset``, on a disk and in a bucket."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from PIL import Image

from job import splitting
from job.errors import DataError
from job.ground.store import ReadOnlyFolder, Store
from job.real import pixels
from job.real.parquet import Parquet
from job.real.webdataset import WebDataset
from job.settings import SplitGroup
from tests.folders import encoded, picture

pytestmark = pytest.mark.contract
NAMES = ["cat", "dog"]
SIZES = {"train": 8, "validation": 4, "test": 4}


def test_what_datasets_writes_for_the_hub_is_read_split_and_loaded(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES), "patient": datasets.Value("int32")})
    expected, seed = {}, 0
    (tmp_path / "hub" / "data").mkdir(parents=True)
    for part, count in SIZES.items():
        images = [Image.fromarray(picture(seed + number)) for number in range(count)]
        shard = f"data/{part}-00000-of-00001.parquet"
        expected |= {f"{shard}#{number}": pixels.digest(picture(seed + number)) for number in range(count)}
        made = datasets.Dataset.from_dict(
            {"image": images, "label": [number % 2 for number in range(count)], "patient": [seed + number // 2 for number in range(count)]},
            features=features)
        made.to_parquet(str(tmp_path / "hub" / shard))
        seed += count
    source = Parquet(Parquet.Options(url=str(tmp_path / "hub"), group="patient"), ReadOnlyFolder)
    index = source.index()
    assert (index.classes, index.refused) == (tuple(NAMES), ())
    assert dict(zip(index.table["id"].to_pylist(), index.table["digest"].to_pylist(), strict=True)) == expected
    split = splitting.split(index, SplitGroup())
    assert [split.part(part).num_rows for part in ("train", "val", "test", "aside")] == [8, 4, 4, 0]
    for part in ("train", "val", "test"):
        rows = split.part(part)
        assert [pixels.digest(image) for image in source.load(rows)] == rows["digest"].to_pylist()


def test_rows_that_only_point_at_image_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    files = [str(tmp_path / f"{number}.png") for number in range(4)]
    for number, file in enumerate(files):
        Image.fromarray(picture(number)).save(file)
    made = datasets.Dataset.from_dict({"image": files, "label": [0, 1, 0, 1]}, features=features)
    (tmp_path / "hub").mkdir()
    pq.write_table(made.data.table, tmp_path / "hub" / "train.parquet")   # as the library holds it in memory
    with pytest.raises(DataError, match=r"class 'cat' has 0 usable images.*train.parquet#0: its bytes are not in the file"):
        Parquet(Parquet.Options(url=str(tmp_path / "hub")), ReadOnlyFolder).index()


def test_shards_in_a_bucket_are_read_where_they_lie(bucket: str, tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "train-%02d.tar"), maxcount=4, verbose=0) as writer:
        for number in range(10):
            writer.write({"__key__": f"{number:03d}", "jpg": encoded(picture(number, 24, 24), "JPEG"), "json": {"kind": NAMES[number % 2]}})
    store = Store(bucket)
    for path in sorted(tmp_path.glob("*.tar")):
        assert store.create(f"real/{path.name}", path.read_bytes())
    source = WebDataset(WebDataset.Options(url=f"{bucket}/real", label="json", label_key="kind"), ReadOnlyFolder)
    index = source.index()
    assert index.table["id"].to_pylist() == [f"train-{number // 4:02d}.tar#{number:03d}" for number in range(10)]
    assert index.classes == tuple(NAMES)
    rows = index.table.take(np.random.default_rng(0).permutation(10))
    assert [pixels.digest(image) for image in source.load(rows)] == rows["digest"].to_pylist()
    assert set(index.table["published"].to_pylist()) == {"train"}
