"""Validation and test are real, always: a synthetic sample knocks at every door, and none lets it in."""

import io
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from job import admit, plan, splitting, sweep, trainset
from job.errors import DataError
from job.generators.fake import stripes
from job.ground import layout, lineage, pixels, shards
from job.ground.store import ReadOnlyFolder, Store
from job.real import digits
from job.real.image_folder import ImageFolder
from job.records import INDEX_SCHEMA, PARTS, SPLIT_SCHEMA, ClassTake, Mix, Origin, RealIndex, Split
from job.runplan import RunPlan
from job.settings import SplitGroup, load
from tests.folders import encoded, picture, write

pytestmark = pytest.mark.unit
REAL = {f"{part}/{name}/{number}.png": encoded(picture(seed * 10 + number, 16, 16))
        for seed, (part, name) in enumerate([(part, name) for part in ("train", "val", "test") for name in ("cat", "dog")])
        for number in range(3)}
SYNTHETIC_IDS = st.tuples(st.text(max_size=5), st.integers(0, 10**6)).map(lambda of: lineage.sample_id("recipe", *of))


def synthetic(size_px: int = 16) -> tuple[str, bytes]:
    """Id and file of a sample, taken out of a shard."""
    recipe = lineage.make_recipe(generator="fake", options="{}", weights="none", templates=("{name}",), size_px=size_px,
                                 encoding=pixels.encoding_for(size_px), seed=0)
    spec = lineage.spec(recipe, lineage.class_words(0, "cat"), 5)
    image = stripes(0, size_px, 0.2, np.random.default_rng(spec.seed))
    shard = shards.pack(recipe, Origin("fake", "", "CC0-1.0", 1, ()), [(spec, pixels.encode(image, recipe.encoding))])
    (row,) = shards.read(shard)["image"].to_pylist()
    return row["path"], row["bytes"]


def row_of(name: str, published: str = "", **more: str) -> dict[str, object]:
    return {"id": name, "label": 0, "digest": name, "width": 8, "height": 8, "locator": name, "published": published, "group": "",
            "dhash": 0, "generated": "", **more}


def index_at(root: Path) -> RealIndex:
    return ImageFolder(ImageFolder.Options(url=str(root)), ReadOnlyFolder).index()


def drafted(tmp_path: Path) -> tuple[Store, RunPlan, Split]:
    """A frozen run on real images in a folder."""
    chosen = load([], {
        "SALTWORKS_ROOT": str(tmp_path / "root"), "SALTWORKS_REAL__NAME": "image_folder",
        "SALTWORKS_REAL__OPTIONS__URL": write(tmp_path / "real", REAL), "SALTWORKS_GENERATOR__NAME": "fake",
        "SALTWORKS_MEASURE__METRICS": "{}", "SALTWORKS_FILTER__KIND": "none", "SALTWORKS_SWEEP__ALPHAS": "0,.5",
    })
    store, chosen_plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
    return store, *admit.freeze(store, chosen, chosen_plugs, *admit.draft(store, chosen, chosen_plugs))


@given(SYNTHETIC_IDS, st.integers(0, 5), st.sampled_from(["", "train", "val", "test"]))
def test_an_index_of_real_images_takes_no_sample(sample: str, at: int, published: str) -> None:
    rows = [row_of(f"real-{number}") for number in range(5)]
    rows.insert(at, row_of(sample, published))
    with pytest.raises(DataError, match=f"'{sample}' is the id of a synthetic sample"):
        RealIndex(("cat",), pa.Table.from_pylist(rows, INDEX_SCHEMA), ())


@given(SYNTHETIC_IDS, st.integers(0, 5), st.sampled_from(PARTS))
def test_no_part_of_a_split_takes_a_sample(sample: str, at: int, part: str) -> None:
    rows = [row_of(f"real-{number}", part="val", reason="") for number in range(5)]
    honest = Split(("cat",), pa.Table.from_pylist(rows, SPLIT_SCHEMA))
    rows.insert(at, row_of(sample, part=part, reason=""))
    table = pa.Table.from_pylist(rows, SPLIT_SCHEMA)
    for door in (lambda: Split(("cat",), table), lambda: replace(honest, table=table)):
        with pytest.raises(DataError, match=f"'{sample}' is the id of a synthetic sample"):
            door()
    with pytest.raises(FrozenInstanceError):
        honest.table = table


def test_a_split_knows_no_part_for_samples() -> None:
    with pytest.raises(DataError, match="unknown part 'synthetic'"):
        Split(("cat",), pa.Table.from_pylist([row_of("real-1", part="synthetic", reason="")], SPLIT_SCHEMA))


@pytest.mark.parametrize("part", PARTS)
def test_a_sample_that_was_written_into_a_frozen_split_is_refused_on_reading(part: str, tmp_path: Path) -> None:
    store, planned, split = drafted(tmp_path)
    assert admit.read(store, planned.dataset, planned.run)[1].table.equals(split.table)
    forged = pa.concat_tables([split.table, pa.Table.from_pylist([row_of("syn-0123456789abcdef", part=part, reason="")], SPLIT_SCHEMA)])
    keys, data = layout.Run(planned.dataset, planned.run), shards.table_bytes(forged)
    store.replace(keys.split(), data)
    store.replace(keys.plan(), store.read(keys.plan()).replace(planned.split_sha256.encode(), lineage.sha256(data).encode()))
    with pytest.raises(DataError, match="'syn-0123456789abcdef' is the id of a synthetic sample"):
        admit.read(store, planned.dataset, planned.run)


