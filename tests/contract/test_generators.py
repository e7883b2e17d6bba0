"""The laws of every generator of the table: what is asked comes back, in order, and the same each time."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from job import plugs
from job.errors import SettingsError
from job.generators import GENERATORS, Generator
from job.generators.fake import Fake
from job.ground import lineage, weights
from job.records import Failure, Origin, Sample, SampleSpec, Unit
from tests.contract import tiny_pipeline

pytestmark = pytest.mark.contract

TINY = "tiny"    # stands for the pipeline of random weights in tiny_pipeline.py
NAMES = ("zero", "one", "two")


@dataclass(frozen=True)
class Case:
    """How a plug of the table is tested: options that make it quick, and how far batch sizes may move a picture."""

    options: dict[str, Any]
    size_px: int = 32
    grey_levels: int = 0           # that a pixel may differ between batch sizes ...
    moved_share: float = 0.0       # ... and the share of pixels that may differ at all
    blames: str = ""               # part of the reason with which the options below make every draw fail
    failing: dict[str, Any] | None = None


CASES = {
    "fake": Case({}, blames="blank", failing={"blank_share": 1.0}),
    "text_to_image": Case({"steps": 3, "model": TINY}, grey_levels=1, moved_share=0.001),
    "text_to_image shipped": Case({"steps": 3}, grey_levels=1, moved_share=0.001),
}


def loaded(name: str, options: dict[str, Any], tiny: str) -> tuple[Generator, Origin]:
    plug = plugs.find(GENERATORS, name.split()[0], "generator")
    options = {key: tiny if value == TINY else value for key, value in options.items()}
    generator = plug(plugs.options(plug, options, "GENERATOR"))
    folder, digest = weights.fetch(generator.location(), generator.revision(), lambda url: pytest.fail(f"opened {url}"))
    return generator, generator.load(folder, digest, "cpu")


def specs_of(size_px: int, count: int = 6, redraw: int = 0, seed: int = 7) -> list[SampleSpec]:
    """Specs of three classes in turn, as a worker computes them."""
    recipe = lineage.make_recipe(generator="g", options="{}", weights="none", seed=seed, size_px=size_px, encoding="png",
                                 templates=("a photo of a {name}", "the digit {name}"))
    words = [lineage.class_words(label, name) for label, name in enumerate(NAMES)]
    by_class = [list(lineage.specs(recipe, one, Unit(one.key, one.label, 0, count))) for one in words]
    mixed = [one for row in zip(*by_class, strict=True) for one in row][:count]
    return [lineage.spec(recipe, one.words, one.index, redraw) for one in mixed]


def pictures(results: list[Sample | Failure]) -> np.ndarray:
    reasons = [one.reason for one in results if isinstance(one, Failure)]
    assert not reasons
    return np.stack([one.pixels_HWC for one in results])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_pipeline.save(str(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module", params=sorted({*GENERATORS, *CASES}))
def drawn(request: pytest.FixtureRequest, tiny: str) -> tuple[Case, Generator, Origin, list[SampleSpec], list]:
    name = request.param
    if name not in CASES:
        pytest.fail(f"generator {name!r} stands in the table without a case: add its line to CASES in {Path(__file__).name}")
    if name.endswith("shipped") and not (Path(weights.__file__).parents[1] / "demo/weights/pipeline").is_dir():
        pytest.skip("the demo's weights are not there")
    case = CASES[name]
    generator, origin = loaded(name, case.options, tiny)
    specs = specs_of(case.size_px)
    return case, generator, origin, specs, generator.draw(specs)


def test_every_spec_has_one_result_in_its_place(drawn) -> None:
    _, _, _, specs, results = drawn
    assert [one.spec for one in results] == specs
    assert all(isinstance(one, Sample | Failure) for one in results)


def test_pictures_are_rgb_bytes_of_the_asked_size_and_not_views_of_a_batch(drawn) -> None:
    case, _, _, _, results = drawn
    found = pictures(results)
    assert found.dtype == np.uint8
    assert found.shape == (len(results), case.size_px, case.size_px, 3)
    assert all(one.pixels_HWC.base is None for one in results)


def test_the_same_batch_gives_the_same_bytes(drawn) -> None:
    _, generator, _, specs, results = drawn
    assert np.array_equal(pictures(generator.draw(specs)), pictures(results))


def test_the_same_batch_gives_the_same_bytes_after_loading_anew(drawn, request: pytest.FixtureRequest, tiny: str) -> None:
    case, _, origin, specs, results = drawn
    again, same_origin = loaded(request.node.callspec.params["drawn"], case.options, tiny)
    assert same_origin == origin
    assert np.array_equal(pictures(again.draw(specs)), pictures(results))


def test_the_batch_size_moves_a_picture_by_a_rounding_at_most(drawn) -> None:
    case, generator, _, specs, results = drawn
    alone = pictures([*generator.draw(specs[:1]), *generator.draw(specs[1:3]), *generator.draw(specs[3:])])
    far = np.abs(alone.astype(int) - pictures(results))
    assert far.max() <= case.grey_levels
    assert (far > 0).mean() <= case.moved_share


def test_neighbours_in_a_batch_do_not_matter(drawn) -> None:
    case, generator, _, specs, results = drawn
    backwards = pictures(generator.draw(specs[::-1]))[::-1]
    assert np.abs(backwards.astype(int) - pictures(results)).max() <= case.grey_levels


def test_a_redraw_and_another_seed_are_other_pictures_and_a_redraw_keeps_the_id(drawn) -> None:
    case, generator, _, specs, results = drawn
    redrawn, reseeded = specs_of(case.size_px, redraw=1), specs_of(case.size_px, seed=8)
    assert [one.id for one in redrawn] == [one.id for one in specs]
    for others in (redrawn, reseeded):
        assert (pictures(generator.draw(others)) != pictures(results)).any(axis=(1, 2, 3)).all()


def test_drawing_leaves_ids_and_seeds_alone(drawn) -> None:
    case, _, _, specs, results = drawn
    fresh = specs_of(case.size_px)
    assert [(one.spec.id, one.spec.seed) for one in results] == [(one.id, one.seed) for one in fresh]
    assert all(one.seed == lineage.seed_of(one.id, 0) for one in specs)


def test_nothing_asked_is_nothing_drawn(drawn) -> None:
    assert drawn[1].draw([]) == []


def test_the_origin_says_who_drew_under_which_licence_from_which_weights(drawn) -> None:
    _, generator, origin, _, _ = drawn
    folder, digest = weights.fetch(generator.location(), generator.revision(), lambda url: pytest.fail(url))
    assert origin.model
    assert origin.licence
    assert origin.depth >= 1
    assert origin.ancestry[-1:] == ((digest,) if folder else ())


def test_a_failing_draw_is_a_reason_and_no_picture(tiny: str) -> None:
    for name, case in CASES.items():
        if case.failing is not None:
            generator, _ = loaded(name, {**case.options, **case.failing}, tiny)
            results = generator.draw(specs_of(case.size_px))
            assert all(isinstance(one, Failure) and case.blames in one.reason for one in results)


def test_every_option_is_described_and_knows_no_stranger() -> None:
    for name in GENERATORS:
        plug = plugs.find(GENERATORS, name, "generator")
        assert all(field.description for field in plug.Options.model_fields.values())
        assert plug.carries <= {"class", "mask", "boxes"}
        with pytest.raises(SettingsError, match="STRANGER"):
            plugs.options(plug, {"stranger": 1}, "GENERATOR")


def test_importing_any_generator_loads_nothing_heavy() -> None:
    modules = ", ".join(sorted({place.partition(":")[0] for place in GENERATORS.values()}))
    code = f"import sys, {modules}; print({{'torch', 'diffusers', 'transformers', 'ray', 'fsspec'}} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


# --- fake


def fake_draw(count: int, **options: float) -> list[Sample | Failure]:
    return Fake(Fake.Options(**options)).draw(specs_of(16, count))


def test_the_fake_classes_can_be_told_apart_and_noise_makes_it_harder() -> None:
    """By the nearest class mean of pixel spectra: blind to phase, as a small network would be after pooling."""

    def accuracy(noise: float) -> float:
        results = fake_draw(240, noise=noise)
        x = np.stack([np.abs(np.fft.fft2(one.pixels_HWC.astype(float), axes=(0, 1))).ravel() for one in results])
        y = np.array([one.spec.words.label for one in results])
        means = np.stack([x[:120][y[:120] == label].mean(axis=0) for label in range(3)])
        nearest = ((x[120:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        return float((nearest == y[120:]).mean())

    assert accuracy(0.0) == 1.0
    assert accuracy(0.25) > 0.95


def test_the_fake_fails_and_errs_as_often_as_asked_and_a_redraw_can_save_a_blank() -> None:
    blank = [isinstance(one, Failure) for one in fake_draw(300, blank_share=0.3)]
    assert 0.2 < np.mean(blank) < 0.4
    saved = Fake(Fake.Options(blank_share=0.3)).draw(specs_of(16, 300, redraw=1))
    assert any(was and isinstance(now, Sample) for was, now in zip(blank, saved, strict=True))
    right, wrong = pictures(fake_draw(300)), pictures(fake_draw(300, wrong_label_share=0.3))
    assert 0.2 < (right != wrong).any(axis=(1, 2, 3)).mean() < 0.4


def test_the_fake_holds_the_one_device_of_its_process_for_the_seconds_that_are_set() -> None:
    painters = [Fake(Fake.Options(seconds_per_image=0.05)) for _ in range(2)]
    start = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        drawn = list(pool.map(lambda one: one.draw(specs_of(16, 2)), painters))
    assert time.monotonic() - start >= 0.2
    assert [len(one) for one in drawn] == [2, 2]
