"""Attention extrapolated from step to step, over a tiny FLUX: less work, no picture that knows its neighbours or a call that failed."""

from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from job.errors import SettingsError
from job.generators import pipelines
from tests.contract import tiny_pipeline
from tests.contract.test_text_to_image import drawn, loaded, pictures, specs_of

pytestmark = pytest.mark.contract
STEPS = 12


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_pipeline.save_flux(str(tmp_path_factory.mktemp("flux")))


def cached(flux: str, interval: int) -> Any:
    return loaded(flux, steps=STEPS, guidance=3.5, cache_interval=interval)[0]


@pytest.mark.parametrize(("interval", "computed"), [(1, 12), (2, 7), (3, 6), (20, 4)])
def test_attention_is_computed_at_the_first_three_steps_the_fifth_and_every_nth_from_there(
    flux: str, interval: int, computed: int
) -> None:
    generator = cached(flux, interval)
    calls: dict[str, int] = {}
    transformer = generator._pipeline.transformer
    for name, module in transformer.named_modules():
        if name.endswith((".attn.to_q", ".ff.net.2")):
            module.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    generator.draw(specs_of(32, 2))
    assert sorted(calls.items()) == [
        ("single_transformer_blocks.0.attn.to_q", computed),
        ("transformer_blocks.0.attn.to_q", computed), ("transformer_blocks.0.ff.net.2", STEPS)]   # all else is computed at every step


@pytest.mark.parametrize("interval", [1, 3, 20])
def test_a_picture_whose_attention_is_extrapolated_does_not_depend_on_its_batch(flux: str, interval: int) -> None:
    specs, generator = specs_of(32, 4), cached(flux, interval)
    whole = pictures(generator.draw(specs))
    assert tiny_pipeline.far(whole, np.concatenate([pictures(generator.draw([spec])) for spec in specs])) <= 1
    assert tiny_pipeline.far(whole, pictures(generator.draw(specs[::-1]))[::-1]) <= 1
    assert interval < 20 or tiny_pipeline.far(whole, pictures(cached(flux, 1).draw(specs))) > 1


def test_a_call_that_ends_half_way_leaves_nothing_behind_for_the_next_one(flux: str) -> None:
    """Of the same number of pictures, and of fewer, as after a batch that did not fit."""
    specs, generator = specs_of(32, 4), cached(flux, 20)
    whole, half = pictures(generator.draw(specs)), pictures(generator.draw(specs[:2]))
    for count, expected in ((4, whole), (2, half)):
        calls = [0]

        def fails(*_: Any, calls: list[int] = calls) -> None:
            calls[0] += 1
            if calls[0] == 6:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

        hook = generator._pipeline.transformer.register_forward_pre_hook(fails)
        with pytest.raises(torch.OutOfMemoryError):
            generator.draw(specs)
        hook.remove()
        assert np.array_equal(pictures(generator.draw(specs[:count])), expected)


def test_a_batch_that_is_halved_half_way_through_its_steps_gives_the_same_samples(flux: str) -> None:
    generator = cached(flux, 20)
    calls, clean = [0], drawn(generator, 32, batch_size=2)

    def small(_: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        calls[0] += 1
        if len(named["hidden_states"]) > 2 and calls[0] == 6:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    generator._pipeline.transformer.register_forward_pre_hook(small, with_kwargs=True)
    halved = drawn(generator, 32)
    assert (halved.batch_size, halved.failed, calls[0]) == (2, [], 6 + 3 * STEPS)
    assert [(spec.id, spec.seed, image) for spec, image, _ in halved.made()] == [
        (spec.id, spec.seed, image) for spec, image, _ in clean.made()]


def pipeline_of(name: str) -> Any:
    """One of that class with a transformer of its own kind, and nothing else; no number of it is made."""
    kind = getattr(diffusers, name)
    pipeline, transformer = kind.__new__(kind), kind.__init__.__annotations__["transformer"]
    with torch.device("meta"):
        pipeline.transformer = (getattr(diffusers, transformer) if isinstance(transformer, str) else transformer)()
    return pipeline


@pytest.mark.parametrize("name", ["FluxPipeline", "Flux2KleinPipeline", "QwenImagePipeline", "OvisImagePipeline"])
def test_the_pipelines_that_can_cache_are_those_that_the_documentation_names(name: str) -> None:
    pipeline = pipeline_of(name)
    pipelines.cache(pipeline, 3, 20)
    assert pipeline.transformer.is_cache_enabled


@pytest.mark.parametrize(("name", "word"), [
    ("CogView4Pipeline", "finds no attention to extrapolate in CogView4Transformer2DModel"),   # it is called attn1 there
    ("Flux2Pipeline", "Flux2Pipeline cannot cache"),   # the transformer could, and its pipeline does not tell it when
])
def test_where_nothing_would_be_extrapolated_a_cache_is_refused(name: str, word: str) -> None:
    with pytest.raises(SettingsError, match=word) as caught:
        pipelines.cache(pipeline_of(name), 3, 20)
    assert "1" in caught.value.cure


def test_a_cache_is_refused_for_a_unet_and_for_as_few_steps_as_are_computed_anyhow(flux: str, tmp_path: Any) -> None:
    with pytest.raises(SettingsError, match="StableDiffusionPipeline cannot cache"):
        loaded(tiny_pipeline.save(str(tmp_path)), cache_interval=3)
    with pytest.raises(SettingsError, match="of 3 steps the first 3 are computed anyhow"):
        loaded(flux, steps=3, cache_interval=3)
