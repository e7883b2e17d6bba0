"""The laws of every sample metric of the table: a number for each image, its own, and higher where the image fits."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job import plugs
from job.errors import DataError, SettingsError
from job.generators.text_to_image import TextToImage
from job.ground import lineage, weights
from job.metrics import SAMPLE_METRICS, SampleMetric
from job.metrics.clipscore import Clip, ClipScore
from job.real.digits import NAMES
from job.records import Sample, Unit
from tests.contract import tiny_pipeline

pytestmark = pytest.mark.contract

PER_CLASS = 6


@dataclass(frozen=True)
class Case:
    """How a metric of the table is tested."""

    options: dict[str, Any] = field(default_factory=dict)
    knows_labels: tuple[str, ...] = ()   # columns that must be higher for the right label than for a wrong one
    tolerance: float = 1e-3              # between batch sizes


CASES = {"clipscore": Case(knows_labels=("own", "plain", "margin"))}


@dataclass(frozen=True)
class Digits:
    images: list[np.ndarray]
    prompts: list[str]
    labels: list[int]

    def wrong(self) -> "Digits":
        """The same images under the labels and prompts of other classes."""
        return Digits(self.images, self.prompts[PER_CLASS:] + self.prompts[:PER_CLASS],
                      self.labels[PER_CLASS:] + self.labels[:PER_CLASS])


def no_bucket(url: str) -> Any:
    pytest.fail(f"opened {url}")


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Digits drawn by the shipped pipeline, class by class, at 32 px."""
    if not (Path(weights.__file__).parents[1] / "demo/weights/pipeline").is_dir():
        pytest.skip("the demo's weights are not there")
    tiny_pipeline.one_thread()
    generator = TextToImage(TextToImage.Options(steps=8))
    generator.load(*weights.fetch(generator.location(), "", no_bucket), "cpu")
    recipe = lineage.make_recipe(generator="g", options="{}", weights="none", seed=1, size_px=32, encoding="png",
                                 templates=("a photo of a {name}", "the handwritten digit {name}"))
    classes = [lineage.class_words(label, name) for label, name in enumerate(NAMES)]
    specs = [spec for words in classes for spec in lineage.specs(recipe, words, Unit(words.key, words.label, 0, PER_CLASS))]
    drawn = generator.draw(specs)
    assert all(isinstance(one, Sample) for one in drawn)
    return Digits([one.pixels_HWC for one in drawn], [one.prompt for one in specs], [one.words.label for one in specs])


def loaded(name: str, class_names: tuple[str, ...] = NAMES, **options: Any) -> SampleMetric:
    plug = plugs.find(SAMPLE_METRICS, name, "metric")
    metric = plug(plugs.options(plug, options, "METRIC"), class_names)
    metric.load(weights.fetch(metric.location(), metric.revision(), no_bucket)[0], "cpu")
    return metric


def scores(metric: SampleMetric, digits: Digits, rows: list[int] | None = None) -> dict[str, np.ndarray]:
    rows = list(range(len(digits.images))) if rows is None else rows
    return dict(metric.score([digits.images[row] for row in rows], prompts=[digits.prompts[row] for row in rows],
                             labels=[digits.labels[row] for row in rows]))


@pytest.fixture(scope="module", params=sorted({*SAMPLE_METRICS, *CASES}))
def scored(request: pytest.FixtureRequest, digits: Digits) -> tuple[str, Case, SampleMetric, dict[str, np.ndarray]]:
    name = request.param
    if name not in CASES:
        pytest.fail(f"metric {name!r} stands in the table without a case: add its line to CASES in {Path(__file__).name}")
    metric = loaded(name, **CASES[name].options)
    return name, CASES[name], metric, scores(metric, digits)


def test_every_column_has_one_finite_number_for_each_image(scored, digits: Digits) -> None:
    _, _, metric, found = scored
    assert list(found) == list(metric.columns)
    for values in found.values():
        assert values.dtype == np.float32
        assert values.shape == (len(digits.images),)
        assert np.isfinite(values).all()


def test_the_numbers_follow_their_images(scored, digits: Digits) -> None:
    _, case, metric, found = scored
    order = np.random.default_rng(0).permutation(len(digits.images)).tolist()
    for name, values in scores(metric, digits, order).items():
        np.testing.assert_allclose(values, found[name][order], atol=case.tolerance)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_the_batch_size_does_not_matter(scored, digits: Digits, batch_size: int) -> None:
    name, case, metric, found = scored
    if "batch_size" not in metric.Options.model_fields:
        pytest.skip("it has no batches")
    for column, values in scores(loaded(name, **{**case.options, "batch_size": batch_size}), digits).items():
        np.testing.assert_allclose(values, found[column], atol=case.tolerance)


def test_the_same_images_have_the_same_scores_again(scored, digits: Digits) -> None:
    _, _, metric, found = scored
    assert all(np.array_equal(values, found[column]) for column, values in scores(metric, digits).items())


def test_the_right_label_scores_higher_than_a_wrong_one(scored, digits: Digits) -> None:
    _, case, metric, found = scored
    wrong = scores(metric, digits.wrong())
    for column in case.knows_labels:
        assert found[column].mean() > wrong[column].mean()
        assert (found[column] > wrong[column]).mean() > 0.9


def test_no_images_have_no_scores(scored) -> None:
    _, _, metric, _ = scored
    assert {name: values.shape for name, values in metric.score([], prompts=[], labels=[]).items()} == dict.fromkeys(
        metric.columns, (0,))


