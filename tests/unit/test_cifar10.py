"""Laws of the CIFAR-10 source: both layouts say the same, the cut is stable, and a batch can run no code."""

import pickle
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from job.errors import AccessError, DataError
from job.real.cifar10 import Cifar10
from job.real.cifar10_files import LAYOUTS, NAMES, RECORD_BYTES, TEST, TRAIN, read_batch
from job.records import RealIndex
from tests.folders import LocalFolder, cifar_batches, cifar_binary, cifar_python, write

pytestmark = pytest.mark.unit

SMALL = {"classes": ["cat", "ship"], "train_per_class": 3, "val_per_class": 2}


def source(url: str, **options: Any) -> Cifar10:
    return Cifar10(Cifar10.Options(url=url, **{**SMALL, **options}), LocalFolder)


def index_of(files: dict[str, bytes], **options: Any) -> RealIndex:
    with TemporaryDirectory() as root:
        return source(write(Path(root), files), **options).index()


def digests(index: RealIndex, part: str) -> set[str]:
    return {row["digest"] for row in index.table.to_pylist() if row["published"] == part}


@given(seed=st.integers(0, 99), home=st.booleans(), protocol=st.integers(2, 5), keys=st.sampled_from([bytes, str]))
@settings(max_examples=15, deadline=None)
def test_the_binary_and_the_python_layout_give_the_same_index(seed: int, home: bool, protocol: int, keys: type):
    batches = cifar_batches(seed=seed)
    binary, python = index_of(cifar_binary(batches, home)), index_of(cifar_python(batches, home, protocol, keys))
    assert binary.table.equals(python.table)
    assert binary.refused == python.refused == ()


def test_a_batch_as_python_2_wrote_it_is_read(tmp_path: Path):
    planes, labels = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072), [3, 9]
    raw = planes.tobytes()
    array = (b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02M\x00\x0c\x86"
             b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
             b"\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb")
    data = b"\x80\x02}(U\x06labels](K\x03K\x09eU\x04data" + array + b"u."
    images_NHWC, labels_N, damage = read_batch(LocalFolder(write(tmp_path, {TEST: data})), LAYOUTS[2], TEST)
    np.testing.assert_array_equal(images_NHWC, planes.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1))
    assert labels_N.tolist() == labels
    assert damage == ""


def test_the_lab_has_four_classes_with_200_train_and_100_validation_images_each():
    batches = cifar_batches(per_class=61)
    index = index_of(cifar_binary(batches), classes=None, train_per_class=None, val_per_class=None)
    counts = Counter(zip(index.table["label"].to_pylist(), index.table["published"].to_pylist(), strict=True))
    assert index.classes == ("airplane", "automobile", "ship", "truck")
    assert counts == {(label, part): n for label in range(4) for part, n in
                      {"train": 200, "val": 100, "aside": 5, "test": 61}.items()}


def test_the_full_profile_trains_on_all_that_validation_leaves():
    index = index_of(cifar_binary(cifar_batches()), profile="full", classes=None, train_per_class=None, val_per_class=4)
    assert index.classes == NAMES
    assert Counter(index.table["published"].to_pylist()) == {"val": 40, "train": 60, "test": 20}


