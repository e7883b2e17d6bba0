"""A tool of generators, no plug: a pipeline of diffusers from a local folder, and the choices that change its pictures.

Each of them is a named option of the plug. What a pipeline cannot do is refused when it is loaded, with the cure.
"""

import inspect
import json
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from job.errors import DataError, SettingsError
from job.generators.pace import DENOISERS

if TYPE_CHECKING:
    import torch

DECODERS = ("AutoencoderKL", "AutoencoderTiny")
# Pipelines that ask anew at every step whether guidance is on, and what of theirs holds both halves of the batch.
HALVES = {
    "StableDiffusionPipeline": ("prompt_embeds",),
    "StableDiffusionXLPipeline": ("prompt_embeds", "add_text_embeds", "add_time_ids"),
}
FEW_STEPS = ("LCMScheduler", "TCDScheduler")   # for distilled models; diffusers lists them nowhere, and they read what DDIM reads
LEAST_SIDE = 640    # of a linear layer that is worth eight bits: below, quantising costs what the product saves
COMPUTED = 3        # steps at the start that diffusers' cache computes, whatever its interval
FP8 = (8, 9)        # least compute capability: Ada; Hopper has (9, 0)


def dtype(name: str, device: str) -> "torch.dtype":
    """The number format. Raises ``DataError`` where the device lacks it."""
    import torch

    if name == "fp16" and device == "cpu":
        raise DataError("dtype=fp16 needs a GPU: half precision does not run on this CPU", "use fp32")
    if name == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DataError(f"dtype=bf16 is not supported by this GPU ({torch.cuda.get_device_name()})", "use fp16")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def scheduler(name: str) -> Any:
    """The scheduler class of that name, or None for the model's own. Raises ``SettingsError``."""
    import diffusers

    if not name:
        return None
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        near = get_close_matches(name, [one for one in dir(diffusers) if one.endswith("Scheduler")])
        raise SettingsError(f"scheduler={name!r} is no scheduler of diffusers",
                            f"did you mean {', '.join(near)}?" if near else "leave it empty for the model's own")
    return found


def use_scheduler(pipeline: Any, found: Any, spacing: str) -> None:
    """Put it (None: the model's own class) in the place of the model's own, with the model's settings.

    ``spacing``: of its steps, in place of the model's; empty: as the model has it. Raises ``SettingsError`` where either does
    not suit.
    """
    own = pipeline.scheduler
    known = {one.__name__ for one in own.compatibles}
    known |= {*FEW_STEPS} if "DDIMScheduler" in known else set()
    if found and found.__name__ not in known:
        raise SettingsError(f"scheduler={found.__name__!r} does not suit this model", f"use one of {', '.join(sorted(known))}")
    found = found or type(own)
    if spacing and "config.timestep_spacing" not in inspect.getsource(found.set_timesteps):   # LCM's has the word, and no use for it
        raise SettingsError(f"timestep_spacing={spacing}, and {found.__name__} makes no use of it", "leave it at own")
    pipeline.scheduler = found.from_config(own.config, **({"timestep_spacing": spacing} if spacing else {}))


def load(folder: str, dtype: "torch.dtype", variant: str, vae: str = "") -> Any:
    """The pipeline in the folder, on the CPU, without a word. ``vae``: the folder of another autoencoder for it.

    Raises ``DataError`` for folders that are no such models, or that do not fit together.
    """
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    other = {"vae": _autoencoder(folder, dtype, vae)} if vae else {}
    pipeline = _read(folder, "a text-to-image pipeline of diffusers", "a folder with model_index.json and safetensors",
                     lambda: diffusers.AutoPipelineForText2Image.from_pretrained(
                         folder, dtype=dtype, variant=variant or None, use_safetensors=True, local_files_only=True, **other))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _autoencoder(pipeline: str, dtype: "torch.dtype", folder: str) -> Any:
    """Another autoencoder for the latents of this pipeline. Raises ``DataError`` for one of latents of another shape."""
    import diffusers

    own, other = (_config(Path(place, "config.json")) for place in (Path(pipeline, "vae"), Path(folder)))
    name = other.get("_class_name")
    if name not in DECODERS:
        raise DataError(f"{folder!r} holds {name or 'no model of diffusers'}, and vae takes {' or '.join(DECODERS)}",
                        "name the folder of the autoencoder itself")
    shapes = [(one.get("latent_channels", 4), len(one.get("block_out_channels", "four"))) for one in (own, other)]
    if shapes[0] != shapes[1]:
        raise DataError(f"the autoencoder in {folder!r} has latents of {shapes[1][0]} channels at 1:{2 ** (shapes[1][1] - 1)}, "
                        f"and the model draws {shapes[0][0]} at 1:{2 ** (shapes[0][1] - 1)}", "use one that was made for this model")
    return _read(folder, f"an {name} of diffusers", "a folder with config.json and safetensors",
                 lambda: getattr(diffusers, name).from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True))


