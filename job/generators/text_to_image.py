"""Any text-to-image pipeline that diffusers knows: SD-1.5, SDXL, SD-Turbo, SD3, FLUX, Sana, and the demo's own.

The label is the prompt's class. Each sample's noise comes from a generator of its own on the CPU, seeded by the spec,
so it depends neither on the batch nor on the device. Weights are local safetensors; no code of a model's author runs.
What changes pictures is an option with a name and part of the recipe: ``pipelines`` does it. What only makes the device
faster is none: ``pace`` and ``prompts`` do that. Recipes of options for known models stand in docs/generation.md.
"""

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from job.errors import DataError, SettingsError, redact
from job.generators import pace, pipelines
from job.generators.prompts import Prompts
from job.ground.lineage import canonical
from job.ground.model_parts import joined_licence
from job.ground.pixels import NOT_FINITE
from job.ground.weights import ancestry_of
from job.records import Failure, Origin, Sample, SampleSpec

if TYPE_CHECKING:
    import torch

NOT_IDENTITY = {"identity": False}
ARGUMENTS = {"steps": "num_inference_steps", "guidance": "guidance_scale"}   # what a pipeline calls them, if it knows them
IF_SET = {"identity": "if set"}   # a recipe holds no word of it where it is off: pictures drawn before there was such an option stay valid


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
        timestep_spacing: Annotated[
            Literal["own", "leading", "linspace", "trailing"],
            Field(description="how the scheduler spreads its steps; trailing for SDXL-Lightning; own: as the model's settings say",
                  json_schema_extra=IF_SET),
        ] = "own"
        dtype: Annotated[
            Literal["fp32", "bf16", "fp16"],
            Field(description="number format on the device; bf16 needs an Ampere GPU or later, fp16 any GPU"),
        ] = "fp32"
        guidance_share: Annotated[
            float,
            Field(gt=0, le=1, description="share of the steps that are guided, the first ones; the others cost half (SD, SDXL)",
                  json_schema_extra=IF_SET),
        ] = 1.0
        vae: Annotated[
            str,
            Field(description="another autoencoder for the same latents, such as a tiny one: a folder, bucket prefix or hub id (of a "
                  "revision: org/name@revision); empty: the model's own (the digest of its weights is identity)",
                  json_schema_extra=NOT_IDENTITY),
        ] = ""
        cache_interval: Annotated[
            int,
            Field(ge=1, le=20, description="of so many steps, from the fifth on, one computes a transformer's attention, and the others "
                  "extrapolate it (TaylorSeer); 1: every step does; FLUX.1, FLUX.2 klein, Qwen-Image, Ovis", json_schema_extra=IF_SET),
        ] = 1
        linears: Annotated[
            Literal["full", "fp8"],
            Field(description="fp8 has large linear layers in 8-bit floats, by torchao on Ada or Hopper GPUs and later; full: as dtype "
                  "says", json_schema_extra=IF_SET),
        ] = "full"
        decode_batch: Annotated[
            Literal["auto"] | Annotated[int, Field(ge=1)],
            Field(description="images that the autoencoder decodes at once; auto: 8 of 1024 px, 32 of 512", json_schema_extra=NOT_IDENTITY),
        ] = "auto"
        compile: Annotated[
            Literal["none", "whole", "regional"],
            Field(description="what PyTorch compiles, once per process: the whole denoiser and decoder (UNets), or the repeated blocks "
                  "alone (transformers); pays on a GPU", json_schema_extra=NOT_IDENTITY),
        ] = "none"
        compile_cache: Annotated[
            bool,
            Field(description="keep what was compiled below the run's own root, so that later pods start warm; it is code that they "
                  "run, so false where others can write there", json_schema_extra=NOT_IDENTITY),
        ] = True

    def __init__(self, options: BaseModel) -> None:
        self.options = self.Options.model_validate(options)

    def location(self) -> str:
        return self.options.model

    def revision(self) -> str:
        return self.options.revision

    def parts(self) -> Mapping[str, str]:
        """Further models beside the one at ``location``, by what ``load`` calls them; their digests are part of the recipe."""
        return {"vae": self.options.vae} if self.options.vae else {}

    def load(self, folder: str, digest: str, device: str, vae: str = "") -> Origin:
        """Load the pipeline from a local folder onto ``cpu`` or ``cuda``.

        Raises ``DataError`` for a folder that is no such pipeline, or a number format that the device lacks, and
        ``SettingsError`` for an unknown scheduler or an option that this pipeline cannot take.
        """
        licence, depth, ancestry = ancestry_of(folder, digest)
        if vae:
            licence = joined_licence(licence, ancestry_of(vae, "")[0])
        dtype = pipelines.dtype(self.options.dtype, device)
        scheduler = pipelines.scheduler(self.options.scheduler)
        self._pipeline, self._device = pipelines.load(folder, dtype, self.options.variant, vae), device
        spacing = self.options.timestep_spacing.removeprefix("own")
        if scheduler or spacing:
            pipelines.use_scheduler(self._pipeline, scheduler, spacing)
        self._arguments = self._call_arguments()
        self._pipeline.to(device)
        self._vae_dtype, self._aborted = getattr(getattr(self._pipeline, "vae", None), "dtype", None), False
        self._make_fast()
        name = Path(folder).name   # that of a snapshot of the hub is its commit
        commit = name if re.fullmatch(r"[0-9a-f]{40}", name) else self.options.revision
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
        if self._decoding:
            self._decoding.most = pace.decode_batch(self.options.decode_batch, size_px)
        if self._aborted:   # SDXL in fp16 decodes in fp32, and turns its autoencoder back only at the end of a good call
            self._pipeline.vae.to(dtype=self._vae_dtype)
            self._aborted = False
        try:
            with self._attention(), pace.told(self.options.compile):
                output = self._pipeline(**arguments)
        except BaseException:
            self._aborted = self._vae_dtype is not None
            self._pipeline.maybe_free_model_hooks()   # as at the end of a good call: else the next one extrapolates from this one's steps
            raise
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
            reason = "blanked by the safety checker" if is_blanked else "" if is_finite else NOT_FINITE
            # A copy: a view would keep the whole batch in memory as long as one image of it is kept.
            results.append(Failure(spec, reason) if reason else Sample(spec, pixels_HWC.copy()))
        return results

    def _call_arguments(self) -> dict[str, Any]:
        """What every call of this pipeline is given. Pipelines differ in what they accept."""
        known = inspect.signature(self._pipeline.__call__).parameters
        # With true_cfg_scale (FLUX, Qwen) a negative prompt has no effect unless guidance is done twice.
        if self.options.negative_prompt and ("negative_prompt" not in known or "true_cfg_scale" in known):
            raise SettingsError(f"{type(self._pipeline).__name__} makes no use of negative_prompt", "leave it empty")
        if self.options.negative_prompt and pipelines.distilled_guidance(self._pipeline):
            raise SettingsError("this model has guidance built in (it is a latent consistency model) and makes no use of negative_prompt",
                                "leave it empty")
        for option, name in ARGUMENTS.items():
            value = getattr(self.options, option)
            if name not in known and value != self.Options.model_fields[option].default:
                raise SettingsError(f"{option}={value:g}, and {type(self._pipeline).__name__} makes no use of it", "leave it out")
        wanted = {
            "num_inference_steps": self.options.steps,
            "guidance_scale": self.options.guidance,
            "output_type": "pt",
            "clean_caption": False,   # would rewrite the prompt with libraries that may be missing
        }
        if self.options.guidance_share < 1:
            end = pipelines.guided_for(self._pipeline, self.options.guidance_share, self.options.guidance)
            wanted |= {"callback_on_step_end": end,
                       "callback_on_step_end_tensor_inputs": list(pipelines.HALVES[type(self._pipeline).__name__])}
        return {name: value for name, value in wanted.items() if name in known}

    def _make_fast(self) -> None:
        """The pipeline stands on its device: what is to be done once, in the order in which it has to be."""
        pipeline, chosen = self._pipeline, self.options
        if hasattr(pipeline, "encode_prompt"):
            pipeline.encode_prompt = Prompts(pipeline.encode_prompt)
        self._decoding = None
        if hasattr(getattr(pipeline, "vae", None), "decode"):
            self._decoding = pipeline.vae.decode = pace.Decoding(pipeline.vae.decode)
        if self._device == "cuda":
            pace.channels_last(pipeline)
        if chosen.linears == "fp8":
            pipelines.fp8(pipeline, self._device, chosen.dtype)
        if chosen.cache_interval > 1:
            pipelines.cache(pipeline, chosen.cache_interval, chosen.steps)
        pace.compiled(pipeline, chosen.compile)
        self._attention = pace.attention(self._device)

    def compiled_for(self, batch_size: int, size_px: int) -> str:
        """What compiled code of this process is good for, for ``job.compiled``; empty where none is made, or none is to be kept."""
        import diffusers
        import torch

        if self.options.compile == "none" or not self.options.compile_cache:
            return ""
        gpu = [torch.cuda.get_device_name(), *torch.cuda.get_device_capability()] if self._device == "cuda" else ["cpu"]
        return canonical([self.options.model_dump(mode="json", include={"compile", "decode_batch", "dtype", "linears"}),
                          torch.__version__, diffusers.__version__, gpu, batch_size, size_px])
