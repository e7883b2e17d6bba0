"""Pipelines of a few thousand random weights that draw 32 px: the genuine classes, and no meaning."""

from typing import Any

import numpy as np

END = "</w>"   # CLIP's mark of a word's last letter
LETTERS = [chr(97 + number) for number in range(26)]


def far(one: np.ndarray, other: np.ndarray) -> int:
    """Grey levels by which two pictures differ at most."""
    return int(np.abs(one.astype(int) - other).max())


def save(folder: str) -> str:
    """Write a Stable Diffusion pipeline as ``save_pretrained`` does, always with the same weights, and return the folder."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel

    tokenizer = _tokenizer()
    one_thread()
    torch.manual_seed(0)
    text_encoder = _clip(CLIPTextModel, tokenizer)
    vae = _autoencoder(8, 8, 16)
    unet = UNet2DConditionModel(
        sample_size=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), layers_per_block=1, norm_num_groups=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), block_out_channels=(8, 16), attention_head_dim=2,
        cross_attention_dim=16,
    )
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False,
                              set_alpha_to_one=False, steps_offset=1)
    StableDiffusionPipeline(
        vae=vae, unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def save_sdxl(folder: str) -> str:
    """Likewise a Stable Diffusion XL pipeline, with the scheduler of SDXL's base model."""
    import torch
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    tokenizer = _tokenizer()
    one_thread()
    torch.manual_seed(0)
    first, second = _clip(CLIPTextModel, tokenizer), _clip(CLIPTextModelWithProjection, tokenizer)
    unet = UNet2DConditionModel(
        sample_size=8, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), layers_per_block=1, norm_num_groups=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), block_out_channels=(8, 16), attention_head_dim=2,
        cross_attention_dim=32, use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=16 + 6 * 8,
    )
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
                                       timestep_spacing="leading", steps_offset=1)
    StableDiffusionXLPipeline(
        vae=_autoencoder(8, 8, 16), unet=unet, text_encoder=first, text_encoder_2=second, tokenizer=tokenizer, tokenizer_2=tokenizer,
        scheduler=scheduler,
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def save_flux(folder: str) -> str:
    """Likewise a FLUX pipeline, whose denoiser is a transformer."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextModel, T5Config, T5EncoderModel, T5Tokenizer

    tokenizer = _tokenizer()
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -1.0), *((letter, -2.0) for letter in LETTERS)]
    one_thread()
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        pooled_projection_dim=16, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )
    for name, weight in transformer.named_parameters():
        if "attn" in name and weight.dim() == 2:
            weight.data *= 4   # so that a picture shows what attention was given
    words = T5EncoderModel(T5Config(vocab_size=len(pieces), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    FluxPipeline(
        vae=_autoencoder(8, 8, shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False), transformer=transformer,
        text_encoder=_clip(CLIPTextModel, tokenizer), tokenizer=tokenizer,
        text_encoder_2=words, tokenizer_2=T5Tokenizer(vocab=pieces, extra_ids=0), scheduler=FlowMatchEulerDiscreteScheduler(),
    ).save_pretrained(folder, safe_serialization=True)
    return folder


def one_thread() -> None:
    """Two threads on two busy cores wait for each other: 4.5 s instead of 0.05 s for six pictures."""
    import torch

    torch.set_num_threads(1)


def _tokenizer() -> Any:
    from transformers import CLIPTokenizer

    tokens = [*LETTERS, *(letter + END for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(vocab={token: number for number, token in enumerate(tokens)}, merges=[], model_max_length=24)


def _clip(kind: Any, tokenizer: Any) -> Any:
    from transformers import CLIPTextConfig

    return kind(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, projection_dim=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=24, bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    ))


def _autoencoder(*channels: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels), up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels, layers_per_block=1, norm_num_groups=4, sample_size=32, **more,
    )
