"""An independent judge of the drawn labels: small networks trained on the job's 80 real train digits only.

The judge never trains on the world (the generator's own digits), nor on validation or test digits. What it says of the
real world digits is the yardstick for what it says of drawn ones.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from job.demo.data import jitter
from job.real.digits import NAMES, cut, draw, label

JUDGES = 5       # they vote by mean probability
SEE_PX = 16      # a digit has 8×8 pixels: more than this is only time


def _shrunk(pixels_NHWC: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) to float (N, 1, 16, 16) in [-1, 1]."""
    grey_N1HW = torch.from_numpy(pixels_NHWC).float().mean(dim=3)[:, None] / 127.5 - 1
    return functional.interpolate(grey_N1HW, size=(SEE_PX, SEE_PX), mode="bilinear", antialias=True)


def _network() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1), nn.BatchNorm2d(48), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(48, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Dropout(0.3), nn.Linear(256, len(NAMES)),
    )


def train_judges(*, steps: int, seed: int) -> list[nn.Module]:
    """Networks that differ by their seed, each trained on the 80 train digits with small turns and moves."""
    rows = [int(row) for row in cut()["train"]]
    images = _shrunk(np.stack([draw(row) for row in rows]))
    labels = torch.tensor([label(row) for row in rows])
    judges = []
    for number in range(JUDGES):
        torch.manual_seed(seed + number)
        judge = _network().train()
        optimiser = torch.optim.AdamW(judge.parameters(), lr=2e-3, weight_decay=0.01)
        for _ in range(steps):
            batch = torch.randint(len(rows), (64,))
            loss = functional.cross_entropy(judge(jitter(images[batch])), labels[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        judges.append(judge.eval())
        print(f"judge {number + 1} of {JUDGES}: loss {loss.item():.4f}", flush=True)
    return judges


@torch.no_grad()
def judged(judges: list[nn.Module], pixels_NHWC: np.ndarray) -> np.ndarray:
    """The digit that the judges see in each image: (N,) int."""
    images = _shrunk(pixels_NHWC)
    return sum(judge(images).softmax(dim=1) for judge in judges).argmax(dim=1).numpy()
