"""Any text-to-image pipeline that diffusers knows: SD-1.5, SDXL, SD-Turbo, SD3, FLUX, Sana, and the demo's own.

The label is the prompt's class. Each sample's noise comes from a generator of its own on the CPU, seeded by the spec,
so it depends neither on the batch nor on the device. Weights are local safetensors; no code of a model's author runs.
"""

import inspect
import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from job.errors import DataError, SettingsError, redact
from job.ground.pixels import NOT_FINITE, fault
from job.ground.weights import ancestry_of
from job.records import Failure, Origin, Sample, SampleSpec

if TYPE_CHECKING:
    import torch

NOT_IDENTITY = {"identity": False}


class TextToImage:
    """Draws through ``diffusers.AutoPipelineForText2Image``."""

    carries = frozenset({"class"})

    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        # Where the weights lie is no part of the recipe: their digest is.
        model: Annotated[
            str,
            Field(min_length=1, description="a folder, bucket prefix or hub id; package: is shipped with the job",
                  json_schema_extra=NOT_IDENTITY),
        ] = "package:demo/weights/pipeline"
        revision: Annotated[
            str, Field(description="branch, tag or commit of a hub id", json_schema_extra=NOT_IDENTITY)
        ] = ""
        variant: Annotated[
            str, Field(pattern=r"^[\w-]*$", description="weights variant in the files' names, such as fp16; empty: plain")
        ] = ""
        licence: Annotated[
            str,
            Field(description="licence id of the model; empty: as its lineage.json says, else unknown",
                  json_schema_extra=NOT_IDENTITY),
        ] = ""
        negative_prompt: Annotated[str, Field(description="what the pictures should not show; empty: nothing said")] = ""
        guidance: Annotated[
            float, Field(ge=0, le=50, description="classifier-free guidance scale; up to 1 means none in most pipelines")
        ] = 2.0
        steps: Annotated[int, Field(ge=1, le=1000, description="denoising steps")] = 20
        scheduler: Annotated[
            str,
            Field(pattern=r"^(\w+Scheduler)?$",
                  description="class of diffusers, such as DDIMScheduler; empty: the model's own"),
        ] = ""
        dtype: Annotated[
            Literal["fp32", "bf16", "fp16"],
            Field(description="number format on the device; bf16 needs an Ampere GPU or later, fp16 any GPU"),
        ] = "fp32"

    def __init__(self, options: BaseModel) -> None:
        self.options = self.Options.model_validate(options)

    def location(self) -> str:
        return self.options.model

    def revision(self) -> str:
        return self.options.revision

    def load(self, folder: str, digest: str, device: str) -> Origin:
        """Load the pipeline from a local folder onto ``cpu`` or ``cuda``.

        Raises ``DataError`` for a folder that is no such pipeline, or a number format that the device lacks, and
        ``SettingsError`` for an unknown scheduler or an option that this pipeline cannot take.
        """
        licence, depth, ancestry = ancestry_of(folder, digest)
        dtype = _dtype(self.options.dtype, device)
        scheduler = _scheduler(self.options.scheduler)
        self._pipeline = _pipeline(folder, dtype, self.options.variant)
        if scheduler:
            known = {one.__name__ for one in self._pipeline.scheduler.compatibles}
            if scheduler.__name__ not in known:
                raise SettingsError(f"scheduler={self.options.scheduler!r} does not suit this model",
                                    f"use one of {', '.join(sorted(known))}")
            self._pipeline.scheduler = scheduler.from_config(self._pipeline.scheduler.config)
        self._arguments = self._call_arguments()
        self._pipeline.to(device)
        if device == "cuda":
            _channels_last(self._pipeline)
        commit = digest if re.fullmatch(r"[0-9a-f]{40}", digest) else self.options.revision
        return Origin(redact(self.options.model), commit, self.options.licence or licence, depth, ancestry)

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        """One result per spec, in their order; all specs form one batch and share one size.

        What the pipeline raises goes through (a text that it cannot read, too little memory): the room sorts it.
        Raises ``DataError`` if the pipeline draws another size than was asked for.
        """
        import torch

        if not specs:
            return []
        (size_px,) = {spec.size_px for spec in specs}
        arguments = dict(self._arguments, prompt=[spec.prompt for spec in specs], height=size_px, width=size_px)
        arguments["generator"] = [torch.Generator("cpu").manual_seed(spec.seed) for spec in specs]
        if self.options.negative_prompt:
            arguments["negative_prompt"] = [self.options.negative_prompt] * len(specs)
        output = self._pipeline(**arguments)
        height, width = output.images.shape[-2:]
        if (height, width) != (size_px, size_px):
            raise DataError(f"the pipeline drew {width}×{height} px instead of {size_px}", "choose a size that it knows")
        blanked = getattr(output, "nsfw_content_detected", None) or [False] * len(specs)
        return self._results(specs, output.images, blanked)

    @staticmethod
    def _results(
        specs: Sequence[SampleSpec], images_MCHW: "torch.Tensor", blanked: Sequence[bool]
    ) -> list[Sample | Failure]:
        """``images_MCHW`` are floats in [0, 1]; they become bytes on the device, a quarter of the traffic."""
        import torch

        finite = torch.isfinite(images_MCHW).flatten(1).all(1).tolist()
        levels = (images_MCHW.float().nan_to_num() * 255).round().clamp(0, 255).to(torch.uint8)
        pixels_MHWC = levels.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        results: list[Sample | Failure] = []
        for spec, pixels_HWC, is_finite, is_blanked in zip(specs, pixels_MHWC, finite, blanked, strict=True):
            reason = "blanked by the safety checker" if is_blanked else fault(pixels_HWC) if is_finite else NOT_FINITE
            # A copy: a view would keep the whole batch in memory as long as one image of it is kept.
            results.append(Failure(spec, reason) if reason else Sample(spec, pixels_HWC.copy()))
        return results

    def _call_arguments(self) -> dict[str, Any]:
        """What every call of this pipeline is given. Pipelines differ in what they accept."""
        known = inspect.signature(self._pipeline.__call__).parameters
        # With true_cfg_scale (FLUX, Qwen) a negative prompt has no effect unless guidance is done twice.
        if self.options.negative_prompt and ("negative_prompt" not in known or "true_cfg_scale" in known):
            raise SettingsError(f"{type(self._pipeline).__name__} makes no use of negative_prompt", "leave it empty")
        wanted = {
            "num_inference_steps": self.options.steps,
            "guidance_scale": self.options.guidance,
            "output_type": "pt",
            "clean_caption": False,   # would rewrite the prompt with libraries that may be missing
        }
        return {name: value for name, value in wanted.items() if name in known}


