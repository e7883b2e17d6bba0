"""What export refuses, and what stays untouched then."""

import resource
from pathlib import Path

import pyarrow as pa
import pytest

from job.errors import ConflictError, DataError, JobError, SettingsError, TemporaryError
from job.ground import layout, lineage, shards
from job.ground.store import Store
from job.publish.export import export
from job.publish.model import File, Version, files_digest
from tests.unit import exporting
from tests.unit.exporting import KINDS, SMALL, Watched, rows_of, small
from tests.unit.made_run import Made
from tests.unit.publishing import memory

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Version]:
    return exporting.published(tmp_path_factory.mktemp("run"))


@pytest.fixture
def to() -> Store:
    return memory()


def test_where_real_images_alone_are_recommended_the_mix_is_refused_and_what_was_kept_is_not(tmp_path: Path, to: Store) -> None:
    made, version = exporting.published(tmp_path, word="no detectable difference")
    with pytest.raises(DataError, match=r"recommends no synthetic image.*--publish.export_what kept") as error:
        small((made, version), to, what="mix")
    assert error.value.exit_code == 65
    assert to.list("") == []
    assert {row["id"] for row in rows_of(to, small((made, version), to))} == made.ids("kept")


def test_another_size_of_file_or_another_version_is_not_mixed_in(published: tuple[Made, Version], to: Store) -> None:
    made, version = published
    small(published, to)
    with pytest.raises(ConflictError, match=f"file_bytes = {SMALL}, not {SMALL + 1}"):
        small(published, to, file_bytes=SMALL + 1)
    begun = memory()
    with pytest.raises(KeyboardInterrupt):
        small(published, Watched(begun.url, 12))
    with pytest.raises(ConflictError, match="file_bytes"):
        small(published, begun, file_bytes=SMALL + 1)
    with pytest.raises(ConflictError, match="version_sha256"):
        small((made, version.model_copy(update={"files_sha256": "0" * 64})), begun)


@pytest.mark.parametrize("name", ["pets-000001-000000.parquet", "_parts/000000.json", "export.json"])
def test_what_is_not_ours_is_never_written_over(published: tuple[Made, Version], to: Store, name: str) -> None:
    key = f"pets-000001-kept-parquet/{name}"
    to.create(key, b"mine")
    with pytest.raises(ConflictError, match=name):
        small(published, to)
    assert to.read(key) == b"mine"


def test_a_recorded_file_that_is_gone_is_told_before_the_manifest_is_written(published: tuple[Made, Version]) -> None:
    store = memory()
    with pytest.raises(KeyboardInterrupt):
        small(published, Watched(store.url, 12))
    store.delete("pets-000001-kept-parquet/pets-000001-000000.parquet")
    with pytest.raises(DataError, match=r"000000.parquet was written, and is missing.*remove"):
        small(published, store)
    assert store.get("pets-000001-kept-parquet/export.json") is None


@pytest.fixture
def copy(published: tuple[Made, Version]) -> tuple[Store, Version]:
    """The published objects in a store of their own, to be tampered with."""
    made, version = published
    store = memory()
    for one in version.files:
        store.create(one.key, made.store.read(one.key))
    store.create(layout.dataset_json("pets"), made.store.read(layout.dataset_json("pets")))
    return store, version


def swapped(store: Store, version: Version, old: File, table: pa.Table) -> Version:
    """The version with another file in place of one of its own, every digest right."""
    data = shards.table_bytes(table)
    digest = lineage.sha256(data)
    new = old.model_copy(update={"key": old.key.replace(old.sha256, digest), "sha256": digest, "bytes": len(data)})
    store.replace(new.key, data)
    files = [new if one == old else one for one in version.files]
    return version.model_copy(update={"files": files, "files_sha256": files_digest(files)})


def test_a_shard_that_changed_or_is_gone_stops_the_export(copy: tuple[Store, Version], to: Store) -> None:
    store, version = copy
    shard = next(one for one in version.of("images") if one.kept)
    data = store.read(shard.key)
    store.replace(shard.key, data[:-1] + b"?")
    with pytest.raises(DataError, match="does not hold"):
        export(store, version, to=to, kind="parquet", what="kept", file_bytes=SMALL)
    store.delete(shard.key)
    with pytest.raises(DataError, match=r"is missing.*verify"):
        export(store, version, to=to, kind="parquet", what="kept", file_bytes=SMALL)
    store.create(shard.key, data)
    assert export(store, version, to=to, kind="parquet", what="kept", file_bytes=SMALL).rows == version.counts.kept


def test_a_mix_that_names_what_was_not_kept_is_refused(copy: tuple[Store, Version], to: Store) -> None:
    store, version = copy
    decisions = version.of("decisions")[0]
    table = shards.read(store.read(decisions.key))
    states = ["rejected"] * table.num_rows
    changed = swapped(store, version, decisions, table.set_column(table.schema.get_field_index("state"), "state", pa.array(states)))
    with pytest.raises(DataError, match="which was not kept"):
        export(store, changed, to=to, kind="parquet", what="mix", file_bytes=SMALL)


def test_a_version_without_the_shards_of_its_images_is_refused(copy: tuple[Store, Version], to: Store) -> None:
    store, version = copy
    lost = next(one for one in version.of("images") if one.kept)
    less = version.model_copy(update={"files": [one for one in version.files if one != lost]})
    with pytest.raises(DataError, match=r"no shard"):
        export(store, less, to=to, kind="parquet", what="kept", file_bytes=SMALL)
    table = shards.read(store.read(lost.key))
    for wrong in (table.slice(0, 0), pa.concat_tables([table, table])):
        with pytest.raises(DataError, match="does not hold each"):
            export(store, swapped(store, version, lost, wrong), to=memory(), kind="parquet", what="kept", file_bytes=SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_local_disk_without_room_is_told_and_the_export_goes_on_later(published: tuple[Made, Version], to: Store, kind: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(TemporaryError, match=r"does not fit.*EXPORT_MB"):
            small(published, to, kind, file_bytes=10**9)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert to.list("") == []
    assert small(published, to, kind, file_bytes=10**9).rows == published[1].counts.kept


@pytest.mark.parametrize("wrong", [{"kind": "zip"}, {"what": "all"}, {"file_bytes": 0}])
def test_what_cannot_be_asked_for_is_told(published: tuple[Made, Version], to: Store, wrong: dict) -> None:
    with pytest.raises(SettingsError) as error:
        small(published, to, **wrong)
    assert isinstance(error.value, JobError)
    assert error.value.cure
