"""Pipelines of the published shapes with random weights, for measurements of speed: it does not depend on the weights.

The shapes are data, one JSON file each: sd15 and sdxl as their authors published them (stable-diffusion-v1-5,
stable-diffusion-xl-base-1.0), tiny-sd15 the first of them in small. Only the vocabulary is ours, of bytes alone: a prompt has 77
tokens anyhow. Real weights serve as well, where they are at hand (``--model FOLDER``).
"""

import json
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent
END = "</w>"   # CLIP's mark of a word's last letter
LENGTH = 77    # tokens of every prompt
TOKENIZERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}


def shape(name: str) -> dict[str, Any]:
    """The configurations of one pipeline: unet, vae, text_encoders, scheduler."""
    return json.loads((HOME / f"{name}.json").read_text())


def unet(of: dict[str, Any]) -> Any:
    import diffusers

    return diffusers.UNet2DConditionModel.from_config(of["unet"])


def vae(of: dict[str, Any]) -> Any:
    import diffusers

    return diffusers.AutoencoderKL.from_config(of["vae"])


def text_encoders(of: dict[str, Any], stop_token: int | None = None) -> dict[str, Any]:
    """By their names in the pipeline. ``stop_token``: where a prompt ends in our vocabulary."""
    import transformers

    ends = {} if stop_token is None else {"bos_token_id": stop_token - 1, "eos_token_id": stop_token, "pad_token_id": stop_token}
    made = {}
    for name, config in of["text_encoders"].items():
        config = dict(config, **ends)
        made[name] = getattr(transformers, config.pop("class"))(transformers.CLIPTextConfig(**config))
    return made


def tokenizer() -> Any:
    """CLIP's own kind, of single bytes."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer

    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(letter + END for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=LENGTH)


def save(name: str, folder: str, device: str, dtype: Any) -> str:
    """Write the pipeline of that shape, made on ``device``, as ``save_pretrained`` does, and return the folder."""
    import diffusers
    import torch
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    of, words = shape(name), tokenizer()
    torch.manual_seed(0)
    with torch.device(device):
        parts = {"unet": unet(of), "vae": vae(of), **text_encoders(of, words.eos_token_id)}
    scheduler = dict(of["scheduler"])
    parts["scheduler"] = getattr(diffusers, scheduler.pop("class")).from_config(scheduler)
    parts |= {TOKENIZERS[one]: words for one in of["text_encoders"]}
    if of["pipeline"] == "StableDiffusionPipeline":
        parts |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    getattr(diffusers, of["pipeline"])(**parts).to(dtype=dtype).save_pretrained(folder, safe_serialization=True)
    return folder
