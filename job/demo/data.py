"""What the tiny models learn from: the world's digits and captions for them. No other digit is read here."""

import numpy as np
import torch
from torch.nn import functional

from job.real.digits import NAMES, cut, draw, label

TEMPLATES = (
    "a photo of a {name}",
    "a photo of the number {name}",
    "a photo of the digit {name}",
    "a photo of a handwritten {name}",
    "a handwritten {name}",
    "the handwritten digit {name}",
    "the digit {name}",
    "the number {name}",
    "a picture of a {name}",
    "a picture of the digit {name}",
    "an image of a {name}",
    "an image of the handwritten number {name}",
    "a drawing of a {name}",
    "a drawing of the number {name}",
    "{name}",
)
EMPTY_SHARE = 0.1      # captions left out, so that the UNet also knows the picture without words: guidance needs it
STRANGE_SHARE = 0.15   # captions with a word that means nothing, so that a prompt of strange words does no harm
HELD_OUT_PER_CLASS = 10


def world() -> tuple[torch.Tensor, torch.Tensor]:
    """The world's digits: images (900, 3, 32, 32) float in [-1, 1], labels (900,) int64."""
    rows = [int(row) for row in cut()["world"]]
    pixels_NHWC = np.stack([draw(row) for row in rows])
    images_NCHW = torch.from_numpy(pixels_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images_NCHW.contiguous(), torch.tensor([label(row) for row in rows])


def held_out(labels_N: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Mask (N,) of the world's digits that CLIP is not trained on but measured on: ten of each class."""
    mask_N = torch.zeros(len(labels_N), dtype=torch.bool)
    for one in range(len(NAMES)):
        rows = rng.permutation(np.flatnonzero(labels_N.numpy() == one))
        mask_N[rows[:HELD_OUT_PER_CLASS]] = True
    return mask_N


def caption(label: int, rng: np.random.Generator) -> str:
    """Words for one digit: a template, at times its numeral instead of its name, at times a strange word before it."""
    name = NAMES[label] if rng.random() > 0.1 else str(label)
    if rng.random() < STRANGE_SHARE:
        strange = "".join(chr(97 + letter) for letter in rng.integers(0, 26, rng.integers(2, 8)))
        name = f"{strange} {name}"
    return TEMPLATES[rng.integers(len(TEMPLATES))].format(name=name)


def caption_or_nothing(label: int, rng: np.random.Generator) -> str:
    """As ``caption``, but empty for one digit in ten."""
    return "" if rng.random() < EMPTY_SHARE else caption(label, rng)


def jitter(images_NCHW: torch.Tensor) -> torch.Tensor:
    """The same digits, each turned up to 10°, moved up to 2 px and scaled up to 10 %, with a little noise.

    Scarce digits would otherwise be learnt by heart. Uses torch's global random state.
    """
    n = len(images_NCHW)
    angle, scale = (torch.rand(n) - 0.5) * 0.35, 1 + (torch.rand(n) - 0.5) * 0.2
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], dim=1).view(n, 2, 2) * scale.view(n, 1, 1)
    move = (torch.rand(n, 2, 1) - 0.5) * (8 / images_NCHW.shape[-1])
    grid = functional.affine_grid(torch.cat([turn, move], dim=2), list(images_NCHW.shape), align_corners=False)
    moved = functional.grid_sample(images_NCHW + 1, grid, align_corners=False) - 1   # black, not grey, flows in
    return moved + 0.05 * torch.randn_like(moved)