@pytest.mark.parametrize("size_px", [16, 128])
@pytest.mark.parametrize("where", ["train/cat", "val/cat", "test/dog"])
@pytest.mark.parametrize("renamed", [False, True])
def test_a_generated_image_in_a_folder_of_real_ones_is_told_by_its_mark(where: str, size_px: int, renamed: bool, tmp_path: Path) -> None:
    name, data = synthetic(size_px)
    path = f"{where}/holiday.jpg" if renamed else f"{where}/{name.replace('.jpeg', '.jpg')}"
    write(tmp_path, REAL | {path: data})
    index = index_at(tmp_path)
    marks = dict(zip(index.table["id"].to_pylist(), index.table["generated"].to_pylist(), strict=True))
    assert marks == dict.fromkeys(REAL, "") | {path: pixels.IPTC_MARK}
    split = splitting.split(index, SplitGroup())
    judged = "train" not in where
    problem = "1 generated images stand in validation or test" if judged else "1 of 19 real images are generated"
    for consent in (False, True):
        if judged or not consent:
            with pytest.raises(DataError, match=f"{problem}.*{path} in {where.partition('/')[0]}"):
                splitting.check_generated(index, split, (), consent)
        else:
            splitting.check_generated(index, split, (), consent)


@pytest.mark.parametrize("where", ["train", "test"])
def test_a_run_on_generated_images_is_not_even_drafted(where: str, tmp_path: Path) -> None:
    write(tmp_path / "real", {f"{where}/cat/holiday.png": synthetic()[1]})
    with pytest.raises(DataError, match=f"generated.*{where}/cat/holiday.png in {where}"):
        drafted(tmp_path)


def test_a_folder_that_bears_the_name_of_samples_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {f"syn-{name}/{number}.png": encoded(picture(number + ord(name))) for name in "az" for number in range(3)})
    with pytest.raises(DataError, match="is the id of a synthetic sample"):
        index_at(tmp_path)


@pytest.mark.parametrize("part", ["val", "test"])
def test_an_image_that_was_swapped_for_a_generated_one_stops_the_judging(part: str, tmp_path: Path) -> None:
    _, planned, split = drafted(tmp_path)
    assert trainset.decode_real(planned, split.part(part))[0].shape == (6, 16, 16, 3)
    unmarked = encoded(stripes(0, 16, 0.2, np.random.default_rng(0)))
    for data, why in ((synthetic()[1], "it is marked as generated"), (unmarked, "its pixels are others now")):
        (tmp_path / "real" / part / "cat" / "1.png").write_bytes(data)
        with pytest.raises(DataError, match=f"'{part}/cat/1.png' changed after the index was frozen: {why}"):
            trainset.decode_real(planned, split.part(part))


def test_a_row_that_points_at_a_shard_or_at_a_sample_decodes_to_nothing(tmp_path: Path) -> None:
    _, planned, split = drafted(tmp_path)
    name, data = synthetic()
    write(tmp_path / "real", {f"val/cat/{name}": data, "val/cat/unit.parquet": shards.table_bytes(pa.table({"image": [data]}))})
    for locator in (f"val/cat/{name}", "val/cat/unit.parquet"):
        rows = split.part("val").slice(0, 1).set_column(SPLIT_SCHEMA.get_field_index("locator"), "locator", pa.array([locator]))
        with pytest.raises(DataError, match="changed after the index was frozen"):
            trainset.decode_real(planned, rows)


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_what_is_judged_are_the_real_images_of_the_split_and_nothing_else(part: str, tmp_path: Path) -> None:
    _, planned, split = drafted(tmp_path)
    mix = Mix(0.5, 0.5, tuple(split.part("train")["id"].to_pylist()), (ClassTake(planned.classes[0], 8, b"\xff", 8),))
    trial = sweep.trial_of(planned, split, mix, (1, 2), part)
    images, labels = trainset.decode_real(planned, split.part(trial.judged_on))
    expected = [np.asarray(Image.open(io.BytesIO(REAL[path]))) for path in sorted(REAL) if path.startswith(f"{part}/")]
    assert np.array_equal(images, np.stack(expected))
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_mix_that_names_judged_images_trains_on_none_of_them() -> None:
    real = np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((4, 2, 2, 3), np.uint8), np.array([0, 1, 0, 1])
    words = lineage.class_words(1, "dog")
    drawn = {words.key: {"images": np.full((8, 2, 2, 3), 99, np.uint8), "index": np.arange(8), "label": np.int64(1)}}
    mix = Mix(0.5, 0.5, ("train/1", "val/cat/0", "test/dog/1", "train/3"), (ClassTake(words, 8, b"\xa0", 2),))
    images, labels, shares = trainset.training_set(mix, ["train/0", "train/1", "train/2", "train/3"], real, drawn)
    assert images[:, 0, 0, 0].tolist() == [1, 3, 99, 99]
    assert labels.tolist() == [1, 1, 1, 1]
    assert shares is None


def test_the_digits_that_trained_the_generator_are_in_no_part() -> None:
    index = digits.Digits(digits.Digits.Options(), ReadOnlyFolder).index()
    seen = {f"digits-{row:04d}" for row in digits.cut()["world"]}
    assert len(seen) == 900
    assert not seen & set(index.table["id"].to_pylist())
    assert index.table.num_rows + len(seen) == 1797
