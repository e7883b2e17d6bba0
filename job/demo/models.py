"""The tiny models, untrained. Every class is the class of a full-size model; only the widths are small."""

from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import (
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from job.real.digits import SIZE_PX

TEXT_WIDTH = 64


def build_vae() -> AutoencoderKL:
    """32×32 RGB to and from 8×8×4 latents. The scaling factor is set after training."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(16, 32, 32),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE_PX,
    )


def build_unet() -> UNet2DConditionModel:
    """8×8×4 latents, two levels; the words come in at the lower one and in the middle."""
    return UNet2DConditionModel(
        sample_size=SIZE_PX // 4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(48, 64),
        layers_per_block=1,
        norm_num_groups=16,
        attention_head_dim=4,   # the number of heads: diffusers kept the wrong name
        cross_attention_dim=TEXT_WIDTH,
    )


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule; trailing steps begin at pure noise however few they are."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )


def text_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    """Two layers, 64 wide, for this vocabulary."""
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """The pipeline's reader of prompts, trained together with the UNet."""
    return CLIPTextModel(text_config(tokenizer))


def build_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A two-tower CLIP: the same text tower, and a vision transformer of three layers over 8×8 patches of 4 px."""
    vision = CLIPVisionConfig(
        hidden_size=64,
        intermediate_size=256,
        projection_dim=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIZE_PX,
        patch_size=4,
    )
    return CLIPModel(CLIPConfig(text_config=text_config(tokenizer), vision_config=vision, projection_dim=64))


def build_processor(tokenizer: CLIPTokenizer) -> CLIPProcessor:
    """Any RGB picture to 32×32 in [-1, 1]; any text to token ids."""
    images = CLIPImageProcessor(
        size={"shortest_edge": SIZE_PX},
        crop_size={"height": SIZE_PX, "width": SIZE_PX},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )
    return CLIPProcessor(image_processor=images, tokenizer=tokenizer)


def build_pipeline(
    *,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
) -> StableDiffusionPipeline:
    """The trained parts, put together. No safety checker: it can draw nothing but digits."""
    return StableDiffusionPipeline(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
