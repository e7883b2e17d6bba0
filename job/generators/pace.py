"""A tool of generators, no plug: what makes a diffusion pipeline fast on the device that it stands on.

Nothing in here changes what is computed, only the order in which numbers are added up: attention's kernel, the layout of
weights, the size of the batches in which latents become pixels, compilation. In fp32 on a CPU a picture moves by a grey level
at most, which is tested; by how much one of 16 bits moves on a GPU is not measured. Anchors stand in docs/generation.md.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from job.errors import SettingsError

if TYPE_CHECKING:
    import torch

HOPPER = 9                  # major number of its compute capability
DECODED_PX = 8 * 1024**2    # pixels of one call of the decoder: 8 images of 1,024 px, as the MLPerf records have it; not measured here
DENOISERS = ("unet", "transformer")
RECOMPILED = 64             # shapes of a block: SD-1.5's has four, twice that where guidance ends early, and again for halved batches


def attention_order(capability: tuple[int, int] | None) -> tuple[str, ...]:
    """Names of PyTorch's attention kernels in the order in which they are tried; empty for its own choice.

    cuDNN's is 1.7 to 2.3 times as fast as the default on Hopper, and slower on Ampere (0.82) and Blackwell (0.88):
    huggingface/transformers#48163. What it cannot do (a head of more than 128, a mask) the next one does.
    """
    if capability is None or capability[0] != HOPPER:
        return ()
    return "CUDNN_ATTENTION", "FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"


def attention(device: str) -> Callable[[], AbstractContextManager[Any]]:
    """What to draw inside. ``set_attention_backend`` of diffusers has no effect on a UNet, this has, and on transformers too."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    order = [getattr(SDPBackend, name) for name in attention_order(torch.cuda.get_device_capability() if device == "cuda" else None)]
    return (lambda: sdpa_kernel(order, set_priority=True)) if order else nullcontext


def channels_last(pipeline: Any) -> None:
    """Convolutions on tensor cores want NHWC; the numbers stay the same. Those of three dimensions (Qwen) have no such layout."""
    import torch

    for part in (getattr(pipeline, name, None) for name in ("unet", "vae")):
        for layer in part.modules() if part is not None else ():
            if isinstance(layer, torch.nn.Conv2d):
                layer.to(memory_format=torch.channels_last)


class Decoding:
    """``decode`` of an autoencoder, in batches of its own: it needs far more memory for an image than the denoiser does."""

    def __init__(self, decode: Callable[..., Any]) -> None:
        self._decode = decode
        self.most = 0   # latents at once; 0: all

    def __call__(self, latents: "torch.Tensor", *args: Any, return_dict: bool = True, generator: Any = None, **kwargs: Any) -> Any:
        """Batches of one size, the last one padded: one shape, one compilation."""
        import torch

        count = len(latents)
        own = {} if generator is None else {"generator": generator}
        if return_dict or not 0 < self.most < count:
            return self._decode(latents, *args, return_dict=return_dict, **own, **kwargs)
        size = -(-count // -(-count // self.most))   # as few batches as it takes, as even as can be
        padding = -count % size
        latents = torch.cat([latents, latents[:1].expand(padding, *latents.shape[1:])]) if padding else latents
        images = []
        for at in range(0, len(latents), size):
            if isinstance(generator, list):
                own = {"generator": [*generator, *generator[:1] * padding][at : at + size]}
            images.append(self._decode(latents[at : at + size], *args, return_dict=False, **own, **kwargs)[0])
        return (torch.cat(images)[:count],)


def decode_batch(asked: int | str, size_px: int) -> int:
    """Images that are decoded at once: as many as asked for, or as make ``DECODED_PX`` together."""
    return int(asked) if asked != "auto" else max(1, DECODED_PX // size_px**2)


def compiled(pipeline: Any, how: str) -> None:
    """Have PyTorch compile the denoiser when it is first called, and again for each shape, of which there is one per batch size.

    ``whole``: the denoiser, and the decoder. More than half of a UNet's work is outside the blocks that repeat.
    ``regional``: the repeated blocks, which takes an eighth of the time where they are all there is, as in transformers.

    Raises ``SettingsError`` where the model has no such blocks.
    """
    modules = [module for name in DENOISERS if (module := getattr(pipeline, name, None)) is not None]
    if how == "regional":
        for module in modules:
            try:
                module.compile_repeated_blocks(dynamic=False)
            except ValueError:   # there is no such block in it
                raise SettingsError(f"{type(module).__name__} has no repeated blocks to compile", "use compile=whole") from None
    if how == "whole":
        decoder = getattr(getattr(pipeline, "vae", None), "decoder", None)
        for module in [*modules, *([decoder] if decoder is not None else [])]:
            module.compile(dynamic=False)


@contextmanager
def told(how: str) -> Iterator[None]:
    """What a compilation raises, in words. Raises ``SettingsError``: no sample is to blame."""
    if how == "none":
        yield
        return
    import torch

    try:
        # At the call, for a thread does not see what another one set: blocks of several shapes pass the usual 8, and would draw uncompiled.
        with torch._dynamo.config.patch(recompile_limit=RECOMPILED):
            yield
    except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
        if "out of memory" in str(error):   # of the kernels that it tried
            raise torch.OutOfMemoryError("CUDA out of memory while compiling") from error
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise SettingsError(f"compile={how}, and the model cannot be compiled here ({said})",
                            "set it to none, or give the machine a C++ compiler, which PyTorch calls") from error
