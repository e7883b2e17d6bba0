"""The recommended mix as a file: exactly what mixing says, every image where the file says it lies."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job import mixing
from job.ground import shards
from job.publish import gather, mixed
from job.publish.model import File
from job.publish.privacy import SHORTEST, Names
from job.records import SPLIT_SCHEMA, Split, Unit
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import memory, publish_it

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make_run(memory(), tmp_path_factory.mktemp("pets") / "real", flags=("--sweep.alphas=0,.5,.75,1",))


def table(made: Made, alpha: float, privacy: bool = False) -> pa.Table:
    held = list(gather.classes(made.store, made.planned))
    data = mixed.mix_bytes(made.planned, made.split, mixed.recommend(made.planned, made.split, alpha, held), held, privacy)
    return pq.read_table(io.BytesIO(data))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0])
def test_the_file_holds_what_mixing_says_and_every_image_lies_where_it_says(alpha: float, made: Made) -> None:
    rows = table(made, alpha).to_pylist()
    train = made.split.part("train")
    assert [row["id"] for row in rows if row["kind"] == "real"] == ([] if alpha == 1 else train["id"].to_pylist())
    synthetic = [row for row in rows if row["kind"] == "synthetic"]
    assert len(synthetic) == mixing.total_synthetic(alpha, len(train), made.planned.alphas)
    taken = Counter(row["class_key"] for row in synthetic)
    for words, count in zip(made.planned.classes, made.planned.n_train, strict=True):
        kept = [row for row in made.decisions[words.key].to_pylist() if row["state"] == "kept"]
        mine = [row for row in synthetic if row["class_key"] == words.key]
        assert [row["id"] for row in mine] == [row["id"] for row in kept[: taken[words.key]]]
        assert alpha == 1 or taken[words.key] == mixing.total_synthetic(alpha, count, made.planned.alphas)
    for row in synthetic:
        image = shards.read(made.store.read(row["shard"])).slice(row["row"], 1).to_pylist()[0]
        assert (image["id"], image["index"], image["label"], image["class_key"]) == (
            row["id"], row["index"], row["label"], row["class_key"])
    for row in rows:
        assert (row["shard"] is None) == (row["row"] is None) == (row["index"] is None) == (row["kind"] == "real")


def test_at_alpha_zero_the_mix_is_the_real_training_set(made: Made) -> None:
    rows = table(made, 0.0)
    assert set(rows["kind"].to_pylist()) == {"real"}
    names = [made.planned.classes[label].name for label in made.split.part("train")["label"].to_pylist()]
    assert rows["label"].to_pylist() == names
    assert rows["digest"].to_pylist() == made.split.part("train")["digest"].to_pylist()


def test_with_privacy_a_real_image_is_its_digest(made: Made) -> None:
    open_, closed = table(made, 0.5), table(made, 0.5, privacy=True)
    real = [row for row in closed.to_pylist() if row["kind"] == "real"]
    assert [row["id"] for row in real] == [row["digest"] for row in real] == made.split.part("train")["digest"].to_pylist()
    assert closed.drop_columns("id") == open_.drop_columns("id")


@given(st.integers(0, 50), st.sets(st.integers(0, 15), max_size=16), st.data())
def test_the_row_of_an_index_counts_the_images_before_it(lo: int, failed: set[int], data: st.DataObject) -> None:
    made = [lo + one for one in range(16) if one not in failed]
    some = sorted(data.draw(st.sets(st.sampled_from(made)))) if made else []
    file = File(key="k", kind="images", class_key="c", sha256="0" * 64, bytes=0, rows=len(made), kept=0)
    shard = gather.Shard(Unit("c", 0, lo, lo + 16), file, tuple(lo + one for one in sorted(failed)), ("", "", ""))
    assert shard.row_of(np.array(some, dtype=np.int64)).tolist() == [made.index(one) for one in some]


@given(st.lists(st.text("ab1/. ", min_size=1, max_size=8), max_size=4), st.text("ab1/. ", max_size=30))
def test_a_name_is_found_wherever_it_stands_as_a_word(ids: list[str], text: str) -> None:
    ids = list(dict.fromkeys(ids))
    rows = [{"id": one, "locator": one, "label": 0, "part": "train"} for one in ids]
    names = {part for one in ids for part in (one, one.rpartition("/")[2]) if len(part) >= SHORTEST and any(map(str.isalpha, part))}
    there = {name for name in names for at in range(len(text)) if text.startswith(name, at)
             and not text[at - 1 : at].isalnum() and not text[at + len(name) : at + len(name) + 1].isalnum()}
    split = Split(("a",), pa.Table.from_pylist(rows, SPLIT_SCHEMA))
    found = Names(split).within({"x": [text]})
    assert (found in there) if there else found == ""


def test_the_published_mix_is_the_one_at_alpha_star(made: Made) -> None:
    version, _ = publish_it(made)
    file, = version.of("mix")
    assert made.report
    assert pq.read_table(io.BytesIO(made.store.read(file.key))).equals(table(made, made.report.alpha_star))
    assert version.mix.alpha == made.report.alpha_star == 0.5


def test_a_run_that_was_hurt_recommends_no_synthetic_image(tmp_path: Path) -> None:
    version, _ = publish_it(make_run(memory(), tmp_path / "real", word="hurt"))
    assert (version.mix.n_synthetic, version.mix.alpha, {one.in_mix for one in version.classes}) == (0, 0.0, {0})
