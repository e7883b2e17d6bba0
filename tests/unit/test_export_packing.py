"""Rows → groups → files: nothing lost, nothing twice, no limit passed, and the same from wherever it is taken up again."""

import hashlib
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.ground import shards
from job.publish import formats, packing
from job.publish.packing import Group, Limits

pytestmark = pytest.mark.unit
SHARDS = st.lists(st.lists(st.integers(0, 60), max_size=8), max_size=8)   # bytes of every image, shard by shard
LIMITS = st.tuples(st.integers(1, 150), st.integers(1, 400), st.integers(1, 20)).map(lambda three: Limits(*three))
CLASSES = {"cat-1": 3, "dog-2": 0}


def row(number: int, size: int = 10, suffix: str = "png") -> dict:
    name = f"syn-{hashlib.sha256(str(number).encode()).hexdigest()[:16]}"
    return {"image": {"bytes": b"x" * size, "path": f"{name}.{suffix}"}, "label": "cat", "class_key": "cat-1", "id": name, "index": number,
            "prompt": "a cat — ½", "seed_used": number + 2**60, "redraw": 0, "recipe": "r", "model": "m", "revision": "", "licence": "MIT",
            "depth": 1, "ancestry": ["a", "b"], "digital_source_type": shards.SOURCE_TYPE}


def table(rows: list[dict]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=shards.SCHEMA)


def packed(sizes: list[list[int]], limits: Limits, start: tuple[int, int] = (0, 0)) -> list[Group]:
    """Shards of images of these sizes, numbered through, packed from ``start`` on."""
    numbers = iter(range(10**6))
    tables = [table([row(next(numbers), size) for size in one]) for one in sizes]
    firsts = [((shard, start[1] if shard == start[0] else 0), one) for shard, one in enumerate(tables) if shard >= start[0]]
    return list(packing.groups([(place, one.slice(place[1])) for place, one in firsts], limits))


def weights(group: Group, limits: Limits) -> list[int]:
    return [len(one["bytes"].as_py()) + limits.row for one in group.table["image"]]


@given(SHARDS, LIMITS)
def test_every_row_comes_out_once_and_groups_follow_the_order_of_the_rows(sizes: list[list[int]], limits: Limits) -> None:
    indices = [group.table["index"].to_pylist() for group in packed(sizes, limits)]
    assert [index for group in indices for index in sorted(group)] == list(range(sum(map(len, sizes))))


@given(SHARDS, LIMITS)
def test_no_limit_is_passed_but_by_a_single_row_and_no_group_or_file_ends_early(sizes: list[list[int]], limits: Limits) -> None:
    in_file, before = 0, 0
    for at, group in enumerate(packed(sizes, limits)):
        rows = weights(group, limits)
        first = group.table.sort_by("index")
        heaviest_first = len(first["image"][0]["bytes"].as_py()) + limits.row
        assert sum(rows) <= limits.group or len(rows) == 1
        assert group.opens == (at == 0 or in_file + heaviest_first > limits.file)
        if not group.opens:
            assert before + heaviest_first > limits.group
        in_file, before = sum(rows) + (0 if group.opens else in_file), sum(rows)
        assert in_file <= limits.file or len(rows) == 1


@given(SHARDS, LIMITS)
def test_how_shards_cut_the_rows_changes_nothing(sizes: list[list[int]], limits: Limits) -> None:
    one_shard = packed([[size for shard in sizes for size in shard]], limits)
    assert [(group.table, group.opens) for group in packed(sizes, limits)] == [(group.table, group.opens) for group in one_shard]


@given(SHARDS, LIMITS)
def test_from_the_first_row_of_any_file_the_rest_is_packed_as_before(sizes: list[list[int]], limits: Limits) -> None:
    whole = packed(sizes, limits)
    for at, group in enumerate(whole):
        if group.opens:
            again = packed(sizes, limits, group.start)
            assert again == whole[at:]


@given(st.integers(1, 30))
def test_within_a_group_the_ids_ascend(count: int) -> None:
    (group,) = packed([[10] * count], Limits(10**6, 10**6, 0))
    assert group.table["id"].to_pylist() == sorted(group.table["id"].to_pylist())


@pytest.mark.parametrize("kind", ["parquet", "webdataset"])
def test_the_same_rows_give_the_same_file_and_others_another(kind: formats.Kind, tmp_path: Path) -> None:
    def written(name: str, rows: list[dict]) -> bytes:
        file = formats.writer(kind, tmp_path / name, CLASSES)
        file.write(table(rows))
        file.close()
        return (tmp_path / name).read_bytes()

    rows = [row(number) for number in range(5)]
    assert written("a", rows) == written("b", rows)
    assert written("a", rows) != written("c", rows[:4])


def test_parquet_keeps_every_column_and_one_row_group_per_table(tmp_path: Path) -> None:
    rows = [row(number) for number in range(7)]
    file = formats.writer("parquet", tmp_path / "x", CLASSES)
    file.write(table(rows[:4]))
    file.write(table(rows[4:]))
    file.close()
    stored = pq.ParquetFile(tmp_path / "x")
    assert stored.schema_arrow == shards.SCHEMA
    assert json.loads(stored.schema_arrow.metadata[b"huggingface"])["info"]["features"]["image"] == {"_type": "Image"}
    assert stored.read().to_pylist() == rows
    groups = [stored.metadata.row_group(at) for at in range(stored.num_row_groups)]
    assert [group.num_rows for group in groups] == [4, 3]
    columns = {groups[0].column(at).path_in_schema: groups[0].column(at) for at in range(groups[0].num_columns)}
    assert set(columns) == {"image.bytes", "image.path", *shards.WORDS}
    assert columns["image.bytes"].compression == "UNCOMPRESSED"
    assert columns["prompt"].compression == columns["ancestry.list.element"].compression == "ZSTD"
    assert columns["prompt"].has_dictionary_page
    assert not columns["image.bytes"].has_dictionary_page


def test_a_tar_tells_class_image_and_origin_of_every_sample_and_nothing_of_its_making(tmp_path: Path) -> None:
    rows = [row(1), row(2, suffix="jpeg"), row(3) | {"class_key": "dog-2"}]
    file = formats.writer("webdataset", tmp_path / "x", CLASSES)
    file.write(table(rows))
    file.close()
    with tarfile.open(tmp_path / "x") as tar:
        members = tar.getmembers()
        content = {one.name: tar.extractfile(one).read() for one in members}
    assert [one.name for one in members] == [f"{one['id']}.{suffix}" for one, image in zip(rows, ("png", "jpg", "png"), strict=True)
                                             for suffix in ("cls", "json", image)]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in members} == {(0, 0, 0, "", "", 0o644)}
    assert [content[f"{one['id']}.cls"] for one in rows] == [b"3", b"3", b"0"]
    for one in rows:
        told = json.loads(content[f"{one['id']}.json"])
        assert told == {name: value for name, value in one.items() if name != "image"}


def test_the_guess_of_what_a_row_takes_in_a_tar_is_near(tmp_path: Path) -> None:
    rows = [row(number, size=3000) for number in range(100)]
    file = formats.writer("webdataset", tmp_path / "x", CLASSES)
    file.write(table(rows))
    file.close()
    guess = 100 * (3000 + formats.BESIDE_IMAGE["webdataset"])
    assert 0.9 < (tmp_path / "x").stat().st_size / guess < 1.1


