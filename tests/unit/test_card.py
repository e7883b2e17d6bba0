"""The dataset card: Hugging Face reads its front matter, its numbers are the version's, and its code runs."""

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image

from job.ground import layout, pixels, shards
from job.ground.store import Store
from job.publish import card
from job.publish.model import Version
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import folder, memory, publish_it

pytestmark = pytest.mark.unit
NASTY = ("cat", "<script>alert(1)</script>", "a|b `c` \"d\"\n# e")


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Version:
    return publish_it(make_run(memory(), tmp_path_factory.mktemp("pets") / "real"))[0]


def test_hugging_face_reads_its_front_matter(version: Version) -> None:
    told = DatasetCard(card.text(version)).data.to_dict()
    assert told == {"pretty_name": "pets", "license": "cc0-1.0", "task_categories": ["image-classification"],
                    "tags": ["synthetic", "saltworks"], "size_categories": ["n<1K"]}


@pytest.mark.parametrize(("licence", "told"), [("MIT AND CC0-1.0", ["cc0-1.0", "mit"]), ("a: [b", "a: [b"), ("", "unknown"),
                                                ("MIT | mit", "mit")])
def test_any_licence_makes_valid_front_matter(licence: str, told: Any, version: Version) -> None:
    lineage = version.lineage.model_copy(update={"licence": licence})
    assert DatasetCard(card.text(version.model_copy(update={"lineage": lineage}))).data.to_dict()["license"] == told


@pytest.mark.parametrize(("images", "told"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**6, "1M<n<10M"), (10**8, "100M<n<1B")])
def test_sizes_are_called_as_hugging_face_calls_them(images: int, told: str) -> None:
    assert card.size_category(images) == told


def test_its_numbers_are_those_of_the_version(version: Version) -> None:
    text = card.text(version)
    for value in (version.run, version.files_sha256, version.judged.word, version.lineage.licence):
        assert str(value) in text
    for row in version.classes:
        cells = (row.name, row.n_real, row.planned, row.kept, row.rejected, row.failed, row.unused, row.in_mix)
        assert f"| {' | '.join(map(str, cells))} |" in text
    free = version.cost.model_copy(update={"total": None})
    assert "not stated: no price was given" in card.text(version.model_copy(update={"cost": free}))


def test_no_name_becomes_markup_or_breaks_a_table(version: Version) -> None:
    classes = [one.model_copy(update={"name": name}) for one, name in zip(version.classes, NASTY, strict=True)]
    lineage = version.lineage.model_copy(update={"model": NASTY[2], "templates": [f"{{name}} {NASTY[1]}`"]})
    text = card.text(version.model_copy(update={"classes": classes, "lineage": lineage}))
    page = re.sub(r"```python.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)
    assert "<script>" not in page
    assert "\n# e" not in page
    table = [line for line in page.splitlines() if line.startswith("|") and line.count("|") - line.count("\\|") == 9]
    assert len(table) == 2 + len(NASTY)


@pytest.mark.parametrize("privacy", [False, True])
def test_the_code_of_the_card_loads_the_mix(privacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils.data import DataLoader

    store = folder(tmp_path / "root")
    made = make_run(store, tmp_path / "real")
    version, _ = publish_it(made, privacy=privacy)
    key = card.write(store, version)
    assert key == layout.version_file("pets", 1, "README.md")
    code, = re.findall(r"```python\n(.*?)```", store.read(key).decode(), flags=re.DOTALL)
    assert len(code.strip().splitlines()) <= 30
    monkeypatch.chdir(tmp_path / "root")
    names: dict[str, Any] = {}
    exec(code, names)
    train = made.split.part("train").to_pylist()
    files = {row["digest" if privacy else "id"]: tmp_path / "real" / row["locator"] for row in train}
    mix = names["Mix"](files.__getitem__, transform=lambda picture: np.array(picture.resize((8, 8))))
    seen = [(picture, label) for pictures, labels in DataLoader(mix, batch_size=5) for picture, label in zip(pictures, labels, strict=True)]
    expected = [(np.asarray(Image.open(tmp_path / "real" / row["locator"]).convert("RGB").resize((8, 8))), row["label"]) for row in train]
    expected += _synthetic(store, made, version)
    assert len(mix) == len(seen) == version.mix.n_real + version.mix.n_synthetic == len(expected)
    for (picture, label), (wanted, number) in zip(seen, expected, strict=True):
        assert np.array_equal(picture.numpy(), wanted)
        assert int(label) == number


def _synthetic(store: Store, made: Made, version: Version) -> list[tuple[np.ndarray, int]]:
    """The first kept images of every class, straight from the shards."""
    found = []
    for words, row in zip(made.planned.classes, version.classes, strict=True):
        ids = [one["id"] for one in made.decisions[words.key].to_pylist() if one["state"] == "kept"][: row.in_mix]
        images = {one["id"]: one["image"]["bytes"] for file in version.of("images", words.key)
                  for one in shards.read(store.read(file.key)).to_pylist()}
        found += [(np.asarray(Image.fromarray(pixels.decode(images[one])).resize((8, 8))), words.label) for one in ids]
        assert all(Image.open(io.BytesIO(images[one])).size == (16, 16) for one in ids)
    return found
