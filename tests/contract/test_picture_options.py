"""Options that change pictures: named, part of the recipe, and refused with words where a pipeline cannot do them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bench import models
from job import plugs
from job.errors import DataError, SettingsError
from job.generators import pipelines
from job.generators.text_to_image import TextToImage
from job.ground import model_parts, weights
from tests.contract import tiny_pipeline
from tests.contract.test_text_to_image import loaded, pictures, specs_of

pytestmark = pytest.mark.contract


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_pipeline.save(str(tmp_path_factory.mktemp("tiny")))


class Calls:
    """How many pictures the denoiser was asked for, call by call."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.sizes: list[int] = []
        module.register_forward_pre_hook(lambda _, inputs: self.sizes.append(len(inputs[0])))


# --- guidance that ends early


@pytest.mark.parametrize(("share", "guided"), [(0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_after_its_share_of_the_steps_guidance_is_off_and_an_image_costs_half(tiny: str, share: float, guided: int) -> None:
    generator, _ = loaded(tiny, steps=4, guidance=5, guidance_share=share)
    for _ in range(2):   # the second call is guided again
        calls = Calls(generator._pipeline.unet)
        generator.draw(specs_of(32, 3))
        assert calls.sizes[:4] == [6] * guided + [3] * (4 - guided)


def test_guidance_that_ends_early_gives_every_sample_its_own_prompt_in_any_batch(tiny: str) -> None:
    """The callback of diffusers keeps the last prompt of a batch for all of it."""
    specs = specs_of(32, 6)
    generator, _ = loaded(tiny, steps=4, guidance=5, guidance_share=0.5)
    whole = pictures(generator.draw(specs))
    alone = np.concatenate([pictures(generator.draw([spec])) for spec in specs])
    assert tiny_pipeline.far(whole, alone) <= 1
    assert tiny_pipeline.far(whole, pictures(loaded(tiny, steps=4, guidance=5)[0].draw(specs))) > 1
    assert tiny_pipeline.far(whole, pictures(loaded(tiny, steps=4, guidance=1)[0].draw(specs))) > 1


def test_guidance_is_not_ended_where_there_is_none(tiny: str) -> None:
    with pytest.raises(SettingsError, match="there is no guidance to end"):
        loaded(tiny, guidance=1, guidance_share=0.5)


def test_the_pipelines_that_can_end_guidance_still_take_what_the_callback_hands_them() -> None:
    import diffusers

    for name, tensors in pipelines.HALVES.items():
        assert set(tensors) <= set(getattr(diffusers, name)._callback_tensor_inputs)


# --- latent consistency models


def test_a_model_with_guidance_built_in_refuses_what_it_would_ignore(tiny: str, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    shutil.copytree(tiny, tmp_path, dirs_exist_ok=True)
    config = UNet2DConditionModel.load_config(f"{tiny}/unet")
    UNet2DConditionModel.from_config({**config, "time_cond_proj_dim": 8}).save_pretrained(tmp_path / "unet")
    few, _ = loaded(str(tmp_path), steps=2, guidance=8, scheduler="LCMScheduler")
    calls = Calls(few._pipeline.unet)
    assert len(pictures(few.draw(specs_of(32, 3)))) == 3
    assert calls.sizes == [3, 3]   # guided, and not twice
    for option in ({"negative_prompt": "blurred"}, {"guidance_share": 0.5}):
        with pytest.raises(SettingsError, match="guidance"):
            loaded(str(tmp_path), guidance=8, **option)


# --- another autoencoder


def fetched(**options: Any) -> tuple[TextToImage, str, str, dict[str, str]]:
    generator = TextToImage(plugs.options(TextToImage, {"steps": 2, **options}, "GENERATOR"))
    return generator, *model_parts.fetch(generator, lambda url: pytest.fail(url))


def autoencoder(folder: Path, channels: int = 4) -> str:
    from diffusers import AutoencoderTiny

    torch.manual_seed(1)
    AutoencoderTiny(encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8), num_encoder_blocks=(1, 1, 1),
                    num_decoder_blocks=(1, 1, 1), latent_channels=channels, upsampling_scaling_factor=2).save_pretrained(folder)
    return str(folder)


def test_a_tiny_autoencoder_takes_the_place_of_the_models_own_and_is_part_of_the_recipe(tiny: str, tmp_path: Path) -> None:
    own, folder, digest, none = fetched(model=tiny)
    assert (digest, none) == (weights.digest_of(tiny), {})
    own.load(folder, digest, "cpu")
    vae = autoencoder(tmp_path / "vae")
    generator, folder, both, parts = fetched(model=tiny, vae=vae)
    assert parts == {"vae": vae}
    assert both != digest
    origin = generator.load(folder, both, "cpu", **parts)
    assert type(generator._pipeline.vae).__name__ == "AutoencoderTiny"
    assert origin.ancestry[-1] == both
    drawn = pictures(generator.draw(specs_of(32)))
    assert drawn.shape == (6, 32, 32, 3)
    assert tiny_pipeline.far(drawn, pictures(own.draw(specs_of(32)))) > 1
    assert tiny_pipeline.far(drawn, np.concatenate([pictures(generator.draw([spec])) for spec in specs_of(32)])) <= 1
    assert origin.revision == ""
    snapshot = tmp_path / ("c0ffee" * 7)[:40]   # the model as the hub keeps a commit of it: the digest is of both, the revision its own
    snapshot.symlink_to(tiny)
    assert generator.load(str(snapshot), both, "cpu", **parts).revision == snapshot.name
    (tmp_path / "vae" / "config.json").write_text((tmp_path / "vae" / "config.json").read_text() + "\n")
    assert fetched(model=tiny, vae=vae)[2] != both


def test_an_autoencoder_of_other_latents_or_none_at_all_is_refused(tiny: str, tmp_path: Path) -> None:
    for place, word in ((autoencoder(tmp_path / "other", channels=16), "16 channels"), (f"{tiny}/unet", "UNet2DConditionModel")):
        generator, folder, digest, parts = fetched(model=tiny, vae=place)
        with pytest.raises(DataError, match=word) as caught:
            generator.load(folder, digest, "cpu", **parts)
        assert caught.value.cure


def test_a_part_may_be_pinned_to_a_revision_of_a_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "name@1").mkdir(parents=True)   # a folder that exists wins over a hub id
    at = model_parts._at
    assert at("madebyollin/taesd@614f768") == ("madebyollin/taesd", "614f768")
    assert at("madebyollin/taesd@refs/pr/1") == ("madebyollin/taesd", "refs/pr/1")
    for place in ("madebyollin/taesd", "s3://key:secret@models/vae", "models/name@1", "/models/name@1", "package:demo/weights/pipeline"):
        assert at(place) == (place, "")


def test_the_licence_of_every_part_has_to_be_allowed(tiny: str, tmp_path: Path) -> None:
    vae = Path(autoencoder(tmp_path / "vae"))
    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    for folder, licence in ((model, "MIT"), (vae, "Apache-2.0")):
        (folder / "README.md").write_text(f"---\nlicense: {licence}\n---\n")
    _, folder, digest, parts = fetched(model=str(model), vae=str(vae))
    assert model_parts.licence_of(folder, digest, parts) == "MIT AND Apache-2.0"
    assert model_parts.joined_licence("MIT AND X", "MIT") == "MIT AND X"
    with pytest.raises(SettingsError, match=r"MIT AND Apache-2\.0"):
        weights.check_licence("MIT AND Apache-2.0", ["MIT"])


# --- 8-bit linear layers


@pytest.mark.parametrize(("name", "chosen", "all_of_them"), [("sd15", 128, 184), ("sdxl", 737, 743)])
def test_eight_bits_are_for_large_linear_layers_alone_and_none_has_a_side_that_torchao_would_skip(
    name: str, chosen: int, all_of_them: int
) -> None:
    with torch.device("meta"):
        denoiser = models.unet(models.shape(name))
    linears = [one for one in denoiser.modules() if isinstance(one, torch.nn.Linear)]
    large = [one for one in denoiser.modules() if pipelines.large(one)]
    assert (len(large), len(linears)) == (chosen, all_of_them)
    assert {side % 16 for one in large for side in (one.in_features, one.out_features)} == {0}


def test_eight_bits_are_refused_where_the_device_lacks_them(tiny: str) -> None:
    with pytest.raises(DataError, match="needs an Ada or Hopper GPU or later, and this is a CPU") as caught:
        loaded(tiny, linears="fp8")
    assert "full" in caught.value.cure
