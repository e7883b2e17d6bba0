"""The user's own parts and groups: laid over the index, told by row where they are wrong, part of the run's identity."""

import io
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example
from hypothesis import given as cases
from hypothesis import strategies as st

from job import admit, plan, splitting
from job.errors import AccessError, DataError
from job.ground.store import ReadOnlyFolder
from job.real import given
from job.records import RealIndex, Refusal
from job.settings import SplitGroup, load
from tests.folders import LocalFolder, class_folders, write
from tests.unit.made_index import index_of

pytestmark = pytest.mark.unit
INDEX = index_of([(label, f"{label}-{number}", "old", "train", f"{label}/{number}.png") for label in (0, 1) for number in range(6)])
GOOD = b"id,part,group\n0/0.png,val,\n1/0.png,validation,a\n0/1.png,test,b\n1/1.png,test,\n0/2.png,aside,\n1/2.png,,c\n"


def packed(columns: dict[str, Any], **options: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return out.getvalue()


def laid(root: Path, data: bytes, name: str = "parts.csv", index: RealIndex = INDEX) -> dict[str, tuple[str, str]]:
    write(root, {name: data})
    table = given.override(index, f"{root}/{name}", LocalFolder).table
    return dict(zip(table["id"].to_pylist(), zip(table["published"].to_pylist(), table["group"].to_pylist(), strict=True), strict=True))


@pytest.mark.parametrize("name", ["parts.csv", "parts.parquet"])
def test_the_table_overrides_what_the_source_says_and_leaves_the_rest(name: str, tmp_path: Path) -> None:
    rows = [line.split(",") for line in GOOD.decode().split()]
    data = GOOD if name.endswith("csv") else packed({column: [row[at] or None for row in rows[1:]] for at, column in enumerate(rows[0])})
    assert laid(tmp_path, data, name) == dict.fromkeys(INDEX.table["id"].to_pylist(), ("train", "old")) | {
        "0/0.png": ("val", ""), "1/0.png": ("val", "a"), "0/1.png": ("test", "b"), "1/1.png": ("test", ""),
        "0/2.png": ("aside", ""), "1/2.png": ("train", "c"),
    }


def test_one_column_of_the_two_leaves_the_other_alone(tmp_path: Path) -> None:
    assert laid(tmp_path, b"group,id\nx,0/0.png\n")["0/0.png"] == ("train", "x")
    assert laid(tmp_path, b"id,part,colour\n0/0.png,test,red\n")["0/0.png"] == ("test", "old")


def test_ids_are_texts_even_where_they_look_like_numbers(tmp_path: Path) -> None:
    index = index_of([(0, 1, "", "", "007"), (0, 2, "", "", "7"), (1, 3, "", "", "NA"), (1, 4, "", "", "8")])
    found = laid(tmp_path, b"id,part\n007,test\nNA,val\n", index=index)
    assert found == {"007": ("test", ""), "7": ("", ""), "NA": ("val", ""), "8": ("", "")}
    assert laid(tmp_path, packed({"id": [7, 8], "part": ["test", "val"]}), "x.parquet", index)["7"] == ("test", "")


def test_an_image_that_the_source_refused_may_stand_in_the_table(tmp_path: Path) -> None:
    index = RealIndex(INDEX.classes, INDEX.table, (Refusal("0/torn.png", "truncated"),))
    assert laid(tmp_path, b"id,part\n0/torn.png,test\n0/0.png,test\n", index=index)["0/0.png"] == ("test", "old")


@pytest.mark.parametrize(("data", "name", "says"), [
    (b"id,part\n0/0.png,val\n0/9.png,test\n", "p.csv", r"line 3 of .*p.csv names '0/9.png', which is no image.* → use ids such as '0/0"),
    (b"id,part\n0/0.png,val\n0/0.png,val\n", "p.csv", r"line 3 of .* names '0/0.png' again, after line 2"),
    (b"id,part\n0/0.png,tset\n", "p.csv", r"line 2 of .* has the part 'tset' → use one of train,"),
    (b"id,part\n,test\n", "p.csv", r"line 2 of .* names '', which is no image"),
    (packed({"id": ["0/0.png", "?"], "part": ["val", "val"]}), "p.parquet", r"row 1 of .* names '\?'"),
    (b"id,group\n0/0.png," + b"g" * 300 + b"\n", "p.csv", "line 2 of .* has a group of 300 characters; 200"),
    (b"id\n0/0.png\n", "p.csv", "has the columns id → give a CSV or Parquet file with the columns id, and part or group"),
    (b"name,part\n0/0.png,val\n", "p.csv", "has the columns name, part →"),
    (b"id,part,part\n0/0.png,val,test\n", "p.csv", "has the columns id, part, part →"),
    (b"", "p.csv", "is no CSV file that can be read: Empty CSV"),
    (b"id,part\n0/0.png,val,more\n", "p.csv", r"has 3 cells in line 2, and 2 columns →"),
    (b"id,part\n" * 5000 + b"0/0.png,val,more\n", "p.csv", r"has 3 cells in line 5001, and 2 columns →"),
    (b"id,part\n0/0.png,v\xff\n", "p.csv", "is no CSV file that can be read: .*UTF8"),
    (b"id,part\n\0\0\0\n", "p.csv", "is binary, not CSV"),
    (GOOD, "p.parquet", "is no Parquet file that can be read"),
    (packed({"id": ["0/0.png"], "part": [[1]]}), "p.parquet", "is no Parquet file that can be read"),
    (packed({"id": ["0/0.png"], "part": ["x" * 70_000]}), "p.parquet", "has a text of more than 65536 bytes in column 'part'"),
    (GOOD, "p.txt", r"ends in none of .csv, .parquet"),
])
def test_a_wrong_table_is_refused_naming_row_and_cure(data: bytes, name: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says) as caught:
        laid(tmp_path, data, name)
    assert caught.value.cure


def test_a_table_that_is_missing_too_large_or_locked_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"other\.csv does not exist"):
        given.override(INDEX, f"{write(tmp_path, {'p.csv': GOOD})}/other.csv", LocalFolder)
    with pytest.raises(AccessError, match="no permission"):
        laid(tmp_path, GOOD, "secret.csv")
    monkeypatch.setattr(given, "MOST_BYTES", len(GOOD) - 1)
    with pytest.raises(DataError, match=f"has {len(GOOD)} bytes; .*={len(GOOD) - 1} are allowed"):
        laid(tmp_path, GOOD)