def _dtype(name: str, device: str) -> "torch.dtype":
    import torch

    if name == "fp16" and device == "cpu":
        raise DataError("dtype=fp16 needs a GPU: half precision does not run on this CPU", "use fp32")
    if name == "bf16" and device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise DataError(f"dtype=bf16 is not supported by this GPU ({torch.cuda.get_device_name()})", "use fp16")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _scheduler(name: str) -> Any:
    """The scheduler class of that name, or None for the model's own."""
    import diffusers

    if not name:
        return None
    found = getattr(diffusers, name, None)
    if not (isinstance(found, type) and issubclass(found, diffusers.SchedulerMixin)):
        near = get_close_matches(name, [one for one in dir(diffusers) if one.endswith("Scheduler")])
        raise SettingsError(f"scheduler={name!r} is no scheduler of diffusers",
                            f"did you mean {', '.join(near)}?" if near else "leave it empty for the model's own")
    return found


def _pipeline(folder: str, dtype: "torch.dtype", variant: str) -> Any:
    """The pipeline in the folder, on the CPU, without a word."""
    import diffusers
    import transformers
    from safetensors import SafetensorError

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    try:
        pipeline = diffusers.AutoPipelineForText2Image.from_pretrained(
            folder, dtype=dtype, variant=variant or None, use_safetensors=True, local_files_only=True)
    except ImportError as error:
        raise DataError(f"the pipeline in {folder!r} needs a missing package: {_line(error)}", "add it to the image") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise DataError(f"{folder!r} is no text-to-image pipeline of diffusers: {_line(error)}",
                        "name a folder with model_index.json and safetensors, as save_pretrained() writes it") from error
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]   # theirs run over many lines


def _channels_last(pipeline: Any) -> None:
    """Convolutions on tensor cores want NHWC; the numbers stay the same."""
    import torch

    for name in ("unet", "vae"):
        module = getattr(pipeline, name, None)
        if module is not None:
            module.to(memory_format=torch.channels_last)
