"""What export copies, and that nothing stops it for good: exactly the chosen images, the same bytes whatever happens on the way."""

import io
import json
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.ground import layout, lineage, shards
from job.ground.store import Store
from job.publish import packing
from job.publish.export import Exported, export
from job.publish.model import Version
from tests.unit import exporting
from tests.unit.exporting import KINDS, SMALL, Watched, by_id, everything, rows_of, shard_rows, small
from tests.unit.made_run import Made
from tests.unit.publishing import memory

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Made, Version]:
    return exporting.published(tmp_path_factory.mktemp("run"))


@pytest.fixture
def to() -> Store:
    return memory()


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_was_kept_comes_out_once_unchanged_and_nothing_else(published: tuple[Made, Version], to: Store, kind: str) -> None:
    made, version = published
    done = small(published, to, kind)
    assert all(made.ids(state) for state in ("rejected", "failed", "unused"))
    assert by_id(rows_of(to, done)) == by_id([row for row in shard_rows(made) if row["id"] in made.ids("kept")])
    assert done.rows == version.counts.kept == sum(file.rows for file in done.files)


@pytest.mark.parametrize("kind", KINDS)
def test_the_mix_is_the_synthetic_part_of_what_is_recommended(published: tuple[Made, Version], to: Store, kind: str) -> None:
    made, version = published
    (file,) = version.of("mix")
    mix = pq.read_table(io.BytesIO(made.store.read(file.key))).to_pylist()
    named = {row["id"] for row in mix if row["kind"] == "synthetic"}
    done = small(published, to, kind, "mix")
    assert 0 < len(named) == version.mix.n_synthetic < version.counts.kept
    assert by_id(rows_of(to, done)) == by_id([row for row in shard_rows(made) if row["id"] in named])


@pytest.mark.parametrize("kind", KINDS)
def test_the_manifest_tells_files_digests_rows_and_classes(published: tuple[Made, Version], to: Store, kind: str) -> None:
    made, _ = published
    done = small(published, to, kind)
    assert Exported.model_validate_json(to.read(f"{done.folder}export.json")) == done
    assert done.folder == f"pets-000001-kept-{kind}/"
    assert len(done.files) > 2
    for at, file in enumerate(done.files):
        data = to.read(done.folder + file.name)
        assert (file.name.rpartition(".")[0], file.bytes, file.sha256) == (f"pets-000001-{at:06d}", len(data), lineage.sha256(data))
    labels = [row["label"] for row in rows_of(to, done)]
    names = json.loads(made.store.read(layout.dataset_json("pets")))["classes"]
    assert [(one.name, one.index, one.rows) for one in done.classes] == [(name, at, labels.count(name)) for at, name in enumerate(names)]
    if kind == "webdataset":
        assert json.loads(to.read(f"{done.folder}classes.json")) == {name: at for at, name in enumerate(names)}


def test_a_class_keeps_its_number_where_others_have_no_images(published: tuple[Made, Version], to: Store) -> None:
    made, version = published
    last = version.classes[-1]
    alone = version.model_copy(update={"classes": [last], "files": [one for one in version.files if one.class_key in ("", last.key)]})
    done = export(made.store, alone, to=to, kind="webdataset", what="kept", file_bytes=SMALL)
    assert [(one.index, one.rows) for one in done.classes] == [(0, 0), (1, 0), (2, last.kept)]
    with tarfile.open(fileobj=io.BytesIO(to.read(done.folder + done.files[0].name))) as tar:
        assert {tar.extractfile(one).read() for one in tar if one.name.endswith(".cls")} == {b"2"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_the_list_changes_no_byte(published: tuple[Made, Version], kind: str) -> None:
    made, version = published
    stores = []
    for seed in range(3):
        files = random.Random(seed).sample(version.files, len(version.files))
        stores.append(memory())
        export(made.store, version.model_copy(update={"files": files}), to=stores[-1], kind=kind, what="mix", file_bytes=SMALL)
    assert everything(stores[0]) == everything(stores[1]) == everything(stores[2])


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_and_a_bucket_receive_the_same_bytes(
    published: tuple[Made, Version], to: Store, kind: str, bucket: str, tmp_path: Path
) -> None:
    places = [to, Store(str(tmp_path / "out"), retry_s=0), Store(bucket, retry_s=5)]
    for place in places:
        small(published, place, kind)
    assert everything(places[0]) == everything(places[1]) == everything(places[2])


def test_the_same_export_again_reads_one_object_and_writes_nothing(published: tuple[Made, Version], to: Store) -> None:
    made, version = published
    first = small(published, to)
    source, again = Watched(made.store.url), Watched(to.url)
    assert export(source, version, to=again, kind="parquet", what="kept", file_bytes=SMALL) == first
    assert (source.asked, again.asked) == ([], [f"{first.folder}export.json"])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_that_dies_at_any_operation_goes_on_from_its_last_whole_file(
    published: tuple[Made, Version], kind: str, after: bool
) -> None:
    whole = Watched(memory().url)
    done = small(published, whole, kind, "mix")
    expected = everything(Store(whole.url))
    for dies in range(1, len(whole.asked) + 1):
        url = memory().url
        with pytest.raises(KeyboardInterrupt):
            small(published, Watched(url, dies, after), kind, "mix")
        left = everything(Store(url))
        assert left.items() <= expected.items()
        assert f"{done.folder}export.json" not in left or set(left) == set(expected)
        recorded = {done.folder + json.loads(data)["file"]["name"] for key, data in left.items() if "/_parts/" in key}
        assert recorded <= set(left)   # data first
        resumed = Watched(url)
        assert small(published, resumed, kind, "mix") == done
        assert not recorded & set(resumed.asked)
        assert everything(Store(url)) == expected


def test_progress_counts_every_image_once_also_when_resumed(published: tuple[Made, Version]) -> None:
    made, version = published
    url, counted = memory().url, []
    with pytest.raises(KeyboardInterrupt):
        small(published, Watched(url, 12), "parquet")
    assert any("/_parts/" in key for key, _ in Store(url).list(""))
    export(made.store, version, to=Store(url), kind="parquet", what="kept", file_bytes=SMALL, advance=lambda count=1: counted.append(count))
    assert sum(counted) == version.counts.kept


def test_no_more_shards_are_read_than_a_group_needs_and_one(published: tuple[Made, Version]) -> None:
    tables = [shards.read(published[0].store.read(one.key)) for one in published[0].committed]
    read = []

    def lazily() -> Iterator[tuple[packing.Place, pa.Table]]:
        for at, table in enumerate(tables):
            read.append(table.num_rows)
            yield (at, 0), table

    packed = 0
    for group in packing.groups(lazily(), packing.Limits(8000, 50_000, 128)):
        packed += group.table.num_rows
        assert sum(read[:-1]) <= packed
