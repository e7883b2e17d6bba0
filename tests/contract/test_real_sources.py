"""Laws that every real source of the table keeps. A new source needs one line in ``FIXTURES``."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from job import plugs
from job.real import SOURCES, RealSource
from job.records import INDEX_SCHEMA, PARTS, RealIndex
from tests.folders import LocalFolder, cifar_batches, cifar_binary, class_folders, image_rows, parquet, samples, tar, write

pytestmark = pytest.mark.contract


def small_cifar10(root: Path) -> dict[str, Any]:
    url = write(root, cifar_binary(cifar_batches(per_class=3)))
    return {"url": url, "classes": ["truck", "cat"], "train_per_class": 4, "val_per_class": 2}


def small_image_folder(root: Path) -> dict[str, Any]:
    files = class_folders({"train/cat": 4, "train/dog": 3, "val/cat": 2, "val/dog": 2, "test/cat": 2, "test/dog": 2})
    copies = {"train/cat/copy.png": files["train/cat/0.png"], "train/dog/notes.txt": b"no picture"}
    return {"url": write(root, files | copies)}


def small_parquet(root: Path) -> dict[str, Any]:
    train = [*image_rows([0, 1, 0, 1, -1], group="a"), *image_rows([1, 0], seed=1, group="b")]   # an unlabelled one, and copies
    files = {"data/train-00000-of-00001.parquet": parquet(train, ("cat", "dog"), row_group_size=3)}
    for seed, part in ((20, "validation"), (30, "test")):
        files[f"data/{part}-00000-of-00001.parquet"] = parquet(image_rows([0, 1, 1], seed, group=""), ("cat", "dog"))
    return {"url": write(root, files), "group": "group"}


def small_webdataset(root: Path) -> dict[str, Any]:
    files = {f"{part}-000.tar": tar(samples([0, 1, 1, 0], seed)) for part, seed in (("train", 0), ("val", 10), ("test", 20))}
    files["train-001.tar"] = tar([*samples([0, 1], 30), *samples([0], 0)[:1], ("9999.png", b"no picture"), ("9999.cls", b"1")])
    return {"url": write(root, files | {"names.txt": b"cat\ndog\n"}), "names_file": "names.txt"}


# name of the source → writes small data below a folder, and gives the options that read them
FIXTURES: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "cifar10": small_cifar10,
    "digits": lambda root: {},
    "image_folder": small_image_folder,
    "parquet": small_parquet,
    "webdataset": small_webdataset,
}


@dataclass(frozen=True)
class Case:
    plug: type[RealSource]
    options: Mapping[str, Any]
    index: RealIndex

    def source(self) -> RealSource:
        return self.plug(self.plug.Options.model_validate(self.options), LocalFolder)

    def some(self, count: int = 40, seed: int = 0) -> pa.Table:
        """Some rows of the index in a random order; a tenth of them twice."""
        rng = np.random.default_rng(seed)
        rows = rng.permutation(self.index.table.num_rows)[:count]
        return self.index.table.take(np.concatenate([rows, rows[: len(rows) // 10]]))


@pytest.fixture(scope="module", params=sorted(SOURCES))
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    name = request.param
    if name not in FIXTURES:
        pytest.fail(f"the source {name!r} has no test data: add one line for it to FIXTURES in {Path(__file__).name}")
    plug = plugs.find(SOURCES, name, "SOURCE")
    options = FIXTURES[name](tmp_path_factory.mktemp(name))
    return Case(plug, options, plug(plug.Options.model_validate(options), LocalFolder).index())


def test_every_source_has_test_data_and_no_test_data_are_left_over():
    assert set(FIXTURES) == set(SOURCES)


def test_two_indices_of_the_same_data_are_equal(case: Case):
    again = case.source().index()
    assert again.table.equals(case.index.table)
    assert (again.classes, again.refused) == (case.index.classes, case.index.refused)


def test_an_index_follows_the_schema_and_so_has_no_room_for_pixels(case: Case):
    assert case.index.table.schema.equals(INDEX_SCHEMA)
    assert all(column.null_count == 0 for column in case.index.table.columns)


def test_ids_are_unique_and_not_empty(case: Case):
    ids = case.index.table["id"].to_pylist()
    assert len(set(ids)) == len(ids) > 0
    assert all(ids)


def test_labels_are_those_of_the_classes_and_every_class_has_images(case: Case):
    assert set(case.index.table["label"].to_pylist()) == set(range(len(case.index.classes)))
    assert len(set(case.index.classes)) == len(case.index.classes)


def test_a_published_part_is_a_part_or_nothing(case: Case):
    assert set(case.index.table["published"].to_pylist()) <= {*PARTS, ""}


def test_every_refusal_names_an_item_outside_the_index_and_a_reason(case: Case):
    usable = set(case.index.table["id"].to_pylist())
    assert all(one.item and one.reason and one.item not in usable for one in case.index.refused)


def test_pixels_are_uint8_rgb_of_the_indexed_size(case: Case):
    rows = case.some()
    for pixels_HWC, row in zip(case.source().load(rows), rows.to_pylist(), strict=True):
        assert pixels_HWC.dtype == np.uint8
        assert pixels_HWC.shape == (row["height"], row["width"], 3)


def test_two_images_share_a_digest_exactly_if_they_share_their_pixels(case: Case):
    rows = case.index.table
    loaded = [(pixels_HWC.shape, pixels_HWC.tobytes()) for pixels_HWC in case.source().load(rows)]
    pairs = set(zip(rows["digest"].to_pylist(), loaded, strict=True))
    assert len(pairs) == len(set(loaded)) == len(set(rows["digest"].to_pylist()))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_permuted_subset_loads_the_same_pixels_for_each_id(case: Case, seed: int):
    whole = dict(zip(case.index.table["id"].to_pylist(), case.source().load(case.index.table), strict=True))
    rows = case.some(seed=seed)
    for pixels_HWC, id in zip(case.source().load(rows), rows["id"].to_pylist(), strict=True):
        np.testing.assert_array_equal(pixels_HWC, whole[id])


def test_no_rows_load_no_pixels(case: Case):
    assert list(case.source().load(case.index.table.slice(0, 0))) == []


def test_source_and_index_travel_to_another_process_and_still_load(case: Case):
    source, index = pickle.loads(pickle.dumps((case.source(), case.index)))
    rows = index.table.slice(0, 3)
    for there, here in zip(source.load(rows), case.source().load(rows), strict=True):
        np.testing.assert_array_equal(there, here)


def test_options_are_described_frozen_and_closed(case: Case):
    assert all(field.description for field in case.plug.Options.model_fields.values())
    assert case.plug.Options.model_config["frozen"]
    with pytest.raises(ValidationError):
        case.plug.Options.model_validate({**case.options, "no_such_option": 1})
