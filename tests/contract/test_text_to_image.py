"""What ``text_to_image`` refuses, and what it does with pictures that are none; over a pipeline of random weights."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from job import plugs
from job.drawing import Beyond, Drawing, encoder
from job.errors import DataError, SettingsError
from job.generators import pipelines
from job.generators.text_to_image import TextToImage
from job.ground import lineage, weights
from job.ground.pixels import decode
from job.records import Failure, Origin, Sample, SampleSpec
from tests.contract import tiny_pipeline

pytestmark = [
    pytest.mark.contract,
    # Euler's schedulers hand a tensor to numpy in a way that numpy 2 wants otherwise; nothing of ours can change it.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_pipeline.save(str(tmp_path_factory.mktemp("tiny")))


def loaded(model: str, **options: Any) -> tuple[TextToImage, Origin]:
    generator = TextToImage(plugs.options(TextToImage, {"model": model, "steps": 3, **options}, "GENERATOR"))
    folder, digest = weights.fetch(generator.location(), generator.revision(), lambda url: pytest.fail(f"opened {url}"))
    return generator, generator.load(folder, digest, "cpu")


def specs_of(size_px: int, count: int = 6) -> list[SampleSpec]:
    recipe = lineage.make_recipe(generator="g", options="{}", weights="none", seed=7, size_px=size_px, encoding="png",
                                 templates=("a photo of a {name}",))
    return [lineage.spec(recipe, lineage.class_words(index % 2, "ab"[index % 2]), index) for index in range(count)]


def pictures(results: list[Sample | Failure]) -> np.ndarray:
    assert not [one.reason for one in results if isinstance(one, Failure)]
    return np.stack([one.pixels_HWC for one in results])


def changed(tiny: str, folder: Path, *, nan: bool = False, told: dict | None = None) -> str:
    """A copy of the pipeline with weights that are not numbers, or with a ``lineage.json``."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    if nan:
        path = folder / "vae/diffusion_pytorch_model.safetensors"
        save_file({name: value * float("nan") for name, value in load_file(path).items()}, path, {"format": "pt"})
    if told is not None:
        (folder / "lineage.json").write_text(json.dumps(told))
    return str(folder)


def test_weights_that_give_nan_give_failures_and_never_pictures(tiny: str, tmp_path: Path) -> None:
    generator, _ = loaded(changed(tiny, tmp_path, nan=True), steps=1)
    assert {one.reason for one in generator.draw(specs_of(32))} == {"not a number: the model gave NaN or infinity"}


