"""Laws of the Parquet source: the hub's layout is understood, and every row that cannot be used is named with its reason."""

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from job.errors import AccessError, DataError
from job.ground import pixels as ground
from job.real import pixels
from job.real.parquet import Parquet
from job.records import RealIndex
from tests.folders import LocalFolder, bomb, encoded, image_rows, parquet, picture, write

pytestmark = pytest.mark.unit
NAMES = ("cat", "dog")
PLAIN = image_rows([0, 1, 0, 1])


def source(url: Any, **options: Any) -> Parquet:
    return Parquet(Parquet.Options(url=str(url), **options), LocalFolder)


def index_of(files: Mapping[str, bytes], **options: Any) -> RealIndex:
    with TemporaryDirectory() as root:
        return source(write(Path(root), files), **options).index()


def one(rows: list[dict], names: tuple[str, ...] = NAMES, **options: Any) -> RealIndex:
    """The index of a single file."""
    return index_of({"train.parquet": parquet(rows, names)}, **options)


def column(index: RealIndex, name: str) -> list[Any]:
    return index.table[name].to_pylist()


def labels(index: RealIndex) -> list[str]:
    return [index.classes[label] for label in column(index, "label")]


@pytest.mark.parametrize(("path", "part"), [
    ("data/train-00000-of-00002.parquet", "train"), ("data/validation-00000-of-00001.parquet", "val"), ("test-00000.parquet", "test"),
    ("default/train/0000.parquet", "train"), ("config/valid/0.parquet", "val"), ("Test.parquet", "test"), ("train/test-0.parquet", "test"),
    ("all.parquet", ""), ("latest/trained.parquet", ""), ("test_0.parquet", "test"),
])
def test_file_and_folder_names_tell_the_published_part(path: str, part: str) -> None:
    assert set(column(index_of({path: parquet(PLAIN, NAMES)}), "published")) == {part}


def test_ids_are_file_and_row_and_labels_have_the_names_of_the_schema() -> None:
    index = index_of({"b.parquet": parquet(image_rows([1, 0], 9), NAMES), "a/x.parquet": parquet(PLAIN, NAMES, row_group_size=3),
                      "README.md": b"", ".cache/z.txt": b""})
    assert column(index, "id") == ["a/x.parquet#0", "a/x.parquet#1", "a/x.parquet#2", "a/x.parquet#3", "b.parquet#0", "b.parquet#1"]
    assert labels(index) == ["cat", "dog", "cat", "dog", "dog", "cat"]
    assert index.refused == ()


@pytest.mark.parametrize(("values", "options", "classes", "found"), [
    ([3, 10, 3, 10], {}, ("3", "10"), ["3", "10", "3", "10"]),
    ([0, 1, 0, 1], {"names": ["ox", "ant"]}, ("ox", "ant"), ["ox", "ant", "ox", "ant"]),
    ([0, 1, 0, 1], {"names": ["ox", "ant"], "classes": ["ant"]}, ("ant",), ["ant", "ant"]),
    (["ox", " ant ", "ox", "ant"], {}, ("ant", "ox"), ["ox", "ant", "ox", "ant"]),
    (["ox", "ant", "ox", "ant"], {"classes": ["ox", "ant"]}, ("ox", "ant"), ["ox", "ant", "ox", "ant"]),
])
def test_labels_are_numbers_or_texts(values: list[Any], options: dict[str, Any], classes: tuple[str, ...], found: list[str]) -> None:
    index = index_of({"train.parquet": parquet(image_rows(values))}, **options)
    assert (index.classes, labels(index), index.refused) == (classes, found, ())


def test_columns_may_have_any_name_and_images_may_be_plain_binary() -> None:
    rows = [{"photo": row["image"]["bytes"], "what": {"kind": row["label"]}, "fold": fold, "patient": patient,
             "meta": {"key": f"scan/{n}.png"}}
            for n, (row, fold, patient) in enumerate(zip(PLAIN, ["train", "dev", "TEST", "train"], [7, 7, None, 8], strict=True))]
    index = one(rows, (), image="photo", label="what.kind", split="fold", group="patient", id="meta.key")
    assert column(index, "published") == ["train", "val", "test", "train"]
    assert column(index, "group") == ["7", "7", "", "8"]
    assert column(index, "id") == [f"scan/{number}.png" for number in range(4)]
    assert column(index, "digest") == [pixels.digest(picture(number)) for number in range(4)]


