"""A finished run becomes one version: whole or refused, once, whatever crashes and whoever else publishes."""

import io
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import QualityError
from job.ground import layout, lineage, shards
from job.ground.store import Store
from job.publish import pointer, records
from job.publish.model import Version, files_digest, schema
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import Crash, Dying, contents, folder, memory, publish_it

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def again(real: Path) -> Callable[[], Made]:
    """The same run in a store of its own, each time."""
    made = make_run(memory(), real)
    objects = contents(made.store)

    def fresh() -> Made:
        store = memory()
        for key, data in objects.items():
            store.create(key, data)
        return replace(made, store=store)

    return fresh


@pytest.mark.parametrize("place", ["memory", "folder"])
def test_a_version_names_every_object_of_its_run_with_its_digest_size_and_rows(place: str, real: Path, tmp_path: Path) -> None:
    made = make_run(memory() if place == "memory" else folder(tmp_path / "root"), real)
    version, _ = publish_it(made)
    assert version == records.read(made.store, "pets", 1)
    for one in version.files:
        data = made.store.read(one.key)
        assert (lineage.sha256(data), len(data)) == (one.sha256, one.bytes)
        assert one.rows == (0 if one.kind == "report" else pq.ParquetFile(io.BytesIO(data)).metadata.num_rows)
    assert {one.key for one in version.of("images")} == {one.key for one in made.committed}
    assert version.files_sha256 == files_digest(version.files)
    assert sum(one.kept for one in version.of("images")) == version.counts.kept == len(made.ids("kept"))
    assert version.counts.model_dump() == {"planned": len(made.decisions) and sum(map(len, made.decisions.values())),
                                           **{state: len(made.ids(state)) for state in ("kept", "rejected", "failed", "unused")}}
    assert {state for state in ("kept", "rejected", "failed", "unused") if made.ids(state)} == {"kept", "rejected", "failed", "unused"}
    assert (version.image_digest, version.code_digest) == ("sha256:img", "abc")
    assert (version.lineage.licence, version.lineage.depth, version.cost.total) == ("CC0-1.0", 1, pytest.approx(0.075))


def test_the_published_schema_holds_for_what_is_published(made: Made) -> None:
    publish_it(made)
    jsonschema.validate(json.loads(made.store.read(layout.version("pets", 1))), json.loads(schema()))


def test_the_list_digest_is_that_of_the_files_whatever_their_order(made: Made) -> None:
    version, _ = publish_it(made)
    assert files_digest(reversed(version.files)) == version.files_sha256
    one = version.files[0]
    for change in ({"rows": one.rows + 1}, {"kept": one.kept + 1}, {"sha256": "0" * 64}, {"key": f"{one.key}x"}):
        assert files_digest([one.model_copy(update=change), *version.files[1:]]) != version.files_sha256


def test_the_same_run_publishes_once(made: Made) -> None:
    first, moved = publish_it(made)
    before = contents(made.store)
    later = replace(made, spent=(*made.spent, *made.spent))   # its bill has grown since
    again, moved_again = publish_it(later)
    assert (again, moved_again) == (first, moved)
    assert contents(made.store) == before
    assert not {"created", "time", "date"} & set(Version.model_fields)


def test_versions_are_numbered_without_gaps_and_know_their_parent(made: Made, real: Path) -> None:
    runs = [made, *(make_run(made.store, real, edition=f"e{number}") for number in (2, 3))]
    found = [publish_it(one)[0] for one in runs]
    assert [(one.number, one.parent) for one in found] == [(1, None), (2, 1), (3, 2)]
    assert [one.run for one in records.every(made.store, "pets")] == [one.planned.run for one in runs]


def test_the_number_of_a_version_that_was_removed_is_not_given_again(made: Made, real: Path) -> None:
    publish_it(made)
    publish_it(make_run(made.store, real, edition="e2"))
    made.store.delete(layout.version("pets", 2))
    version, moved = publish_it(make_run(made.store, real, edition="e3"))
    assert (version.number, version.parent, moved) == (3, 1, True)


def test_a_run_that_another_process_publishes_between_two_looks_is_not_published_twice(made: Made) -> None:
    class Overtaken(Store):
        looks = 0

        def list(self, prefix: str) -> list[tuple[str, int]]:
            listed = super().list(prefix)
            if prefix == layout.versions("pets"):
                self.looks += 1
                if self.looks == 2:   # the first look is before everything is gathered, the second to take a number
                    publish_it(made)
            return listed

    ours = publish_it(made, Overtaken(made.store.url, 0))[0]
    assert records.numbers(made.store, "pets") == [1]
    assert ours == records.read(made.store, "pets", 1)


def test_of_many_who_publish_at_once_each_run_gets_one_version(real: Path, tmp_path: Path) -> None:
    root = str(tmp_path / "root")
    runs = [make_run(Store(root, 0), real, edition=f"e{number}") for number in range(3)]
    start = threading.Barrier(6)

    def one(made: Made) -> Version:
        start.wait(60)
        return publish_it(made, Store(root, 5))[0]

    with ThreadPoolExecutor(6) as writers:
        found = list(writers.map(one, runs * 2))
    assert found[:3] == found[3:]
    assert sorted(one.number for one in found[:3]) == [1, 2, 3]
    assert records.numbers(Store(root, 0), "pets") == [1, 2, 3]
    there = pointer.latest(Store(root, 0), "pets")
    assert there
    assert there.version in (1, 2, 3)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_publish_that_dies_at_any_change_is_finished_by_the_next(done: bool, made: Made, real: Path) -> None:
    publish_it(make_run(made.store, real, edition="older"))
    base = contents(made.store)
    publish_it(made)
    whole, changes = contents(made.store), 0
    while True:
        store = memory()
        for key, data in base.items():
            store.create(key, data)
        try:
            publish_it(made, Dying(store.url, changes, done))
        except Crash:
            changes += 1
            for key in layout.versions("pets"), layout.moves("pets"):
                assert len(store.list(key)) in (1, 2)   # a version and a move are there whole or not at all
            assert publish_it(made, store)[1]
            assert contents(store) == whole
            continue
        assert changes == 5   # mix, report, version, move, pointer
        return