def test_what_the_safety_checker_blanked_is_a_failure_in_its_place(tiny: str, tmp_path: Path) -> None:
    """The checker is the genuine class with thresholds that nothing, and then everything, passes."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPVisionConfig

    changed(tiny, tmp_path)
    vision = CLIPVisionConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=8,
                              patch_size=4, projection_dim=8)
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    eight = {"shortest_edge": 8}
    CLIPImageProcessor(size=eight, crop_size={"height": 8, "width": 8}).save_pretrained(tmp_path / "feature_extractor")
    index = json.loads((tmp_path / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
              "feature_extractor": ["transformers", "CLIPImageProcessor"]}
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    for threshold, blanked in ((-2.0, True), (2.0, False)):
        checker.concept_embeds_weights.data.fill_(threshold)
        checker.special_care_embeds_weights.data.fill_(2.0)
        checker.save_pretrained(tmp_path / "safety_checker")
        generator, _ = loaded(str(tmp_path), steps=1)
        results = generator.draw(specs_of(32))
        assert [isinstance(one, Failure) for one in results] == [blanked] * len(results)
        assert not blanked or {one.reason for one in results} == {"blanked by the safety checker"}


@pytest.mark.parametrize("options", [{"guidance": 7.5}, {"steps": 4}, {"negative_prompt": "one"},
                                     {"scheduler": "EulerAncestralDiscreteScheduler"}, {"dtype": "bf16"},
                                     {"timestep_spacing": "trailing"}])
def test_an_option_that_is_part_of_the_recipe_changes_the_pictures(tiny: str, options: dict[str, Any]) -> None:
    plain, _ = loaded(tiny)
    other, _ = loaded(tiny, **options)
    assert plugs.identity(plain.options) != plugs.identity(other.options)
    assert (pictures(plain.draw(specs_of(32))) != pictures(other.draw(specs_of(32)))).any()


def test_a_stochastic_scheduler_gives_the_same_pictures_in_any_batch(tiny: str) -> None:
    generator, _ = loaded(tiny, scheduler="EulerAncestralDiscreteScheduler")
    whole = pictures(generator.draw(specs_of(32)))
    halves = pictures([*generator.draw(specs_of(32)[:4]), *generator.draw(specs_of(32)[4:])])
    assert np.abs(whole.astype(int) - halves).max() <= 1


def test_where_the_weights_lie_is_no_part_of_the_recipe() -> None:
    here, there = (TextToImage.Options(model=place, revision=place, licence=place) for place in ("a", "s3://b"))
    assert plugs.identity(here) == plugs.identity(there)


@pytest.mark.parametrize(("name", "option"), [("StableCascadeCombinedPipeline", "guidance"), ("HeliosPyramidPipeline", "steps")])
def test_an_option_that_a_pipeline_does_not_know_is_refused_where_it_is_set(name: str, option: str) -> None:
    import diffusers

    kind = getattr(diffusers, name)
    for options in ({}, {option: 7}):
        generator = TextToImage(TextToImage.Options(**options))
        generator._pipeline = kind.__new__(kind)
        if not options:
            assert generator._call_arguments()
            continue
        with pytest.raises(SettingsError, match=f"{option}=7, and {name} makes no use of it") as caught:
            generator._call_arguments()
        assert caught.value.cure


def test_lineage_beside_the_weights_is_told_on_and_an_explicit_licence_wins(tiny: str, tmp_path: Path) -> None:
    folder = changed(tiny, tmp_path, told={"licence": "MIT", "depth": 2, "ancestry": ["first"]})
    _, origin = loaded(folder)
    assert (origin.licence, origin.depth, origin.ancestry) == ("MIT", 2, ("first", weights.digest_of(folder)))
    assert loaded(folder, licence="Apache-2.0")[1].licence == "Apache-2.0"
    assert loaded(tiny)[1].licence == "unknown"


@pytest.mark.parametrize(
    ("options", "error", "word"),
    [
        ({"scheduler": "DDIMSheduler"}, SettingsError, "SCHEDULER"),          # refused before anything is imported
        ({"scheduler": "DIMScheduler"}, SettingsError, "DDIMScheduler"),      # a near name is offered
        ({"scheduler": "SchedulerMixinScheduler"}, SettingsError, "no scheduler"),
        ({"dtype": "fp16"}, DataError, "fp32"),                               # on a CPU
        ({"variant": "fp16"}, DataError, "no text-to-image pipeline"),        # no such files
        ({"dtype": "int8"}, SettingsError, "DTYPE"),
        ({"steps": 0}, SettingsError, "STEPS"),
        ({"scheduler": "LCMScheduler", "timestep_spacing": "trailing"}, SettingsError, "LCMScheduler makes no use of it"),
    ],
)
def test_what_cannot_work_is_refused_at_loading_with_a_cure(tiny: str, options: dict, error: type, word: str) -> None:
    with pytest.raises(error, match=word) as found:
        loaded(tiny, **options)
    assert found.value.cure
    assert "\n" not in str(found.value)


def test_a_folder_that_is_no_pipeline_is_a_data_error_with_a_cure(tiny: str, tmp_path: Path) -> None:
    lone = changed(f"{tiny}/unet", tmp_path / "lone")
    broken = Path(changed(tiny, tmp_path / "broken"))
    (broken / "unet/diffusion_pytorch_model.safetensors").write_bytes(b"cut off")
    for folder in (lone, str(broken)):
        with pytest.raises(DataError, match="no text-to-image pipeline") as found:
            loaded(folder)
        assert found.value.cure


def test_pickled_weights_are_refused_before_any_library_sees_them(tiny: str, tmp_path: Path) -> None:
    folder = Path(changed(tiny, tmp_path))
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(folder / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(DataError, match="safetensors"):
        loaded(str(folder))


def drawn(generator: TextToImage, size_px: int, count: int = 6, batch_size: int = 4) -> Drawing:
    """A unit drawn through the room's own batching."""
    words = lineage.class_words(0, "a")
    recipe = lineage.make_recipe(generator="text_to_image", options="{}", weights="w", templates=("a {name}",), size_px=size_px,
                                 encoding="png", seed=0)
    with encoder() as encode:
        work = Drawing(generator, recipe, words, batch_size, encode)
        work.draw(0, count)
        work.refuse_if_all_raised("unit")
        work.made()
    return work