def _config(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _read(folder: str, what: str, wanted: str, read: Callable[[], Any]) -> Any:
    from safetensors import SafetensorError

    try:
        return read()
    except ImportError as error:
        raise DataError(f"the model in {folder!r} needs a missing package: {_line(error)}", "add it to the image") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise DataError(f"{folder!r} is no{what.removeprefix('an').removeprefix('a')}: {_line(error)}",
                        f"name {wanted}, as save_pretrained() writes it") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]   # theirs run over many lines


def guided_for(pipeline: Any, share: float, guidance: float) -> Callable[..., dict[str, Any]]:
    """A callback that ends guidance after this share of the steps: from then on an image costs half.

    The callback that diffusers has for this keeps the last prompt alone and is wrong for a batch; this one keeps the
    conditional half. Raises ``SettingsError`` where guidance cannot be ended, or was never on.
    """
    names = HALVES.get(type(pipeline).__name__)
    if names is None:
        raise SettingsError(f"{type(pipeline).__name__} cannot end guidance early", "leave guidance_share at 1")
    if guidance <= 1 or distilled_guidance(pipeline):
        raise SettingsError(f"guidance_share={share:g}, and there is no guidance to end", "leave it at 1, or raise guidance above 1")

    def at_step_end(pipeline: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if pipeline.do_classifier_free_guidance and step + 1 >= round(share * pipeline.num_timesteps):
            pipeline._guidance_scale = 0.0   # what the property above reads; the next call sets it again
            return {name: tensors[name].chunk(2)[1] for name in names}
        return {}

    return at_step_end


def distilled_guidance(pipeline: Any) -> bool:
    """Whether guidance is an input of the model (latent consistency models): done once, and blind to a negative prompt."""
    config = getattr(getattr(pipeline, "unet", None), "config", {})
    return config.get("time_cond_proj_dim") is not None


def cache(pipeline: Any, interval: int, steps: int) -> None:
    """Compute the transformer's attention at the first three steps, at the fifth and at every ``interval``-th from there, and
    extrapolate it between (TaylorSeer, arXiv 2503.06923). All else is computed at every step.

    Of diffusers' caches this one keeps a fixed schedule. Those that decide by how much the activations change (first
    block, SeaCache) decide for a whole batch, and a picture would depend on its neighbours.

    Raises ``SettingsError`` where nothing would be extrapolated: by UNets, by pipelines that do not tell a cache which step
    it is, by transformers whose attention diffusers does not find (CogView4), and in three steps.
    """
    import diffusers

    transformer, name = getattr(pipeline, "transformer", None), type(pipeline).__name__
    if not hasattr(transformer, "enable_cache") or "cache_context" not in inspect.getsource(type(pipeline)):
        raise SettingsError(f"cache_interval={interval}, and {name} cannot cache", "set it to 1, or take fewer steps")
    # In the model's own number format: rounded to bf16, as by default, latents of fp32 differ 30 times as much from batch to batch.
    transformer.enable_cache(diffusers.TaylorSeerCacheConfig(cache_interval=interval, taylor_factors_dtype=transformer.dtype))
    if not any(hook.get_hook("taylorseer_cache") for one in transformer.modules() if (hook := getattr(one, "_diffusers_hook", None))):
        raise SettingsError(f"cache_interval={interval}, and diffusers finds no attention to extrapolate in {type(transformer).__name__}",
                            "set it to 1")
    if steps <= COMPUTED:
        raise SettingsError(f"cache_interval={interval}, and of {steps} steps the first {COMPUTED} are computed anyhow", "set it to 1")


def large(module: Any, _: str = "") -> bool:
    """Whether it is a linear layer with both sides of 640 and more, as torchao asks of each module and its name."""
    import torch

    return isinstance(module, torch.nn.Linear) and min(module.in_features, module.out_features) >= LEAST_SIDE


def fp8(pipeline: Any, device: str, dtype_name: str) -> None:
    """The denoiser's ``large`` layers in 8-bit floats, scaled by row, activations on the fly (torchao).

    Raises ``DataError`` where package or GPU lack it, ``SettingsError`` for another number format than bf16.
    """
    import torch

    if device != "cuda" or torch.cuda.get_device_capability() < FP8:
        name = torch.cuda.get_device_name() if device == "cuda" else "a CPU"
        raise DataError(f"linears=fp8 needs an Ada or Hopper GPU or later, and this is {name}", "set it to full")
    if dtype_name != "bf16":
        raise SettingsError(f"linears=fp8 scales by row, which needs dtype=bf16, not {dtype_name}", "set dtype to bf16")
    try:
        from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_
    except ImportError as error:
        raise DataError(f"linears=fp8 needs the package torchao: {_line(error)}",
                        "add it to the image (the extra gpu-fp8), or set it to full") from error

    # Its settings of the compiler would be this thread's alone, and another one draws.
    config = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow(), set_inductor_config=False)
    for name in DENOISERS:
        module = getattr(pipeline, name, None)
        if module is not None:
            quantize_(module, config, filter_fn=large)
