"""Shards: the same bytes for the same images, every image marked, and any reader of Parquet or of images at home."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from job.generators.fake import stripes
from job.ground import lineage, pixels, shards
from job.records import Origin, Recipe, SampleSpec

pytestmark = pytest.mark.unit
ORIGIN = Origin("a model", "main", "CC0-1.0", 2, ("first", "second"))


def recipe_of(size_px: int) -> Recipe:
    return lineage.make_recipe(generator="fake", options="{}", weights="none", templates=("a {name}",), size_px=size_px,
                               encoding=pixels.encoding_for(size_px), seed=0)


def drawn(size_px: int, count: int, name: str = "café", label: int = 3) -> list[tuple[SampleSpec, np.ndarray]]:
    words = lineage.class_words(label, name)
    specs = [lineage.spec(recipe_of(size_px), words, index, redraw=index % 3) for index in range(count)]
    return [(spec, stripes(label, size_px, 0.3, np.random.default_rng(spec.seed))) for spec in specs]


def packed(size_px: int, count: int, **names: str | int) -> bytes:
    recipe = recipe_of(size_px)
    return shards.pack(recipe, ORIGIN, [(spec, pixels.encode(image, recipe.encoding)) for spec, image in drawn(size_px, count, **names)])


@settings(max_examples=10)
@given(st.integers(0, 9), st.sampled_from([8, 32, 128]))
def test_the_same_images_make_the_same_bytes_and_come_back(count: int, size_px: int) -> None:
    data = packed(size_px, count)
    assert data == packed(size_px, count)
    table = shards.read(data)
    images = list(shards.images(table))
    assert len(images) == table.num_rows == count
    for image, (spec, original), row in zip(images, drawn(size_px, count), table.to_pylist(), strict=True):
        assert np.array_equal(image, pixels.to_train(original, size_px))   # the codec of that size, once
        assert (row["id"], row["index"], row["redraw"], row["seed_used"]) == (spec.id, spec.index, spec.redraw, spec.seed)
        assert (row["prompt"], row["label"], row["class_key"]) == (spec.prompt, "café", spec.words.key)
        assert row["recipe"] == recipe_of(size_px).id
        assert (row["model"], row["revision"], row["licence"], row["depth"]) == ("a model", "main", "CC0-1.0", 2)
        assert (row["ancestry"], row["digital_source_type"]) == (["first", "second"], "trainedAlgorithmicMedia")


def test_the_same_bytes_come_out_of_another_process() -> None:
    code = "import hashlib; from tests.unit.test_shards import packed; print(hashlib.sha256(packed(32, 9)).hexdigest())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
                           env=os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"})
    assert found.stdout.strip() == lineage.sha256(packed(32, 9))


@pytest.mark.parametrize("size_px", [32, 128])
def test_every_image_carries_the_mark_and_keeps_it_out_of_the_shard(size_px: int, tmp_path: Path) -> None:
    for row in shards.read(packed(size_px, 3), ["image"])["image"].to_pylist():
        assert pixels.is_marked(row["bytes"])
        (tmp_path / row["path"]).write_bytes(row["bytes"])
        assert pixels.is_marked((tmp_path / row["path"]).read_bytes())
        with Image.open(tmp_path / row["path"]) as image:
            assert (image.format, image.size) == ("PNG" if size_px < 128 else "JPEG", (size_px, size_px))


def test_a_class_stands_in_a_shard_by_name_and_not_by_number() -> None:
    assert set(shards.read(packed(8, 2, label=1))["label"].to_pylist()) == {"café"}
    assert pa.types.is_string(shards.read(packed(8, 1)).schema.field("label").type)
    other, mine = (shards.read(packed(8, 2, label=label)).drop(["image"]) for label in (1, 3))
    assert other.equals(mine)


def test_columns_are_read_alone_and_in_the_order_asked_for() -> None:
    assert shards.read(packed(8, 2), ["index", "id"]).column_names == ["index", "id"]
    assert shards.read(packed(8, 2), ["index"])["index"].to_pylist() == [0, 1]


def test_any_table_has_bytes_of_its_own() -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    assert shards.table_bytes(table) == shards.table_bytes(table)
    assert pq.read_table(io.BytesIO(shards.table_bytes(table))).equals(table)


def test_hugging_face_datasets_opens_a_shard_as_images(tmp_path: Path) -> None:
    """In a process of its own: the library is heavy, and it looks at the environment once."""
    for size_px in (32, 128):
        (tmp_path / f"{size_px}.parquet").write_bytes(packed(size_px, 3))
    code = (
        "import datasets, sys; datasets.disable_progress_bars()\n"
        "found = datasets.load_dataset('parquet', data_files=sys.argv[1:], split='train')\n"
        "for row in (found[2], found[5]): print(row['image'].format, row['image'].size, row['label'], row['index'], row['ancestry'])"
    )
    offline = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code, *(str(tmp_path / f"{size_px}.parquet") for size_px in (32, 128))],
                          capture_output=True, text=True, env=os.environ | offline, check=False)
    assert done.stdout.splitlines() == [
        "PNG (32, 32) café 2 ['first', 'second']", "JPEG (128, 128) café 2 ['first', 'second']"], done.stderr


TABLES = st.lists(st.tuples(st.text(max_size=5), st.floats(width=32, allow_nan=False)), max_size=5).map(lambda rows: pa.table(
    {"id": pa.array([name for name, _ in rows], pa.string()), "a.score": pa.array([value for _, value in rows], pa.float32())}))


@given(TABLES)
def test_a_sealed_table_is_ordinary_parquet_and_the_same_bytes_again(table: pa.Table) -> None:
    data = shards.sealed(table)
    assert data == shards.sealed(table)
    assert shards.unsealed(data).equals(table)
    assert pq.read_table(io.BytesIO(data)).equals(table)


@settings(max_examples=300)
@given(TABLES, st.data())
def test_a_sealed_table_of_which_any_bit_is_another_or_the_end_is_missing_is_known(table: pa.Table, data: st.DataObject) -> None:
    sealed = bytearray(shards.sealed(table))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    assert shards.unsealed(bytes(sealed)) is None
    assert shards.unsealed(shards.sealed(table)[: bit // 8]) is None


def test_a_table_that_bears_no_seal_is_not_taken_for_a_whole_one() -> None:
    assert shards.unsealed(shards.table_bytes(pa.table({"id": ["one"]}))) is None