@given(seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_shuffling_the_records_among_the_train_batches_chooses_the_same_pictures(seed: int):
    batches = cifar_batches(seed=seed)
    planes = np.concatenate([batches[name][0] for name in TRAIN])
    labels = np.concatenate([batches[name][1] for name in TRAIN])
    order = np.array_split(np.random.default_rng(seed).permutation(len(labels)), len(TRAIN))
    shuffled = {name: (planes[rows], labels[rows].tolist()) for name, rows in zip(TRAIN, order, strict=True)}
    before, after = index_of(cifar_binary(batches)), index_of(cifar_binary({**batches, **shuffled}))
    assert all(digests(before, part) == digests(after, part) for part in ("train", "val", "test", "aside"))


@given(few=st.integers(1, 4), more=st.integers(0, 4))
@settings(max_examples=5, deadline=None)
def test_a_larger_train_set_keeps_validation_and_every_train_image_it_had(few: int, more: int):
    files = cifar_binary(cifar_batches())
    small, large = index_of(files, train_per_class=few), index_of(files, train_per_class=few + more)
    assert digests(small, "val") == digests(large, "val")
    assert digests(small, "train") <= digests(large, "train")


def test_validation_then_train_are_taken_in_the_order_of_the_digest():
    index = index_of(cifar_binary(cifar_batches()), classes=["cat"])
    assert max(digests(index, "val")) < min(digests(index, "train"))
    assert max(digests(index, "train")) < min(digests(index, "aside"))


def test_the_locked_test_is_the_test_batch_and_nothing_else():
    for row in index_of(cifar_binary(cifar_batches())).table.to_pylist():
        assert (row["published"] == "test") == row["id"].startswith(f"{TEST}/")


def test_labels_follow_the_order_of_the_chosen_classes():
    batches = cifar_batches()
    index = index_of(cifar_binary(batches), classes=["truck", "cat"])
    for row in index.table.to_pylist():
        batch, record = row["id"].split("/")
        assert index.classes[row["label"]] == NAMES[batches[batch][1][int(record)]]


def test_copies_stand_aside_whether_of_a_train_image_or_of_a_test_image():
    batches = cifar_batches()
    cats = {name: [row for row, label in enumerate(labels) if label == 3] for name, (_, labels) in batches.items()}
    for name in TRAIN[1:]:   # every cat of the later batches is a copy: of a test image, or of the first batch's
        origin = TEST if name == TRAIN[1] else TRAIN[0]
        batches[name][0][cats[name]] = batches[origin][0][cats[origin]]
    table = index_of(cifar_binary(batches), classes=["cat"], train_per_class=1, val_per_class=1).table.to_pylist()
    taken = [row["digest"] for row in table if row["published"] in ("train", "val")]
    assert all(row["id"].startswith(TRAIN[0]) for row in table if row["digest"] in taken and row["published"] != "aside")
    assert len(set(taken)) == len(taken) == 2
    assert not set(taken) & {row["digest"] for row in table if row["published"] == "test"}
    with pytest.raises(DataError, match="'cat' has 2 different usable images"):
        index_of(cifar_binary(batches), classes=["cat"], train_per_class=2, val_per_class=1)


@given(cut=st.integers(1, 20 * RECORD_BYTES - 1))
@settings(max_examples=20, deadline=None)
def test_a_truncated_binary_batch_is_refused_by_name_and_its_whole_records_are_used(cut: int):
    files = cifar_binary(cifar_batches())
    files["data_batch_2.bin"] = files["data_batch_2.bin"][:cut]
    index = index_of(files, train_per_class=1, val_per_class=1, classes=list(NAMES))
    used = [id for id in index.table["id"].to_pylist() if id.startswith("data_batch_2/")]
    assert len(used) == cut // RECORD_BYTES
    assert [one.item for one in index.refused] == (["data_batch_2.bin"] if cut % RECORD_BYTES else [])


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damage_to_a_python_batch_never_ends_in_anything_but_a_data_error(data: st.DataObject, tmp_path_factory):
    whole = bytearray(cifar_python(cifar_batches(per_class=1))[TEST])
    small = [*range(300), *range(len(whole) - 300, len(whole))]   # the places that are not pixels
    for place in data.draw(st.lists(st.sampled_from(small), max_size=3)):
        whole[place] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.sampled_from([*small, len(whole)]))])
    folder = LocalFolder(write(tmp_path_factory.mktemp("damaged"), {TEST: damaged}))
    try:
        images_NHWC, labels_N, _ = read_batch(folder, LAYOUTS[2], TEST)
    except DataError:
        return
    assert images_NHWC.shape == (len(labels_N), 32, 32, 3)