def test_a_size_that_the_pipeline_cannot_draw_is_a_data_error(tiny: str) -> None:
    with pytest.raises(DataError, match=r"not one of the 6 samples.*divisible by 8") as caught:
        drawn(loaded(tiny, steps=1)[0], 31)
    assert "size" in caught.value.cure


def test_a_batch_that_does_not_fit_into_memory_is_halved_once_and_the_pictures_stay(tiny: str) -> None:
    generator, _ = loaded(tiny, steps=1)
    whole = drawn(generator, 32)

    def small(_: Any, given: tuple[Any, ...]) -> None:
        """The denoiser on a device with room for two pictures at once; guidance makes two of each."""
        if len(given[0]) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    generator._pipeline.unet.register_forward_pre_hook(small)
    half = drawn(generator, 32)
    assert (whole.batch_size, half.batch_size) == (4, 2)
    assert [(spec.id, spec.seed) for spec, *_ in half.made()] == [(spec.id, spec.seed) for spec, *_ in whole.made()]
    for (_, one, _), (_, other, _) in zip(half.made(), whole.made(), strict=True):
        pixels = [decode(image).astype(int) for image in (one, other)]
        assert abs(pixels[0] - pixels[1]).max() <= 1


@pytest.mark.filterwarnings("ignore:.*upcast_vae.*:FutureWarning")
def test_a_decoder_of_xl_that_ran_out_of_memory_in_fp32_decodes_half_the_batch_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It draws in fp16 and decodes in fp32, and turns back only at the end of a good call."""
    monkeypatch.setattr(pipelines, "dtype", lambda *_: torch.float16)   # which it refuses on a CPU, where it is slow
    generator, _ = loaded(tiny_pipeline.save_sdxl(str(tmp_path)), steps=1)
    vae, seen = generator._pipeline.vae, list[torch.dtype]()

    def small(_: Any, given: tuple[Any, ...]) -> None:
        seen.append(given[0].dtype)
        if len(given[0]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    vae.decoder.register_forward_pre_hook(small)
    half = drawn(generator, 32)
    assert (half.batch_size, half.count, half.failed) == (2, 6, [])
    assert set(seen) == {torch.float32}
    assert vae.dtype == torch.float16


def test_a_text_that_the_pipeline_cannot_read_costs_its_own_sample_alone(tiny: str) -> None:
    generator, _ = loaded(tiny, steps=1)
    prepare = generator._pipeline.prepare_latents
    name = lineage.sample_id(lineage.make_recipe(
        generator="text_to_image", options="{}", weights="w", templates=("a {name}",), size_px=32, encoding="png", seed=0
    ).id, lineage.class_words(0, "a").key, 4)
    unreadable = {lineage.seed_of(name, redraw) for redraw in range(4)}

    def picky(*given: Any) -> Any:
        (generators,) = (one for one in given if isinstance(one, list))
        if any(one.initial_seed() in unreadable for one in generators):
            raise ValueError("cannot read this")
        return prepare(*given)

    generator._pipeline.prepare_latents = picky
    work = drawn(generator, 32)
    assert [(one.spec.index, one.reason) for one in work.failed] == [(4, "ValueError: cannot read this")]
    assert [spec.index for spec, *_ in work.made()] == [0, 1, 2, 3, 5]


def test_a_poisoned_device_ends_the_process_and_blames_no_sample(tiny: str) -> None:
    generator, _ = loaded(tiny, steps=1)

    def poisoned(*_: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    generator._pipeline.unet.register_forward_pre_hook(poisoned)
    with pytest.raises(Beyond, match="illegal memory access"):
        drawn(generator, 32)
