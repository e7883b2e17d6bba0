"""What the model card says, measured on the shipped files as anyone would load them."""

import time

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from transformers import CLIPModel, CLIPProcessor

from job.demo.data import TEMPLATES
from job.real.digits import NAMES

STEPS, GUIDANCE, BATCH = 20, 2.0, 40   # the recommended options
FEWER_STEPS = 12                      # drawn too, for comparison


def draw_all(
    pipeline: StableDiffusionPipeline, *, per_class: int, seed: int, steps: int = STEPS, guidance: float = GUIDANCE
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw ``per_class`` images of each digit with rotating templates: uint8 (M, 32, 32, 3), labels (M,), seconds."""
    labels_M = np.repeat(np.arange(len(NAMES)), per_class)
    prompts = [TEMPLATES[i % len(TEMPLATES)].format(name=NAMES[one]) for i, one in enumerate(labels_M)]
    pipeline.set_progress_bar_config(disable=True)
    began = time.perf_counter()
    drawn = []
    for lo in range(0, len(prompts), BATCH):
        generators = [torch.Generator().manual_seed(seed * 1_000_003 + i) for i in range(lo, min(lo + BATCH, len(prompts)))]
        images = pipeline(prompts[lo:lo + BATCH], num_inference_steps=steps, guidance_scale=guidance,
                          generator=generators, output_type="np").images
        drawn.append((images * 255).round().astype(np.uint8))
    return np.concatenate(drawn), labels_M, time.perf_counter() - began


@torch.no_grad()
def zero_shot(clip: CLIPModel, processor: CLIPProcessor, pixels_NHWC: np.ndarray) -> np.ndarray:
    """The digit whose caption "a photo of a <name>" CLIP finds nearest: (N,) int."""
    inputs = processor(text=[f"a photo of a {name}" for name in NAMES], images=list(pixels_NHWC), padding=True,
                       return_tensors="pt")
    return clip(**inputs).logits_per_image.argmax(dim=1).numpy()


def nearest(from_NHWC: np.ndarray, to_NHWC: np.ndarray, *, itself: bool = False) -> np.ndarray:
    """Root mean square distance in grey levels of each image to its nearest other: (N,).

    ``itself``: both are the same set, and an image is not its own neighbour.
    """
    a, b = (torch.from_numpy(x).float().flatten(1) for x in (from_NHWC, to_NHWC))
    distances = torch.cdist(a, b) / a.shape[1] ** 0.5
    if itself:
        distances.fill_diagonal_(float("inf"))
    return distances.min(dim=1).values.numpy()


def spread(pixels_NHWC: np.ndarray, labels_N: np.ndarray) -> float:
    """How much images of one class differ: the mean over classes of the standard deviation of a pixel, in grey levels."""
    return float(np.mean([pixels_NHWC[labels_N == one].astype(float).std(axis=0).mean() for one in range(len(NAMES))]))