def test_images_keep_their_full_size_and_are_left_alone(scored, digits: Digits) -> None:
    _, _, metric, _ = scored
    large = [np.ascontiguousarray(image.repeat(6, axis=0).repeat(5, axis=1)) for image in digits.images[:3]]
    for image in large:
        image.flags.writeable = False   # as a decoder may hand them over
    found = metric.score([*large, digits.images[3]], prompts=digits.prompts[:4], labels=digits.labels[:4])
    assert all(np.isfinite(values).all() for values in found.values())


def test_every_column_and_option_is_described_and_strangers_are_refused() -> None:
    for name in SAMPLE_METRICS:
        plug = plugs.find(SAMPLE_METRICS, name, "metric")
        assert plug.columns
        assert all(plug.columns.values())
        assert all(one.description for one in plug.Options.model_fields.values())
        with pytest.raises(SettingsError, match="STRANGER"):
            plugs.options(plug, {"stranger": 1}, "METRIC")


def test_importing_any_metric_loads_nothing_heavy() -> None:
    modules = ", ".join(sorted({place.partition(":")[0] for place in SAMPLE_METRICS.values()}))
    code = f"import sys, {modules}; print({{'torch', 'torchmetrics', 'transformers', 'ray', 'fsspec'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# --- clipscore


def test_clipscore_is_the_number_of_torchmetrics_for_the_prompt_and_for_the_plain_words(digits: Digits) -> None:
    import torch
    from torchmetrics.functional.multimodal import clip_score

    metric = loaded("clipscore")
    found = scores(metric, digits)
    images = [torch.tensor(image).permute(2, 0, 1) for image in digits.images]
    plain = [f"a photo of a {NAMES[label]}" for label in digits.labels]
    for column, prompts in (("own", digits.prompts), ("plain", plain)):
        mean = clip_score(images, prompts, lambda: (metric._clip, metric._clip))
        assert found[column].mean() == pytest.approx(float(mean), abs=1e-3)


def test_clipscore_finds_the_class_of_a_drawn_digit_and_doubts_a_wrong_one(digits: Digits) -> None:
    metric = loaded("clipscore")
    assert (scores(metric, digits)["margin"] > 0).mean() > 0.9
    assert (scores(metric, digits.wrong())["margin"] < 0).mean() > 0.9


def test_clipscore_is_never_below_zero_and_its_margin_may_be(digits: Digits) -> None:
    found = scores(loaded("clipscore"), digits.wrong())
    assert min(found["own"].min(), found["plain"].min()) == 0
    assert found["margin"].min() < 0


def test_clipscore_of_a_single_class_has_no_rival_to_beat(digits: Digits) -> None:
    ones = Digits(digits.images[:3], digits.prompts[:3], [0, 0, 0])
    found = scores(loaded("clipscore", class_names=("zero",)), ones)
    np.testing.assert_allclose(found["margin"], found["plain"])


def test_clipscore_cuts_a_long_prompt_without_a_warning_and_keeps_its_end_mark(digits: Digits) -> None:
    metric = loaded("clipscore")
    ids = metric._clip(text=["the digit zero " * 50], return_tensors="pt", padding=True)["input_ids"]
    assert ids.shape[1] == metric._clip.config.text_config.max_position_embeddings
    assert ids[0, -1] == metric._clip.config.text_config.eos_token_id
    assert np.isfinite(metric.score(digits.images[:1], prompts=["the digit zero " * 50], labels=[0])["own"]).all()


def test_clipscore_encodes_each_distinct_text_once(digits: Digits) -> None:
    metric = loaded("clipscore", batch_size=5)
    asked: list[int] = []

    class Counted:
        def __init__(self, model: Any) -> None:
            self.config, self.device, self.get_image_features = model.config, model.device, model.get_image_features
            self._model = model

        def get_text_features(self, ids: Any, mask: Any) -> Any:
            asked.append(len(ids))
            return self._model.get_text_features(ids, mask)

    metric._clip = Clip(Counted(metric._clip._model), metric._clip._processor)
    scores(metric, digits)
    assert sum(asked) == len(set(digits.prompts))


def test_a_folder_that_is_no_clip_is_a_data_error_with_a_cure(tmp_path: Path) -> None:
    metric = ClipScore(ClipScore.Options(), NAMES)
    folder = tiny_pipeline.save(str(tmp_path))
    for place in (folder, f"{folder}/text_encoder"):
        with pytest.raises(DataError) as found:
            metric.load(place, "cpu")
        assert found.value.cure


def test_differing_numbers_of_images_and_labels_are_refused(digits: Digits) -> None:
    with pytest.raises(ValueError, match="1 labels"):
        loaded("clipscore").score(digits.images[:2], prompts=digits.prompts[:2], labels=[0])


@pytest.mark.parametrize("name", SAMPLE_METRICS)
def test_features_have_unit_length_and_do_not_depend_on_the_batch(name: str, digits: Digits) -> None:
    metric = loaded(name, **CASES[name].options)
    whole = metric.features(digits.images[:9])
    assert whole.dtype == np.float32
    assert len(whole) == 9
    if whole.shape[1]:
        assert np.linalg.norm(whole, axis=1) == pytest.approx(1, abs=1e-5)
    alone = np.concatenate([metric.features([image]) for image in digits.images[:9]])
    assert whole == pytest.approx(alone, abs=CASES[name].tolerance)
    assert metric.features([]).shape == (0, whole.shape[1])