@given(st.integers(0, 99), st.integers(1, 64), st.integers(1, 9))
def test_no_number_of_readers_or_rows_in_a_group_changes_the_index_or_the_pixels(seed: int, readers: int, size: int) -> None:
    rows = [*image_rows([0, 1] * 5, seed), {"image": None, "label": 0}]
    with TemporaryDirectory() as root:
        write(Path(root), {"a/x.parquet": parquet(rows, NAMES), "b/x.parquet": parquet(rows, NAMES, row_group_size=size)})
        first, second = source(f"{root}/a", readers=1), source(f"{root}/b", readers=readers)
        index = first.index()
        assert index.table.equals(second.index().table)
        assert index.refused == second.index().refused
        rows = index.table.take(np.random.default_rng(seed).permutation(10))
        for here, there in zip(first.load(rows), second.load(rows), strict=True):
            np.testing.assert_array_equal(here, there)


def test_loading_more_rows_than_are_held_at_once_keeps_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("job.real.rows.AT_ONCE", 3)
    files = {f"{name}.parquet": parquet(image_rows([0, 1] * 4, seed), NAMES, row_group_size=3) for name, seed in (("a", 0), ("b", 50))}
    images = source(write(tmp_path, files))
    rows = images.index().table.take(np.random.default_rng(0).permutation(16))
    assert [pixels.digest(image) for image in images.load(rows)] == rows["digest"].to_pylist()


@pytest.mark.parametrize(("row", "says"), [
    ({"image": None}, "it has no image"),
    ({"image": {"bytes": None, "path": None}}, "it has no image"),
    ({"image": {"bytes": b"", "path": "x"}}, "names the outside file 'x'"),
    ({"image": {"bytes": None, "path": "/etc/passwd"}}, "its bytes are not in the file: it names the outside file '/etc/passwd',"),
    ({"image": {"bytes": b"no picture", "path": "x"}}, "unknown format"),
    ({"image": {"bytes": encoded(picture(3, 40, 40))[:2000], "path": "x"}}, "truncated"),
    ({"image": {"bytes": b"\0" * 60_001, "path": "x"}}, "its image has 60001 bytes; max_bytes=60000 are allowed"),
    ({"image": {"bytes": bomb(50_000, 50_000), "path": "x"}}, "decompression bomb"),
    ({"image": {"bytes": bomb(9_000, 9_000), "path": "x"}}, "9000×9000 px; 1 to max_pixels="),
    ({"label": None}, "it has no label"),
    ({"label": -1}, "its label -1 is none of 0 to 1"),
    ({"label": 2}, "its label 2 is none of 0 to 1"),
    ({"id": "../../etc/passwd"}, "leads out of the folder"),
    ({"id": "a/../../b"}, "leads out of the folder"),
    ({"id": "/etc/passwd"}, "leads out of the folder"),
    ({"id": "..\\b"}, "leads out of the folder"),
    ({"id": "C:/b"}, "leads out of the folder"),
    ({"id": "a\0b"}, "control character"),
    ({"id": "a\nb"}, "control character"),
    ({"id": ""}, "its id has 0 characters"),
    ({"id": None}, "its id has 0 characters"),
    ({"id": "x" * 1025}, "its id has 1025 characters; 1 to 1024"),
    ({"id": "x" * 70_000}, "its id has 70000 bytes; 65536"),
    ({"id": "fine-0"}, "its id 'fine-0' is that of train.parquet#0 already"),
    ({"split": "tset"}, "its split 'tset' is none of train,"),
    ({"split": None}, "its split 'None' is none of"),
    ({"group": "g" * 201}, "its group"),
    ({"group": "a\0"}, "its group"),
])
def test_a_row_that_cannot_be_used_is_refused_with_a_reason(row: dict[str, Any], says: str) -> None:
    fine = [{**one, "id": f"fine-{number}", "split": "train", "group": ""} for number, one in enumerate(PLAIN)]
    bad = {**image_rows([0], 70)[0], "id": "bad", "split": "train", "group": ""} | row
    index = one([*fine[:2], bad, *fine[2:]], id="id", split="split", group="group", max_bytes=60_000)
    assert column(index, "id") == [f"fine-{number}" for number in range(4)]
    ((item, reason),) = [(one.item, one.reason) for one in index.refused]
    assert item == "train.parquet#2"
    assert says in reason


