"""What makes a pipeline fast moves no picture by more than a grey level; over tiny pipelines, in fp32 on a CPU."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from job import plugs
from job.errors import SettingsError
from job.generators import pace
from job.generators.prompts import Prompts
from job.generators.text_to_image import TextToImage
from job.records import SampleSpec
from tests.contract import tiny_pipeline
from tests.contract.test_text_to_image import loaded, pictures, specs_of

pytestmark = pytest.mark.contract
COMPILED_LEVELS = 1   # grey levels by which a compiled picture may differ from the eager one in fp32


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_pipeline.save(str(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def tinier(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """With one block on either side: what takes long is to compile it."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    folder = tmp_path_factory.mktemp("tinier")
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8, down_block_types=("CrossAttnDownBlock2D",), up_block_types=("CrossAttnUpBlock2D",), layers_per_block=1,
        mid_block_type=None, norm_num_groups=4, block_out_channels=(8,), attention_head_dim=2, cross_attention_dim=16,
    ).save_pretrained(folder / "unet")
    AutoencoderKL(block_out_channels=(8,), layers_per_block=1, norm_num_groups=4, sample_size=32).save_pretrained(folder / "vae")
    return str(folder)


class Counted:
    """A text encoder's forward, counted in prompts."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        self.prompts = 0
        encoder.register_forward_hook(self)

    def __call__(self, _: Any, inputs: tuple[torch.Tensor, ...], __: Any) -> None:
        self.prompts += len(inputs[0])


def plain(tiny: str, specs: list[SampleSpec], **options: Any) -> np.ndarray:
    """As diffusers draws by itself, prompts encoded batch by batch."""
    generator, _ = loaded(tiny, **options)
    generator._pipeline.encode_prompt = generator._pipeline.encode_prompt._encode
    return pictures(generator.draw(specs))


@pytest.mark.parametrize("options", [{}, {"negative_prompt": "one"}, {"guidance": 1.0}])
def test_a_prompt_is_encoded_once_and_the_pictures_are_as_if_it_were_not(tiny: str, options: dict[str, Any]) -> None:
    specs = specs_of(32, 8)
    generator, _ = loaded(tiny, **options)
    counted = Counted(generator._pipeline.text_encoder)
    drawn = pictures(generator.draw(specs))
    first = counted.prompts
    assert first == len({spec.prompt for spec in specs}) * (1 if options.get("guidance") == 1.0 else 2)   # the negative one beside each
    assert np.array_equal(pictures(generator.draw(specs)), drawn)
    generator.draw(specs[3:4])
    assert counted.prompts == first
    assert tiny_pipeline.far(drawn, plain(tiny, specs, **options)) <= 1


def test_what_a_prompt_is_encoded_to_does_not_depend_on_its_neighbours(tiny: str) -> None:
    generator, _ = loaded(tiny)
    encode = generator._pipeline.encode_prompt
    with torch.no_grad():
        alone, = (encode(["a dog"], "cpu", 1, False)[0])
        beside = encode(["a cat", "a dog", "a cat"], "cpu", 1, False)[0]
        guided = encode(["a cat", "a dog"], "cpu", 1, True, negative_prompt=["no", "none"])
    assert torch.equal(alone, beside[1])
    assert torch.equal(beside[0], beside[2])
    assert [part.shape[0] for part in guided] == [2, 2]
    assert not torch.equal(guided[1][0], guided[1][1])


def test_the_memory_of_prompts_is_bounded_and_forgets_what_was_not_asked_for_longest() -> None:
    asked: list[str] = []

    def encode_prompt(prompt: list[str], device: str) -> tuple[torch.Tensor, None]:
        asked.extend(prompt)
        return torch.full((len(prompt), 4), float(len(prompt[0]))), None

    remember = Prompts(encode_prompt, most_bytes=2 * 16)   # two prompts
    for words in (["a"], ["bb"], ["a"], ["ccc"], ["a"], ["bb"]):
        assert remember(prompt=words, device="cpu")[0].tolist() == [[float(len(words[0]))] * 4]
    assert asked == ["a", "bb", "ccc", "bb"]
    asked.clear()
    assert remember(["a", "bb", "ccc", "a"], "cpu")[0][:, 0].tolist() == [1, 2, 3, 1]   # more than it may keep
    assert set(asked) <= {"a", "bb", "ccc"}


def test_parts_that_belong_to_no_prompt_stay_one_and_what_cannot_be_joined_is_left_to_the_pipeline() -> None:
    calls: list[int] = []

    def flux(prompt: list[str], prompt_2: list[str] | None = None) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return torch.ones(len(prompt), 5, 3), torch.ones(len(prompt), 3), torch.zeros(5, 3)

    def ragged(prompt: list[str]) -> torch.Tensor:
        calls.append(len(prompt))
        return torch.zeros(len(prompt), max(map(len, prompt)))   # padded to the longest of a batch

    assert [tuple(part.shape) for part in Prompts(flux)(["a", "b"], None)] == [(2, 5, 3), (2, 3), (5, 3)]
    remember = Prompts(ragged)
    assert remember(["a", "bbb"]).shape == (2, 3)
    assert remember(["a", "bb"]).shape == (2, 2)
    assert calls == [1, 1, 2, 2]


@pytest.mark.parametrize("most", [1, 2, 3, 5, 6, 100])
def test_the_batch_of_the_decoder_moves_a_picture_by_a_rounding_at_most(tiny: str, most: int) -> None:
    specs = specs_of(32, 6)
    sizes: list[int] = []
    generator, _ = loaded(tiny, decode_batch=most)
    generator._pipeline.vae.decoder.register_forward_hook(lambda _, inputs, __: sizes.append(len(inputs[0])))
    drawn = pictures(generator.draw(specs))
    assert tiny_pipeline.far(drawn, pictures(loaded(tiny)[0].draw(specs))) <= 1
    assert len(set(sizes)) == 1   # one shape
    assert sizes[0] <= most
    assert len(sizes) == -(-6 // min(most, 6))


def test_a_batch_of_the_decoder_holds_as_many_pixels_whatever_the_size() -> None:
    assert [pace.decode_batch("auto", px) for px in (512, 1024, 2048, 4096)] == [32, 8, 2, 1]
    assert pace.decode_batch(3, 512) == 3


def test_weights_that_are_channels_last_draw_the_same_pictures(tiny: str) -> None:
    generator, _ = loaded(tiny)
    before = pictures(generator.draw(specs_of(32)))
    pace.channels_last(generator._pipeline)
    kernels = [one.weight for part in (generator._pipeline.unet, generator._pipeline.vae) for one in part.modules()
               if isinstance(one, torch.nn.Conv2d)]
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in kernels)
    assert not all(one.is_contiguous() for one in kernels)   # it makes no difference to one of 1×1
    assert tiny_pipeline.far(pictures(generator.draw(specs_of(32))), before) <= 1


def test_an_autoencoder_of_three_dimensions_keeps_the_layout_of_those_convolutions() -> None:
    vae = torch.nn.Sequential(torch.nn.Conv3d(2, 2, 3), torch.nn.Conv2d(2, 2, 3))
    pace.channels_last(SimpleNamespace(unet=None, vae=vae))
    assert vae[0].weight.is_contiguous()
    assert vae[1].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_thread_that_draws_compiles_as_many_shapes_of_a_block_as_there_are() -> None:
    """PyTorch keeps such settings by thread: what is set when a model is loaded does not reach those that draw."""
    def limit(how: str) -> int:
        with pace.told(how):
            return torch._dynamo.config.recompile_limit

    with ThreadPoolExecutor(1) as drawing:
        assert drawing.submit(limit, "regional").result() == pace.RECOMPILED
        assert drawing.submit(limit, "none").result() < pace.RECOMPILED


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")   # Euler's schedulers
@pytest.mark.parametrize("save", [tiny_pipeline.save, tiny_pipeline.save_sdxl])
def test_latents_are_those_of_the_sample_whatever_its_batch(save: Callable[[str], str], tmp_path: Path) -> None:
    """What the denoiser is first given: the noise itself, to the last bit."""
    seen: list[torch.Tensor] = []
    generator, _ = loaded(save(str(tmp_path)), steps=1, guidance=1)
    generator._pipeline.unet.register_forward_pre_hook(lambda _, given: seen.append(given[0].clone()))
    specs = specs_of(32)
    for batch in (specs, specs[::-1], *([one] for one in specs)):
        generator.draw(batch)
    whole, backwards, *alone = seen
    assert torch.equal(whole, backwards.flip(0))
    assert torch.equal(whole, torch.cat(alone))
    assert len({one.numpy().tobytes() for one in whole}) == len(specs)


def test_only_hopper_is_given_cudnns_attention_first() -> None:
    assert pace.attention_order((9, 0))[0] == "CUDNN_ATTENTION"
    assert [pace.attention_order(one) for one in (None, (7, 5), (8, 0), (8, 9), (10, 0), (12, 0))] == [()] * 6
    assert all(hasattr(torch.nn.attention.SDPBackend, name) for name in pace.attention_order((9, 0)))
    with pace.attention("cpu")():
        pass


def test_how_fast_it_is_drawn_is_no_part_of_the_recipe_and_what_is_off_leaves_the_recipe_as_it_was() -> None:
    chosen = plugs.options(TextToImage, {"compile": "whole", "compile_cache": False, "decode_batch": 4, "vae": "elsewhere"}, "GENERATOR")
    assert plugs.identity(chosen) == plugs.identity(TextToImage.Options()) == (
        '{"dtype":"fp32","guidance":2.0,"negative_prompt":"","scheduler":"","steps":20,"variant":""}')   # as before there were such options
    for name, value in {"guidance_share": 0.5, "cache_interval": 3, "linears": "fp8", "timestep_spacing": "trailing"}.items():
        assert f'"{name}"' in plugs.identity(TextToImage.Options(**{name: value}))


@pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles with a C++ compiler")
@pytest.mark.parametrize("how", ["whole", "regional"])
def test_compiled_pictures_are_those_of_the_eager_path_and_one_shape_is_compiled_once(tinier: str, how: str) -> None:
    from torch._dynamo.utils import counters

    torch._dynamo.reset()
    counters.clear()
    specs = specs_of(16, 2)
    generator, _ = loaded(tinier, steps=2, compile=how)
    drawn = pictures(generator.draw(specs))
    graphs = counters["stats"]["unique_graphs"]
    assert graphs >= 1
    assert np.array_equal(pictures(generator.draw(specs)), drawn)
    assert counters["stats"]["unique_graphs"] == graphs
    assert tiny_pipeline.far(drawn, pictures(loaded(tinier, steps=2)[0].draw(specs))) <= COMPILED_LEVELS
    torch._dynamo.reset()


def test_a_model_without_repeated_blocks_is_told_so_and_what_pytorch_raises_itself_goes_through() -> None:
    from diffusers import UNet2DConditionModel

    plain = UNet2DConditionModel(down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",), mid_block_type=None,
                                 block_out_channels=(8,), norm_num_groups=4)
    with pytest.raises(SettingsError, match="UNet2DConditionModel has no repeated blocks to compile"):
        pace.compiled(SimpleNamespace(unet=plain), "regional")

    class Broken(UNet2DConditionModel):
        def compile_repeated_blocks(self, *_: Any, **__: Any) -> None:
            raise AttributeError("of PyTorch's own")

    with pytest.raises(AttributeError, match="of PyTorch's own"):
        pace.compiled(SimpleNamespace(unet=Broken.from_config(plain.config)), "regional")


def test_where_nothing_can_be_compiled_the_option_is_named_and_no_sample_is_blamed(tiny: str) -> None:
    torch._dynamo.reset()
    generator, _ = loaded(tiny, steps=1, compile="regional")
    with torch._inductor.config.patch({"cpp.cxx": ("no-such-compiler",), "force_disable_caches": True}), \
            pytest.raises(SettingsError, match="compile=regional, and the model cannot be compiled here"):
        generator.draw(specs_of(32, 1))
    torch._dynamo.reset()


def test_code_is_kept_only_where_it_is_compiled_and_wanted_and_its_name_holds_what_it_is_good_for(tiny: str) -> None:
    eager, _ = loaded(tiny)
    wary, _ = loaded(tiny, compile="whole", compile_cache=False)
    keen, _ = loaded(tiny, compile="whole")
    assert (eager.compiled_for(4, 32), wary.compiled_for(4, 32)) == ("", "")
    assert torch.__version__ in keen.compiled_for(4, 32)
    assert len({keen.compiled_for(4, 32), keen.compiled_for(2, 32), keen.compiled_for(4, 64)}) == 3
