"""The lab's loop, written from its description: one training after the other, a ``DataLoader`` over decoded images, one net.

It is what a careful person writes first, and nothing in it is slow on purpose: images are decoded beforehand and lie in
memory, it judges once at the end of a training, and PyTorch takes as many threads as it likes.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

Images = tuple[np.ndarray, np.ndarray]   # uint8 (N, S, S, 3) and int64 (N,)


class Decoded(Dataset[tuple[torch.Tensor, int]]):
    """Decoded images and their labels, transformed one by one."""

    def __init__(self, images: Images, transform: Callable[[np.ndarray], torch.Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images[1])

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[0][row]), int(self.images[1][row])


def loops(
    sets: Mapping[float, Images], judged: Images, build: Callable[[], nn.Module], seeds: Sequence[int], *,
    samples: int, batch_size: int, learning_rate: float, workers: int, device: str = "cpu",
) -> dict[str, Any]:
    """Every α with every seed, each training on ``samples`` images: seconds in all, images seen in all, accuracy by α."""
    normalise = transforms.Normalize([0.5] * 3, [0.5] * 3)
    training = transforms.Compose([transforms.ToTensor(), transforms.RandomHorizontalFlip(), normalise])
    further: dict[str, Any] = {"num_workers": workers, "persistent_workers": workers > 0, "pin_memory": device == "cuda"}
    held_out = DataLoader(Decoded(judged, transforms.Compose([transforms.ToTensor(), normalise])), batch_size, **further)
    start, seen, accuracy = time.perf_counter(), 0, {}
    for alpha, images in sets.items():
        right = 0
        for seed in seeds:
            torch.manual_seed(seed)
            model = build().to(device)
            optimiser = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
            loader, left = DataLoader(Decoded(images, training), batch_size, shuffle=True, **further), samples
            model.train()
            while left:
                for inputs, targets in loader:
                    inputs, targets = inputs[:left].to(device, non_blocking=True), targets[:left].to(device, non_blocking=True)
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(model(inputs), targets).backward()
                    optimiser.step()
                    seen, left = seen + len(targets), left - len(targets)
                    if not left:
                        break
            model.eval()
            with torch.no_grad():
                right += sum(int((model(inputs.to(device)).argmax(1).cpu() == targets).sum()) for inputs, targets in held_out)
        accuracy[alpha] = right / len(seeds) / len(judged[1])
    return {"seconds": time.perf_counter() - start, "seen": seen, "accuracy": accuracy, "threads": torch.get_num_threads()}