def test_a_generated_image_stands_in_the_index_with_its_mark_and_a_torn_picture_does_not() -> None:
    drawn = {"image": {"bytes": ground.encode(picture(60), "png"), "path": ""}, "label": 0}
    copies = [{**image_rows([0], 61)[0], "label": label} for label in (0, 1)]
    index = one([*PLAIN, drawn, *copies])
    assert column(index, "generated") == [""] * 4 + [ground.IPTC_MARK]
    assert {one.item: one.reason for one in index.refused} == {
        "train.parquet#5": "the same picture has another label as train.parquet#6",
        "train.parquet#6": "the same picture has another label as train.parquet#5"}


WHOLE = parquet(PLAIN, NAMES)


@pytest.mark.parametrize(("files", "options", "says"), [
    ({"x.txt": b""}, {}, "no file ends in .parquet → check"),
    ({"x.parquet": WHOLE[:-20]}, {}, "x.parquet is damaged, truncated or no Parquet file"),
    ({"x.parquet": b"PAR1" + WHOLE[:50]}, {}, "x.parquet is damaged, truncated or no Parquet file"),
    ({"x.parquet": b""}, {}, "x.parquet is damaged, truncated or no Parquet file"),
    ({"x.parquet": WHOLE}, {"image": "img"}, r"x.parquet has no column 'img'; it has image, label → set the option `image`"),
    ({"x.parquet": WHOLE}, {"group": "image"}, r"column 'image' of x.parquet is struct<.*its group must be whole numbers or texts"),
    ({"x.parquet": WHOLE}, {"image": "label"}, r"column 'label' of x.parquet is int64; its image must be binary"),
    ({"x.parquet": WHOLE}, {"max_file_bytes": 999}, f"x.parquet has {len(WHOLE)} bytes; max_file_bytes=999 are allowed"),
    ({"x.parquet": WHOLE}, {"classes": ["cat", "cow"]}, "class 'cow' has 0 usable images, and a class needs at least two"),
    ({"x.parquet": parquet(PLAIN, ("cat", "dog", "cow"))}, {}, "class 'cow' has 0 usable images.* name in `classes` only those to use"),
    ({"x.parquet": parquet(image_rows([0, 0, 1]), NAMES)}, {}, "class 'dog' has 1 usable images"),
    ({"x.parquet": parquet([{"image": {"bytes": None, "path": "a.png"}, "label": 0}] * 3, NAMES)}, {}, r"'cat' has 0.*not in the file"),
    ({"x.parquet": WHOLE, "y.parquet": parquet(PLAIN, ("dog", "cat"))}, {}, "y.parquet names other classes than x.parquet: dog, cat"),
    ({"x.parquet": parquet(PLAIN, ("cat", "cat"))}, {}, "the metadata of x.parquet name no usable classes in 'label'"),
    ({"x.parquet": parquet(PLAIN, ("cat", "d\0g"))}, {}, "the metadata of x.parquet name no usable classes"),
    ({"x.parquet": parquet(image_rows([0.5, 1.5]))}, {}, "its label must be whole numbers or texts"),
])
def test_what_cannot_be_a_data_set_ends_the_job_with_a_cure(files: dict[str, bytes], options: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        index_of(files, **options)
    assert caught.value.cure


@pytest.mark.parametrize("metadata", [
    b"", b"[]", b"{}", b"not json", b"[" * 100_000, json.dumps({"info": {"features": {"label": 3}}}).encode()
], ids=range(6))
def test_metadata_of_other_tools_are_no_trouble(metadata: bytes) -> None:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(PLAIN).replace_schema_metadata({"huggingface": metadata}), out)
    assert index_of({"x.parquet": out.getvalue()}).classes == ("0", "1")


@given(st.integers(0, 2**32))
@example(94564213)   # a column's name that is no UTF-8
@example(277529)     # a row that points outside the dictionary of its page
def test_a_damaged_file_is_an_index_or_a_data_error_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(WHOLE)
    for place in rng.integers(0, len(data), 4):
        data[place] = rng.integers(256)
    try:
        index_of({"x.parquet": bytes(data)})
    except DataError:
        return


