"""With privacy nothing that a version names tells the name of a real file, or it is not published."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from job.errors import QualityError
from job.ground import layout, lineage, shards
from job.publish import records
from job.publish.card import write as write_card
from job.publish.croissant import write as write_croissant
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import memory, publish_it

pytestmark = pytest.mark.unit


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return make_run(memory(), tmp_path / "real")


def objects(made: Made) -> dict[str, str]:
    """Everything that the version is or names, as text; tables as their rows."""
    version = records.read(made.store, "pets", 1)
    told = {key: made.store.read(key).decode() for key, _ in made.store.list(layout.versions("pets"))}
    for file in version.files:
        data = made.store.read(file.key)
        told[file.key] = data.decode() if file.kind == "report" else str(
            [{**row, "image": ""} for row in shards.read(data).to_pylist()])
    return told


def test_no_name_of_a_real_file_stands_in_anything_published(made: Made, tmp_path: Path) -> None:
    assert made.report
    told = made.report.model_copy(update={"refused": ["train/cat/torn.png: it is truncated"]})
    version, _ = publish_it(replace(made, report=told), privacy=True)
    write_card(made.store, version)
    write_croissant(made.store, version)
    assert version.privacy
    assert version.of("split") == []
    names = [*made.split.table["id"].to_pylist(), "torn.png", str(tmp_path)]
    for key, text in objects(made).items():
        assert not [name for name in names if name in text], key


def test_without_privacy_the_same_test_would_find_them(made: Made) -> None:
    publish_it(made)
    names = made.split.table["id"].to_pylist()
    assert sorted(key.rpartition("/")[2].partition("-")[0] for key, text in objects(made).items()
                  if any(name in text for name in names)) == ["mix", "split.parquet"]


@pytest.mark.parametrize("where", ["warning", "reason", "part of a path"])
def test_a_name_that_slipped_in_is_refused(where: str, made: Made) -> None:
    name = made.split.table["id"].to_pylist()[0]
    assert made.report
    if where == "reason":
        key = made.planned.classes[0].key
        rows = made.decisions[key].to_pylist()
        at = next(at for at, row in enumerate(rows) if row["state"] == "rejected")
        rows[at]["reason"] = f"0.01 from {name.replace('0', '7')}, a copy"
        data = shards.table_bytes(made.decisions[key].from_pylist(rows, made.decisions[key].schema))
        index = json.loads(made.store.read(made.keys.filtered_index()))
        index[key] = made.keys.filtered(key, lineage.sha256(data)[:16])
        made.store.create(index[key], data)
        made.store.replace(made.keys.filtered_index(), lineage.canonical(index).encode())
    else:
        text = f"look at {name}" if where == "warning" else f"s3://bucket/all/{name}: odd"
        made = replace(made, report=made.report.model_copy(update={"warnings": [text]}))
    with pytest.raises(QualityError, match="names a real file"):
        publish_it(made, privacy=True)
    assert records.numbers(made.store, "pets") == []
    assert publish_it(made)[0].number == 1
