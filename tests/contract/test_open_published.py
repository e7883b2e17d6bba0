"""The published set opens in the readers of the field: every snippet of docs/loading.md, run as it stands on the page."""

import hashlib
import io
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from job.ground import pixels, shards
from job.publish.model import Version
from tests.loading import PAGE, demo_output, run_snippets
from tests.unit.made_run import Made

pytestmark = pytest.mark.contract
HERE_OR_IN_FLOW = {"Hugging Face datasets", "DuckDB", "Ray Data", "WebDataset", "Without an export"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loading")


@pytest.fixture(scope="module")
def published(folder: Path) -> tuple[Made, Version]:
    return demo_output(folder)


@pytest.fixture(autouse=True)
def stand_there(folder: Path, published: tuple[Made, Version], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the page stands, with nothing of Hugging Face's outside it."""
    import datasets

    monkeypatch.chdir(folder)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(folder / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def mixed(published: tuple[Made, Version]) -> dict[str, dict]:
    """By id, the rows of the recommended mix as their shards hold them."""
    made, version = published
    (file,) = version.of("mix")
    rows = pq.read_table(io.BytesIO(made.store.read(file.key))).to_pylist()
    names = {row["id"] for row in rows if row["kind"] == "synthetic"}
    tables = [shards.read(made.store.read(one.key)).to_pylist() for one in made.committed]
    return {row["id"]: row for table in tables for row in table if row["id"] in names}


def numbers(published: tuple[Made, Version]) -> dict[str, int]:
    return {words.name: words.label for words in published[0].planned.classes}


def test_every_snippet_of_the_page_is_run_by_a_test() -> None:
    sections = re.split(r"\n## ", PAGE.read_text())
    assert {one.partition("\n")[0] for one in sections if "```python" in one} == HERE_OR_IN_FLOW


def test_hugging_face_datasets_opens_the_export_as_images_with_numbered_classes(
    published: tuple[Made, Version], mixed: dict[str, dict]
) -> None:
    from datasets import ClassLabel, Image, List, Value

    images = run_snippets("Hugging Face datasets")["images"]
    features = images.features
    assert isinstance(features["image"], Image)
    assert features["label"] == ClassLabel(names=list(numbers(published)))
    assert features["ancestry"] == List(Value("string"))
    assert all(features[name] == Value("string") for name in ("id", "prompt", "model", "licence"))
    assert set(features) == set(shards.SCHEMA.names)
    assert Counter(images["id"]) == Counter(list(mixed))
    for row in images:
        assert np.array_equal(np.asarray(row["image"]), pixels.decode(mixed[row["id"]]["image"]["bytes"]))
        assert row["label"] == numbers(published)[mixed[row["id"]]["label"]]


def test_hugging_face_datasets_streams_the_export(mixed: dict[str, dict]) -> None:
    from datasets import load_dataset

    folder = run_snippets("Hugging Face datasets")["folder"]
    streamed = load_dataset("parquet", data_files=f"{folder}/*.parquet", split="train", streaming=True)
    assert {row["id"]: row["image"].size for row in streamed} == dict.fromkeys(mixed, (16, 16))


def test_duckdb_counts_the_export_by_class(mixed: dict[str, dict]) -> None:
    labels = Counter(row["label"] for row in mixed.values())
    prompts = {label: len({row["prompt"] for row in mixed.values() if row["label"] == label}) for label in labels}
    found = run_snippets("DuckDB")["by_class"]
    assert found == [(label, labels[label], prompts[label], "CC0-1.0") for label in sorted(labels)]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")   # it leaves tar files open
def test_webdataset_opens_the_export_as_images_with_numbered_classes(published: tuple[Made, Version], mixed: dict[str, dict]) -> None:
    names = run_snippets("WebDataset")
    assert names["names"] == numbers(published)
    seen = list(names["images"])
    assert Counter(told["id"] for _, _, told in seen) == Counter(list(mixed))
    for image, number, told in seen:
        row = mixed[told["id"]]
        assert np.array_equal(np.asarray(image), pixels.decode(row["image"]["bytes"]))
        assert number == numbers(published)[row["label"]]
        assert told == {name: value for name, value in row.items() if name != "image"}


def test_the_version_opens_without_an_export_in_duckdb_and_hugging_face_datasets(mixed: dict[str, dict]) -> None:
    names = run_snippets("Without an export")
    assert names["by_class"] == sorted(Counter(row["label"] for row in mixed.values()).items())
    assert {row["id"]: np.asarray(row["image"]).tobytes() for row in names["images"]} == {
        name: pixels.decode(row["image"]["bytes"]).tobytes() for name, row in mixed.items()}


def test_the_export_lies_where_the_page_says_and_its_digests_hold(folder: Path) -> None:
    drawn = PAGE.read_text().partition("## What an export is\n\n```\n")[2].partition("```")[0].splitlines()
    place = folder / drawn[0].strip()
    named = [line.split()[0] for line in drawn[1:]]
    assert named == ["digits-000001-000000.parquet", "export.json", "_parts/"]
    assert all((place / name).exists() for name in named)
    told = json.loads((place / "export.json").read_text())
    assert {one["name"]: one["sha256"] for one in told["files"]} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in place.glob("*.parquet")}
