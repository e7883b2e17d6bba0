"""The Croissant description is valid to the reference implementation, and its records are those of the mix."""

import io
import json
import logging
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from job.ground import layout, lineage
from job.ground.store import Store
from job.publish import croissant
from job.publish.model import Version
from tests.unit.made_run import make_run
from tests.unit.publishing import folder, publish_it

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")]   # of mlcroissant


@pytest.fixture(scope="module", params=[False, True], ids=["open", "private"])
def published(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Version, Path]:
    home = tmp_path_factory.mktemp("croissant")
    store = folder(home / "root")
    version, _ = publish_it(make_run(store, home / "real", classes=("cat", "a \"dog\"", "fox ä|`")), privacy=request.param)
    return store, version, home / "root" / croissant.write(store, version)


def test_the_reference_implementation_finds_nothing_to_complain_of(
    published: tuple[Store, Version, Path], caplog: pytest.LogCaptureFixture
) -> None:
    import mlcroissant

    with caplog.at_level(logging.WARNING):
        found = mlcroissant.Dataset(jsonld=str(published[2]))
    issues = found.metadata.ctx.issues
    assert (issues.errors, issues.warnings) == (set(), set())
    assert not [one.getMessage() for one in caplog.records if "WARNING" in one.getMessage()]
    told = json.loads(published[2].read_text())
    assert told["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert str(found.metadata.version) == "1.0.0"


def test_its_records_are_the_mix(published: tuple[Store, Version, Path]) -> None:
    import mlcroissant

    store, version, path = published
    rows = pq.read_table(io.BytesIO(store.read(version.of("mix")[0].key))).to_pylist()
    read = list(mlcroissant.Dataset(jsonld=str(path)).records("mix"))
    assert len(read) == len(rows)
    for one, row in zip(read, rows, strict=True):
        assert {name: one[f"mix/{name}"].decode() for name in ("kind", "id", "label")} == {
            name: row[name] for name in ("kind", "id", "label")}


def test_every_file_of_the_version_is_described_with_its_digest_and_found_at_its_address(published: tuple[Store, Version, Path]) -> None:
    _, version, path = published
    told = {one["@id"]: one for one in json.loads(path.read_text())["distribution"]}
    assert told.keys() == {one.key for one in version.files}
    for one in version.files:
        data = (path.parent / told[one.key]["contentUrl"]).read_bytes()
        assert (lineage.sha256(data), f"{len(data)} B") == (told[one.key]["sha256"], told[one.key]["contentSize"])


def test_it_says_that_the_images_are_synthetic_who_drew_them_and_what_is_not_known(published: tuple[Store, Version, Path]) -> None:
    told = json.loads(published[2].read_text())
    assert told["rai:hasSyntheticData"] is True
    assert "'fake'" in told["rai:dataCollection"]
    assert len(told["rai:dataLimitations"]) >= 5
    assert told["license"] == "CC0-1.0"


def test_made_again_it_is_the_same(published: tuple[Store, Version, Path]) -> None:
    store, version, path = published
    before = path.read_bytes()
    croissant.write(store, version)
    assert path.read_bytes() == before
    assert path == Path(store.url) / layout.version_file("pets", 1, "croissant.json")
