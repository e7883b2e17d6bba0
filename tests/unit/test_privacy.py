"""With privacy nothing that a version names tells the name of a real file, or it is not published."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text

from job import report, splitting
from job.errors import QualityError
from job.ground import layout, lineage, shards
from job.ground.cost import Ledger
from job.publish import gate, records
from job.publish.card import write as write_card
from job.publish.croissant import write as write_croissant
from job.report.assemble import ASIDE
from job.report.figure import draw
from tests.folders import class_folders, encoded, picture, write
from tests.unit.made_run import CLASSES, Made, make_run
from tests.unit.publishing import memory, publish_it

pytestmark = pytest.mark.unit


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


def almost(pixels_HWC: np.ndarray) -> np.ndarray:
    """Another picture of nearly the same perceptual hash."""
    return pixels_HWC ^ np.uint8(1)


def twin(pixels_HWC: np.ndarray) -> np.ndarray:
    """Another picture of the same perceptual hash."""
    other = pixels_HWC.copy()
    other[-1, -1, -1] ^= 1
    return other


def published_parts(root: Path, near: Callable[[np.ndarray], np.ndarray] = twin) -> tuple[str, ...]:
    """Published parts, and train images that look like judged ones: a warning."""
    for at, part in enumerate(("train", "val", "test")):
        write(root / part, class_folders(dict.fromkeys(CLASSES, 8), seed=1000 * at))
    for at, name in enumerate(CLASSES):
        write(root / "train" / name, {f"near-{number}.png": encoded(near(picture(2000 + 4 * at + number))) for number in range(4)})
    return ()


def near_published_parts(root: Path) -> tuple[str, ...]:
    """The same, and the user asks that such images leave train."""
    published_parts(root, almost)
    return ("--split.near_duplicate_bits=2",)


def no_parts(root: Path) -> tuple[str, ...]:
    """A hash draws the parts, train gives way to what looks like it, and the rest to the cap."""
    for at, name in enumerate(CLASSES):
        write(root / name, {f"{what}-{number:02d}.png": encoded(change(picture(100 * at + number))) for number in range(30)
                            for what, change in (("one", np.array), ("other", almost))})
    return "--split.near_duplicate_bits=2", "--split.val_share=.3", "--split.test_share=.3", "--split.train_cap=10"


def a_table(root: Path) -> tuple[str, ...]:
    """Copies of judged images, members of their groups, and images set aside by the user's own table."""
    published_parts(root)
    write(root / "train" / "cat", {"copy.png": (root / "test" / "cat" / "0.png").read_bytes()})
    rows = [f"{part}/{name}/{number}.png,{'aside' if part == 'train' and number == 1 else ''},{name if number == 0 else ''}"
            for part in ("train", "test") for name in CLASSES for number in range(2)]
    write(root.parent, {"table.csv": "\n".join(["id,part,group", *rows]).encode()})
    return (f"--split.table={root.parent / 'table.csv'}",)


KINDS = {   # where names come from: the kinds of reason that are counted there
    published_parts: set(),
    near_published_parts: {"nearly identical to a judged one"},
    no_parts: {"nearly identical to a judged one", "beyond the cap"},
    a_table: {"identical to another", "of one group with a judged one", "set aside by the source"},
}


@pytest.mark.parametrize("arrange", KINDS, ids=lambda arrange: arrange.__name__)
def test_near_duplicates_groups_and_copies_are_counted_published_and_not_named(
    arrange: Callable[[Path], tuple[str, ...]], tmp_path: Path
) -> None:
    flags = arrange(tmp_path / "real")
    write(tmp_path / "real", {("train/cat/torn.png" if arrange is not no_parts else "cat/torn.png"): b""})
    made = make_run(memory(), tmp_path / "real", flags=("--real.refused_share=.1", *flags))
    warnings = splitting.near_published(made.split, made.planned.near_duplicate_bits)
    assert made.found
    assert bool(warnings) == (arrange in (published_parts, a_table))
    whole = report.write(made.store, made.found, [*warnings, "class cat: odd"], {}, Ledger(made.store, made.keys))
    names = {*made.split.table["id"].to_pylist(), "torn.png", str(tmp_path)}
    for told in (gate.private(whole), whole):   # a report made with privacy, and one from before privacy was asked for
        assert set(told.aside) == KINDS[arrange] <= set(ASIDE.values())
        assert sum(told.aside.values()) == made.planned.n_aside
        store = memory()
        for key, _ in made.store.list(""):
            store.create(key, made.store.read(key))
        version, _ = publish_it(replace(made, store=store, report=told), privacy=True)
        assert version.number == 1
        for key, text in objects(replace(made, store=store)).items():
            assert not [name for name in names if name in text], key
    private = report.write(made.store, made.found, [*warnings, "class cat: odd"], {}, Ledger(made.store, made.keys), gate.private)
    assert private.warnings == [
        *(text.partition(": ")[0] for text in warnings), "class cat: odd",
        f"1 real file could not be used, see {made.keys.refused()}",
    ]
    page = made.store.read(made.keys.report("report.html")).decode()
    shown = [page, *(text.get_text() for text in draw(private).findobj(Text)), made.store.read(made.keys.report("report.json")).decode()]
    assert not [name for name in names if any(name in text for text in shown)]
    assert [name for name in names if name in whole.model_dump_json()]   # or nothing was there to be hidden


def test_what_was_censored_once_is_not_cut_again(made: Made) -> None:
    assert made.report
    warnings = ["class cat: odd: low", "α: 0.5", "x/refused.json: a.png: torn"]
    once = gate.private(made.report.model_copy(update={"refused": ["a.png: torn"], "warnings": warnings}))
    assert once.warnings == ["class cat: odd: low", "α: 0.5", "x/refused.json"]
    assert gate.private(once) == once


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
