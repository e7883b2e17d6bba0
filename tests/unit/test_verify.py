"""Whatever happens to any object of a version, ``verify`` names it; what is whole verifies."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import DataError
from job.ground import layout, lineage, shards
from job.ground.store import Store
from job.publish import records
from job.publish.model import File, Version, encoded, files_digest
from job.publish.verify import verify
from tests.unit.made_run import make_run
from tests.unit.publishing import contents, folder, memory, publish_it

pytestmark = pytest.mark.unit
Fresh = Callable[[], Store]


@pytest.fixture(scope="module")
def fresh(real: Path) -> Fresh:
    """A store with one version, a new one each time."""
    made = make_run(memory(), real)
    publish_it(made)
    objects = contents(made.store)

    def copy() -> Store:
        store = memory()
        for key, data in objects.items():
            store.create(key, data)
        return store

    return copy


@pytest.mark.parametrize("privacy", [False, True])
@pytest.mark.parametrize("word", ["helped", "hurt"])
@pytest.mark.parametrize("place", ["memory", "folder"])
def test_what_was_published_verifies(place: str, word: str, privacy: bool, real: Path, tmp_path: Path) -> None:
    made = make_run(memory() if place == "memory" else folder(tmp_path), real, word=word)
    version, _ = publish_it(made, privacy=privacy)
    found = verify(made.store, "pets", 1)
    found.check()
    assert (found.problems, found.files) == ((), len(version.files))
    assert found.bytes == sum(one.bytes for one in version.files) > 0
    assert found.rows == sum(one.rows for one in version.files)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["lost", "flipped", "cut", "longer", "empty", "another's"]), st.integers(0, 10**9))
def test_damage_to_any_object_is_found_and_named(fresh: Fresh, which: int, how: str, at: int) -> None:
    store = fresh()
    files = records.read(store, "pets", 1).files
    file, other = files[which % len(files)], files[(which + 1) % len(files)]
    data = store.read(file.key)
    place = at % len(data)
    damaged = {"lost": None, "flipped": data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], "cut": data[:place],
               "longer": data + b"\0", "empty": b"", "another's": store.read(other.key)}[how]
    if damaged is None:
        store.delete(file.key)
    else:
        store.replace(file.key, damaged)
    found = verify(store, "pets", 1)
    assert found.problems == (f"{file.key}: {'missing' if damaged is None else 'changed'}",)
    with pytest.raises(DataError, match="is not what was published") as error:
        found.check()
    assert error.value.exit_code == 65


def test_everything_that_is_wrong_is_told_not_the_first_alone(fresh: Fresh) -> None:
    store = fresh()
    files = records.read(store, "pets", 1).files
    for file in files:
        store.delete(file.key)
    found = verify(store, "pets", 1)
    assert sorted(found.problems) == sorted(f"{one.key}: missing" for one in files)
    with pytest.raises(DataError, match=f"and {len(files) - 3} more"):
        found.check()


def rewritten(store: Store, file: File, change: Callable[[pa.Table], pa.Table], honest: bool = True) -> None:
    """The version with one table changed, and, where honest, its digests made to fit."""
    table = change(pq.read_table(io.BytesIO(store.read(file.key))))
    data = shards.table_bytes(table)
    store.replace(file.key, data)
    version = records.read(store, "pets", 1)
    told: dict[str, Any] = {"sha256": lineage.sha256(data), "bytes": len(data), **({"rows": len(table)} if honest else {})}
    files = [one.model_copy(update=told) if one.key == file.key else one for one in version.files]
    store.replace(layout.version("pets", 1), encoded(version.model_copy(update={"files": files, "files_sha256": files_digest(files)})))


def without_kept(store: Store, file: File) -> Callable[[pa.Table], pa.Table]:
    """The shard without one image that was kept."""
    decisions = next(one for one in records.read(store, "pets", 1).of("decisions", file.class_key))
    rows = pq.read_table(io.BytesIO(store.read(decisions.key))).to_pylist()
    kept = {row["id"] for row in rows if row["state"] == "kept"}

    def drop(table: pa.Table) -> pa.Table:
        at = next(at for at, one in enumerate(table["id"].to_pylist()) if one in kept)
        return pa.concat_tables([table.slice(0, at), table.slice(at + 1)])

    return drop


def test_a_forger_who_mends_the_digests_is_caught_by_the_ids(fresh: Fresh) -> None:
    store = fresh()
    shard = next(one for one in records.read(store, "pets", 1).of("images") if one.kept)
    rewritten(store, shard, without_kept(store, shard))
    assert any(f"{shard.key}: 1 kept images are not in it" in one for one in verify(store, "pets", 1).problems)

    store = fresh()
    rewritten(store, shard, lambda table: table.slice(0, len(table) - 1), honest=False)
    assert any(f"{shard.key}: {shard.rows - 1} rows instead of {shard.rows}" in one for one in verify(store, "pets", 1).problems)

    store = fresh()
    mixed = next(one for one in records.read(store, "pets", 1).of("images") if one.kept > 1)
    rewritten(store, mixed, lambda table: table.take(list(range(len(table)))[::-1]))
    assert any("images of the mix are not in their rows" in one for one in verify(store, "pets", 1).problems)


def test_a_mix_with_an_image_that_is_not_of_the_training_set_is_found(fresh: Fresh) -> None:
    store = fresh()
    version = records.read(store, "pets", 1)
    mix, = version.of("mix")
    split, = version.of("split")
    judged = next(row["id"] for row in pq.read_table(io.BytesIO(store.read(split.key))).to_pylist() if row["part"] == "test")

    def smuggle(table: pa.Table) -> pa.Table:
        rows = table.to_pylist()
        rows[0]["id"] = judged
        return pa.Table.from_pylist(rows, table.schema)

    rewritten(store, mix, smuggle)
    assert any(judged in one for one in verify(store, "pets", 1).problems)


@pytest.mark.parametrize(("change", "told"), [
    (lambda version: {"files": version.files[1:]}, "the list of files is not the one"),
    (lambda version: {"files": [*version.files, version.files[0]]}, "listed twice"),
    (lambda version: {"counts": version.counts.model_copy(update={"kept": 1})}, "kept images instead of 1"),
    (lambda version: {"mix": version.mix.model_copy(update={"n_real": 1})}, "instead of 1 and"),
])
def test_a_version_that_contradicts_itself_is_told(change: Callable[[Version], dict[str, Any]], told: str, fresh: Fresh) -> None:
    store = fresh()
    version = records.read(store, "pets", 1)
    store.replace(layout.version("pets", 1), encoded(version.model_copy(update=change(version))))
    assert any(told in one for one in verify(store, "pets", 1).problems)


def test_a_version_that_is_missing_or_of_another_shape_is_a_data_error(fresh: Fresh) -> None:
    store = fresh()
    with pytest.raises(DataError, match="there are 1 to 1"):
        verify(store, "pets", 2)
    told = json.loads(store.read(layout.version("pets", 1)))
    store.replace(layout.version("pets", 1), json.dumps({**told, "schema_version": 2}).encode())
    with pytest.raises(DataError, match="schema_version"):
        verify(store, "pets", 1)