class Touch:
    """Pickles as an order to create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("file", ["data_batch_1", TEST, "batches.meta"])
def test_a_pickle_that_names_foreign_code_ends_the_job_and_the_code_does_not_run(tmp_path: Path, file: str):
    trap = tmp_path / "sprung"
    files = cifar_python(cifar_batches()) | {file: pickle.dumps({b"data": Touch(trap)}, 2)}
    with pytest.raises(DataError, match=rf"{file} asks for .*, which no CIFAR-10 batch needs"):
        index_of(files)
    assert not trap.exists()


@pytest.mark.parametrize("content", [
    {b"data": np.array([{}], dtype=object), b"labels": [1]},
    {b"data": np.zeros((1, 3072), dtype=np.float32), b"labels": [1]},
    {b"data": np.zeros((1, 3072), dtype=np.int64), b"labels": [1]},
    {b"data": np.zeros((1, 3071), dtype=np.uint8), b"labels": [1]},
    {b"data": np.zeros((2, 3072), dtype=np.uint8), b"labels": [1]},
    {b"data": np.zeros((1, 3072), dtype=np.uint8), b"labels": ["cat"]},
    {b"data": np.zeros((0, 3072), dtype=np.uint8), b"labels": []},
    {b"labels": [1]},
    [1],
])
def test_a_pickle_without_one_label_per_image_is_refused_for_train_and_fatal_for_test(content: Any):
    files = cifar_python(cifar_batches())
    index = index_of(files | {TRAIN[0]: pickle.dumps(content)})
    assert [one.item for one in index.refused] == [TRAIN[0]]
    with pytest.raises(DataError, match=TEST):
        index_of(files | {TEST: pickle.dumps(content)})


@pytest.mark.parametrize("dtype", ["u1", "<i4", "<i8", ">i8"])
def test_integer_arrays_serve_as_labels_too(dtype: str):
    batches = cifar_batches()
    as_arrays = {name: (planes, np.array(labels, dtype)) for name, (planes, labels) in batches.items()}
    assert index_of(cifar_python(as_arrays)).table.equals(index_of(cifar_python(batches)).table)


def test_a_missing_test_batch_ends_the_job_with_a_cure():
    files = cifar_binary(cifar_batches())
    del files["test_batch.bin"]
    with pytest.raises(DataError, match=r"test batch is missing.* → put test_batch\.bin"):
        index_of(files)


def test_a_missing_train_batch_is_refused_by_name():
    files = cifar_binary(cifar_batches())
    del files["data_batch_4.bin"]
    assert [(one.item, one.reason) for one in index_of(files).refused] == [("data_batch_4.bin", "data_batch_4.bin is missing")]


def test_an_unreadable_train_batch_is_refused_and_an_unreadable_test_batch_ends_the_job(tmp_path: Path):
    class Locked(LocalFolder):
        def read(self, path: str) -> bytes:
            if path == self.locked:
                raise AccessError(f"{path}: no permission")
            return super().read(path)

    url = write(tmp_path, cifar_binary(cifar_batches()))
    options = Cifar10.Options(url=url, **SMALL)
    index = Cifar10(options, type("Train", (Locked,), {"locked": "data_batch_3.bin"})).index()
    assert [one.item for one in index.refused] == ["data_batch_3.bin"]
    with pytest.raises(AccessError):
        Cifar10(options, type("Test", (Locked,), {"locked": "test_batch.bin"})).index()


def test_too_few_images_for_the_cut_end_the_job_naming_the_class():
    with pytest.raises(DataError, match=r"'cat' has 10 different usable images .* takes 11 → lower `train_per_class`"):
        index_of(cifar_binary(cifar_batches()), train_per_class=9, val_per_class=2)


def test_a_class_that_the_test_batch_lacks_ends_the_job():
    batches = cifar_batches()
    batches[TEST] = (batches[TEST][0], [3] * len(batches[TEST][1]))
    with pytest.raises(DataError, match="'ship' has no image in the test batch"):
        index_of(cifar_binary(batches))


def test_other_class_names_end_the_job_and_an_unreadable_list_is_only_refused():
    files = cifar_binary(cifar_batches())
    with pytest.raises(DataError, match="the labels do not match"):
        index_of(files | {"batches.meta.txt": b"apple\nbee\n"})
    files = cifar_python(cifar_batches())
    assert [one.item for one in index_of(files | {"batches.meta": b"\x80\x02}"}).refused] == ["batches.meta"]


def test_a_label_beyond_the_ten_is_refused_by_record():
    batches = cifar_batches()
    batches["data_batch_1"][1][4] = 17
    refused = index_of(cifar_binary(batches)).refused
    assert [(one.item, one.reason) for one in refused] == [("data_batch_1/00004", "its label 17 is none of 0 to 9")]


def test_one_picture_under_two_labels_is_refused_both_times_naming_the_other():
    batches = cifar_batches()
    cat, ship = (batches[name][1].index(label) for name, label in (("data_batch_1", 3), (TEST, 8)))
    batches[TEST][0][ship] = batches["data_batch_1"][0][cat]
    index = index_of(cifar_binary(batches))
    refused = {one.item: one.reason for one in index.refused}
    one, other = f"data_batch_1/{cat:05d}", f"{TEST}/{ship:05d}"
    assert set(refused) == {one, other}
    assert not {one, other} & set(index.table["id"].to_pylist())
    assert other in refused[one]
    assert one in refused[other]


@pytest.mark.parametrize("change", ["pixels", "end"])
def test_data_that_changed_after_the_index_end_the_job_when_they_are_loaded(tmp_path: Path, change: str):
    files = cifar_binary(cifar_batches())
    cifar = source(write(tmp_path, files))
    rows = cifar.index().table
    data = files["data_batch_5.bin"]
    write(tmp_path, {"data_batch_5.bin": bytes(len(data)) if change == "pixels" else data[:RECORD_BYTES]})
    with pytest.raises(DataError, match=r"changed after the index was frozen.* start a new edition"):
        list(cifar.load(rows))


@pytest.mark.parametrize(("options", "says"), [
    ({"classes": ["cat", "cat"]}, "named twice"),
    ({"classes": ["unicorn"]}, "unicorn"),
    ({"train_per_class": 4901, "val_per_class": 100}, "5001"),
    ({"train_per_class": 0}, "greater than or equal to 1"),
    ({"profile": "tiny"}, "lab"),
    ({"url": ""}, "at least 1 character"),
])
def test_impossible_options_are_refused_before_anything_is_read(options: dict[str, Any], says: str):
    with pytest.raises(ValidationError, match=says):
        Cifar10.Options(**{"url": "x", **options})