def test_a_small_file_that_unpacks_to_hundreds_of_gigabytes_takes_little_memory(tmp_path: Path) -> None:
    before = pa.default_memory_pool().max_memory()
    data = packed({"id": pa.array(["x" * 2**20] * 2000), "part": ["val"] * 2000}, dictionary_pagesize_limit=2**22)
    assert len(data) < 2**21
    at_rest = max(before, pa.default_memory_pool().max_memory())
    with pytest.raises(DataError, match="has a text of more than 65536 bytes"):
        laid(tmp_path, data, "p.parquet")
    assert pa.default_memory_pool().max_memory() <= max(at_rest, pa.total_allocated_bytes() + 2**25)


@cases(st.integers(0, 2**32))
@example(465815)   # a column that says it has no values, and was read as a table of no rows
def test_a_damaged_table_is_a_table_or_a_data_error_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(packed({"id": [f"0/{number}.png" for number in range(6)] * 20, "part": ["val", "test"] * 60}))
    for place in rng.integers(0, len(data), 4):
        data[place] = rng.integers(256)
    with TemporaryDirectory() as root, pytest.raises(DataError):   # every id stands there many times, if it is whole at all
        laid(Path(root), bytes(data), "p.parquet")


@pytest.mark.parametrize(("url", "folder", "name"), [
    ("p.csv", ".", "p.csv"), ("/p.csv", "/", "p.csv"), ("a/b/p.csv", "a/b", "p.csv"), ("s3://b/k/p.csv", "s3://b/k", "p.csv"),
    ("https://h/d/p.csv?sig=a/b", "https://h/d", "p.csv?sig=a/b"),
])
def test_a_url_is_taken_apart_into_folder_and_file(url: str, folder: str, name: str) -> None:
    assert given._apart(url) == (folder, name)


@cases(st.lists(st.sampled_from(["train", "val", "test", "aside"]), min_size=12, max_size=12))
def test_the_split_honours_the_table(parts: list[str]) -> None:
    ids = INDEX.table["id"].to_pylist()

    class Kept:
        def __init__(self, url: str) -> None: ...

        def list(self) -> list[tuple[str, int]]:
            return [("p.csv", 1)]

        def read(self, path: str) -> bytes:
            return "\n".join(["id,part,group", *(f"{id},{part}," for id, part in zip(ids, parts, strict=True))]).encode()

    index = given.override(INDEX, "p.csv", Kept)
    assume({"val", "test"} <= set(parts))   # a part that nobody was given is drawn
    if len({(number // 6, part) for number, part in enumerate(parts) if part != "aside"}) < 6:
        with pytest.raises(DataError, match="has no image in"):
            splitting.split(index, SplitGroup())
        return
    assert splitting.split(index, SplitGroup()).table["part"].to_pylist() == parts


def test_another_table_makes_another_run_and_the_same_one_elsewhere_does_not(tmp_path: Path) -> None:
    real = write(tmp_path / "real", class_folders({"cat": 12, "dog": 12}))

    def drafted(**more: str) -> Any:
        settings = load([], {
            "SALTWORKS_ROOT": str(tmp_path / "root"), "SALTWORKS_REAL__NAME": "image_folder", "SALTWORKS_REAL__OPTIONS__URL": real,
            "SALTWORKS_GENERATOR__NAME": "fake", "SALTWORKS_MEASURE__METRICS": "{}", "SALTWORKS_FILTER__KIND": "none",
            "SALTWORKS_SWEEP__ALPHAS": "0,.5", **more,
        })
        return admit.draft(admit.open_store(settings), settings, plan.choose_plugs(settings))

    names = [f"{name}/{number}.png" for name in ("cat", "dog") for number in range(12)]
    texts = ["\n".join(["id,part", *(f"{name},{('train', 'val', 'test')[(at + turn) % 3]}" for at, name in enumerate(names))])
             for turn in (0, 1)]
    for place, text in (("a", texts[0]), ("b", texts[0]), ("c", texts[1])):
        write(tmp_path / place, {"p.csv": text.encode()})
    plain, *others = drafted(), *(drafted(SALTWORKS_SPLIT__TABLE=f"{tmp_path}/{place}/p.csv") for place in "abc")
    a, b, c = others
    assert a[0].run == b[0].run
    assert len({plain[0].run, a[0].run, c[0].run}) == 3
    assert a[1].table["part"].to_pylist().count("val") == 8
    assert ReadOnlyFolder(f"{tmp_path}/a").read("p.csv") == texts[0].encode()