def test_if_a_file_may_not_be_read_the_permission_is_what_ends_the_job() -> None:
    with pytest.raises(AccessError, match="no permission"):
        index_of({"secret.parquet": WHOLE})


@pytest.mark.parametrize("now", [parquet(image_rows([0, 1, 0, 1], 90), NAMES), parquet(PLAIN[:1], NAMES),
                                 parquet([{**row, "image": {"bytes": b"x", "path": ""}} for row in PLAIN], NAMES)])
def test_an_image_that_changed_after_the_index_ends_the_job_when_it_is_loaded(now: bytes, tmp_path: Path) -> None:
    images = source(write(tmp_path, {"x.parquet": WHOLE}))
    rows = images.index().table
    write(tmp_path, {"x.parquet": now})
    with pytest.raises(DataError, match=r"'x\.parquet#\d' changed after the index was frozen.* start a new edition"):
        list(images.load(rows))


def test_a_forged_locator_loads_nothing(tmp_path: Path) -> None:
    images = source(write(tmp_path, {"x.parquet": WHOLE}))
    rows = images.index().table.slice(0, 1)
    for locator in ("x.parquet#99", "x.parquet#-1", "x.parquet#zero"):
        forged = rows.set_column(rows.schema.get_field_index("locator"), "locator", pa.array([locator]))
        with pytest.raises(DataError, match=r"changed after the index was frozen: x\.parquet holds it no more"):
            list(images.load(forged))


def test_files_that_unpack_to_hundreds_of_gigabytes_take_little_memory(tmp_path: Path) -> None:
    """In a process of its own, so that its peak is its own."""
    code = """
import resource, sys
from tests.unit.test_parquet import bombs
from job.real.parquet import Parquet
from tests.folders import LocalFolder
from job.errors import DataError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for url in sys.argv[1:]:
    try:
        Parquet(Parquet.Options(url=url, max_bytes=2**20, max_file_bytes=2**26), LocalFolder).index()
    except DataError as error:
        print(error.problem)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    urls = [write(tmp_path / str(number), {"x.parquet": data}) for number, data in enumerate(bombs())]
    found = subprocess.run([sys.executable, "-c", code, *urls], capture_output=True, text=True, check=True)
    *told, grown = found.stdout.splitlines()
    assert "x.parquet#0: its image has 8388608 bytes; max_bytes=1048576 are allowed" in told[0]
    assert "x.parquet#0: its label has 8388608 bytes; 65536 are allowed" in told[1]
    assert "row group 0 of x.parquet has" in told[2]
    assert int(grown) < 400 * 1024   # KiB


def bombs() -> list[bytes]:
    """One large image, or label, named twenty thousand times (160 GB); a row group of 100 MB of zeros."""
    many = 20_000
    small = encoded(picture(0))
    heavy = pa.array([bytes(8 << 20)]).dictionary_encode()
    text = pa.array(["x" * (8 << 20)]).dictionary_encode()
    zeros = pa.array([bytes(1 << 20)])
    found = []
    for image, label in ((heavy, pa.array(["cat"]).dictionary_encode()), (pa.array([small]).dictionary_encode(), text)):
        out = io.BytesIO()
        columns = [pa.DictionaryArray.from_arrays(pa.array(np.zeros(many, np.int32)), one.dictionary) for one in (image, label)]
        pq.write_table(pa.table(dict(zip(("image", "label"), columns, strict=True))), out, dictionary_pagesize_limit=1 << 28,
                       compression="zstd", store_schema=False)
        found.append(out.getvalue())
    out = io.BytesIO()
    schema = pa.schema([("image", pa.binary()), ("label", pa.string())])
    with pq.ParquetWriter(out, schema, use_dictionary=False, compression="zstd") as writer:
        batch = pa.table([pa.concat_arrays([zeros] * 100), pa.array(["cat"] * 100)], schema=schema)
        writer.write_table(batch, row_group_size=10**6)
    found.append(out.getvalue())
    return found


@pytest.mark.parametrize("options", [
    {"classes": []}, {"classes": ["a", "a"]}, {"names": [""]}, {"readers": 0}, {"max_bytes": 0}, {"url": ""},
])
def test_impossible_options_are_refused_before_anything_is_read(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Parquet.Options(**{"url": "x", **options})
