"""What the model card says, measured on the shipped files as anyone would load them."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import nn
from transformers import CLIPModel, CLIPProcessor

from job.demo.agreement import judged
from job.demo.data import TEMPLATES
from job.real.digits import NAMES

STEPS, GUIDANCE, BATCH = 20, 2.0, 40           # the recommended options
OTHERS = ((12, 2.0), (20, 1.5), (20, 1.0))     # other steps and guidance, drawn for comparison


@dataclass(frozen=True, slots=True)
class Drawing:
    """What one choice of options drew. Shares are fractions, ``spread`` and ``nearest`` grey levels, times seconds."""

    steps: int
    guidance: float
    images: int
    by_class: tuple[float, ...]   # share of each digit's images whose label the judges confirm
    spread: float                 # mean standard deviation of a pixel within a class
    nearest: float                # median distance to the nearest real digit
    copies: float                 # share nearer to a real digit than 99 of 100 real digits are to another
    cpu_s: float                  # one thread's processor time: other work on the machine does not count

    @property
    def agreement(self) -> float:
        """Classes have equally many images, so this is the share over all of them."""
        return float(np.mean(self.by_class))


def drawing(
    pipeline: StableDiffusionPipeline,
    *,
    judges: list[nn.Module],
    real_NHWC: np.ndarray,
    per_class: int,
    seed: int,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> tuple[Drawing, np.ndarray, np.ndarray]:
    """Draw, judge, and compare with the digits that the generator learnt from. Also images and labels, as ``draw_all``."""
    drawn, labels_M, cpu_s = draw_all(pipeline, per_class=per_class, seed=seed, steps=steps, guidance=guidance)
    right = judged(judges, drawn) == labels_M
    distances = nearest(drawn, real_NHWC)
    result = Drawing(
        steps=steps,
        guidance=guidance,
        images=len(drawn),
        by_class=tuple(float(right[labels_M == one].mean()) for one in range(len(NAMES))),
        spread=spread(drawn, labels_M),
        nearest=float(np.median(distances)),
        copies=float((distances < np.quantile(nearest(real_NHWC, real_NHWC, itself=True), 0.01)).mean()),
        cpu_s=cpu_s,
    )
    print(f"drawn: {steps} steps, guidance {guidance}: {result.agreement:.1%} confirmed, {cpu_s:.0f} s", flush=True)
    return result, drawn, labels_M


def draw_all(
    pipeline: StableDiffusionPipeline, *, per_class: int, seed: int, steps: int, guidance: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Draw ``per_class`` images of each digit with rotating templates: uint8 (M, 32, 32, 3), labels (M,), seconds.

    On one thread, as a worker of the job has it; the seconds are that thread's.
    """
    labels_M = np.repeat(np.arange(len(NAMES)), per_class)
    prompts = [TEMPLATES[i % len(TEMPLATES)].format(name=NAMES[one]) for i, one in enumerate(labels_M)]
    pipeline.set_progress_bar_config(disable=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.process_time()
    drawn = []
    for lo in range(0, len(prompts), BATCH):
        generators = [torch.Generator().manual_seed(seed * 1_000_003 + i) for i in range(lo, min(lo + BATCH, len(prompts)))]
        images = pipeline(prompts[lo:lo + BATCH], num_inference_steps=steps, guidance_scale=guidance,
                          generator=generators, output_type="np").images
        drawn.append((images * 255).round().astype(np.uint8))
    seconds = time.process_time() - began
    torch.set_num_threads(threads)
    return np.concatenate(drawn), labels_M, seconds


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