LIES = {
    "a sample that was never decided": lambda rows: rows[1:],
    "a sample decided twice": lambda rows: [*rows, {**rows[0], "state": "unused"}],
    "a sample of no round": lambda rows: [*rows, {**rows[0], "id": "syn-0", "index": 10_000}],
    "another id": lambda rows: [{**rows[0], "id": "syn-0"}, *rows[1:]],
    "a failed sample kept": lambda rows: [{**one, "state": "kept"} if one["state"] == "failed" else one for one in rows],
    "a kept sample failed": lambda rows: [{**one, "state": "failed"} if one["state"] == "kept" else one for one in rows],
    "an unknown state": lambda rows: [{**rows[0], "state": "lost"}, *rows[1:]],
    "nothing at all": lambda rows: [],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_run_that_does_not_add_up_is_refused_and_nothing_is_written(lie: str, made: Made) -> None:
    words = made.planned.classes[2]
    _redecide(made, words.key, LIES[lie](made.decisions[words.key].to_pylist()))
    before = contents(made.store)
    with pytest.raises(QualityError, match="fox") as error:
        publish_it(made)
    assert error.value.exit_code == 65
    assert contents(made.store) == before


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([0, 1, 2]), st.integers(0, 10**6), st.sampled_from(["drop", "double", "fail", "id", "index"]))
def test_no_change_of_a_single_decision_goes_unseen(again: Callable[[], Made], label: int, at: int, change: str) -> None:
    made = again()
    words = made.planned.classes[label]
    rows = made.decisions[words.key].to_pylist()
    at %= len(rows)
    if change == "drop":
        del rows[at]
    elif change == "double":
        rows.append(rows[at])
    elif change == "fail":
        rows[at]["state"] = "kept" if rows[at]["state"] == "failed" else "failed"
    else:
        other = rows[at - 1] if at else rows[-1]
        rows[at][change] = other[change]
    _redecide(made, words.key, rows)
    with pytest.raises(QualityError):
        publish_it(made)


def test_a_lost_or_changed_record_is_named(made: Made) -> None:
    unit, keys = made.committed[0].unit, made.keys
    index = json.loads(made.store.read(keys.filtered_index()))
    for key, data, told in (
        (layout.commit(made.planned.recipe.id, unit), None, f"{unit.name}: no commit"),
        (index[unit.class_key], None, "missing or changed"),
        (index[unit.class_key], b"x", "missing or changed"),
        (keys.filtered_index(), lineage.canonical({key: one for key, one in index.items() if key != unit.class_key}).encode(), "disagree"),
        (keys.round(2), None, "of no round"),
        (keys.done(), None, "not finished"),
    ):
        before = made.store.read(key)
        made.store.delete(key) if data is None else made.store.replace(key, data)
        with pytest.raises(QualityError, match=told):
            publish_it(made)
        made.store.replace(key, before)
    assert publish_it(made)[0].number == 1


def test_every_gate_refuses_what_it_is_there_for(made: Made) -> None:
    with pytest.raises(QualityError, match=r"licence is 'CC0-1\.0'"):
        publish_it(made, licences=("MIT",))
    strict = replace(made, planned=replace(made.planned, failed_share=0.01))
    with pytest.raises(QualityError, match=f"{len(made.ids('failed'))} of {sum(map(len, made.decisions.values()))} samples failed"):
        publish_it(strict)
    assert records.numbers(made.store, "pets") == []


@pytest.mark.parametrize("part", ["column", "picture"])
def test_images_without_their_mark_are_not_published(part: str, made: Made) -> None:
    old = made.committed[0]
    table = shards.read(made.store.read(old.key))
    if part == "column":
        table = table.set_column(table.column_names.index("digital_source_type"), "digital_source_type", pa.array([""] * len(table)))
    else:
        bare = [{**one, "bytes": _unmarked(one["bytes"])} for one in table["image"].to_pylist()]
        table = table.set_column(0, "image", pa.array(bare, table.schema.field("image").type))
    data = shards.table_bytes(table.cast(shards.SCHEMA))
    key = layout.shard(made.planned.recipe.id, old.unit, lineage.sha256(data))
    commit = layout.commit(made.planned.recipe.id, old.unit)
    told = json.loads(made.store.read(commit)) | {"data": key, "sha256": lineage.sha256(data), "bytes": len(data)}
    made.store.create(key, data)
    made.store.replace(commit, lineage.canonical(told).encode())
    with pytest.raises(QualityError, match="not marked as generated"):
        publish_it(made)


def _redecide(made: Made, class_key: str, rows: list[dict[str, Any]]) -> None:
    """Other decisions on one class, stored as the job would have stored them."""
    data = shards.table_bytes(pa.Table.from_pylist(rows, made.decisions[class_key].schema))
    index = json.loads(made.store.read(made.keys.filtered_index()))
    index[class_key] = made.keys.filtered(class_key, lineage.sha256(data)[:16])
    made.store.create(index[class_key], data)
    made.store.replace(made.keys.filtered_index(), lineage.canonical(index).encode())


def _unmarked(data: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").save(out, "PNG")
    return out.getvalue()
