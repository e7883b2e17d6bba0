"""The three training loops, plain. Each takes the world's digits, trains in place, and returns its final losses."""

import copy
import math

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from torch import nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTextModel, CLIPTokenizer

from job.demo.data import caption, caption_or_nothing, jitter

BATCH = 64
KL_WEIGHT = 1e-4    # per latent number, against a reconstruction error per pixel: only keeps the latents near the origin
EMA_DECAY = 0.998


def schedule(step: int, steps: int) -> float:
    """Share of the peak learning rate: a warm-up over the first twentieth, then half a cosine down to zero."""
    warm = max(1, steps // 20)
    return (step + 1) / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _learner(parameters: list[nn.Parameter], peak: float, steps: int, decay: float = 0.0):
    optimiser = torch.optim.AdamW(parameters, lr=peak, weight_decay=decay)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: schedule(step, steps))


def _tell(name: str, step: int, steps: int, losses: list[float]) -> None:
    if (step + 1) % max(1, steps // 20) == 0:
        print(f"{name}: step {step + 1} of {steps}, loss {late(losses):.4f}", flush=True)


def late(losses: list[float]) -> float:
    """Mean over the last tenth of the steps: one batch says little."""
    return float(np.mean(losses[-max(1, len(losses) // 10):]))


def fit_vae(vae: AutoencoderKL, images_NCHW: torch.Tensor, *, steps: int, seed: int) -> float:
    """Squared error and a whisper of KL; then sets the scaling factor to 1/std of the latents. Returns the late loss."""
    torch.manual_seed(seed)
    optimiser, pace = _learner(list(vae.parameters()), 2e-3, steps)
    losses: list[float] = []
    vae.train()
    for step in range(steps):
        batch = images_NCHW[torch.randint(len(images_NCHW), (BATCH,))]
        posterior = vae.encode(batch).latent_dist
        drawn = vae.decode(posterior.sample()).sample
        loss = functional.mse_loss(drawn, batch) + KL_WEIGHT * posterior.kl().mean() / posterior.mean[0].numel()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimiser.step()
        pace.step()
        losses.append(loss.item())
        _tell("vae", step, steps, losses)
    vae.eval()
    with torch.no_grad():
        latents = vae.encode(images_NCHW).latent_dist.sample()
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))   # the UNet then sees unit variance
    return late(losses)


def fit_unet(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    *,
    vae: AutoencoderKL,
    scheduler: DDIMScheduler,
    tokenizer: CLIPTokenizer,
    images_NCHW: torch.Tensor,
    labels_N: torch.Tensor,
    steps: int,
    seed: int,
) -> float:
    """Predict the noise in the latents from noisy latents and captions. Leaves the running mean of the weights."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    with torch.no_grad():
        posterior = vae.encode(images_NCHW).latent_dist
    both = nn.ModuleList([unet, text_encoder]).train()
    mean = copy.deepcopy(both)
    optimiser, pace = _learner(list(both.parameters()), 2e-3, steps)
    losses: list[float] = []
    for step in range(steps):
        rows = torch.randint(len(images_NCHW), (BATCH,))
        clean = posterior.mean[rows] + posterior.std[rows] * torch.randn_like(posterior.mean[rows])
        clean = clean * vae.config.scaling_factor
        noise = torch.randn_like(clean)
        times = torch.randint(scheduler.config.num_train_timesteps, (BATCH,))
        words = [caption_or_nothing(label, rng) for label in labels_N[rows].tolist()]
        tokens = tokenizer(words, padding="max_length", truncation=True, return_tensors="pt").input_ids
        context = text_encoder(tokens).last_hidden_state
        guess = unet(scheduler.add_noise(clean, noise, times), times, encoder_hidden_states=context).sample
        loss = functional.mse_loss(guess, noise)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.0)
        optimiser.step()
        pace.step()
        _follow(mean, both, step)
        losses.append(loss.item())
        _tell("unet", step, steps, losses)
    both.load_state_dict(mean.state_dict())
    both.eval()
    return late(losses)


@torch.no_grad()
def _follow(mean: nn.Module, model: nn.Module, step: int) -> None:
    """Move the running mean towards the model; young means move fast, or the first random weights would linger."""
    keep = min(EMA_DECAY, (1 + step) / (10 + step))
    torch._foreach_lerp_(list(mean.parameters()), list(model.parameters()), 1 - keep)


def fit_clip(
    clip: CLIPModel, *, tokenizer: CLIPTokenizer, images_NCHW: torch.Tensor, labels_N: torch.Tensor, steps: int, seed: int
) -> float:
    """Contrast of pictures and captions. Every caption of the same digit in the batch is right, not only its own."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimiser, pace = _learner(list(clip.parameters()), 1e-3, steps, decay=0.05)
    losses: list[float] = []
    clip.train()
    for step in range(steps):
        rows = torch.randint(len(images_NCHW), (BATCH,))
        labels = labels_N[rows]
        tokens = tokenizer([caption(label, rng) for label in labels.tolist()], padding=True, truncation=True,
                           return_tensors="pt")
        out = clip(pixel_values=jitter(images_NCHW[rows]), **tokens)
        same = (labels[:, None] == labels[None, :]).float()
        wanted = same / same.sum(dim=1, keepdim=True)
        loss = (functional.cross_entropy(out.logits_per_image, wanted)
                + functional.cross_entropy(out.logits_per_text, wanted)) / 2
        # the least that the loss can be is the entropy of the wanted shares; shown above it, zero is perfect
        excess = loss + (wanted * wanted.clamp_min(1e-9).log()).sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(clip.parameters(), 1.0)
        optimiser.step()
        pace.step()
        with torch.no_grad():
            clip.logit_scale.clamp_(max=math.log(100))   # as CLIP does
        losses.append(excess.item())
        _tell("clip", step, steps, losses)
    clip.eval()
    return late(losses)
