"""HOT tool. One training and its judgement: plain torch, no Ray, no α, no classes.

Equal samples seen and constant batches, whatever the size of the training set: the data are shuffled anew each time
they are used up, and batches run across that border. With equal epochs instead, exact copies of the real images
"gain" 27 points from nothing (docs/log.md).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from job.errors import JobError, SettingsError
from job.tasks import Task

if TYPE_CHECKING:
    import torch

from job.runplan import Schedule

JUDGE_BATCH = 512


@dataclass(frozen=True, slots=True)
class Fitted:
    """``correct_N``: uint8. ``loss``: mean over the last tenth of the steps; ``late_gain``: its fall over the tenth before.

    ``first_loss``: mean over the first tenth, without which a loss at chance level looks as flat as a converged one.
    ``samples_seen``: images that all steps together took.
    """

    correct_N: np.ndarray
    first_loss: float
    loss: float
    late_gain: float
    samples_seen: int


@dataclass(frozen=True, slots=True)
class Shares:
    """What groups of rows get where their numbers do not say it: a share of the draws, or with ``in_loss`` of the loss.

    ``group_N``: int64, the group of every row. ``share_G``: float, sums to 1.
    """

    group_N: np.ndarray
    share_G: np.ndarray
    in_loss: bool

    def weights(self) -> np.ndarray:
        """float32 (N,): with these the mean loss over rows that are drawn alike counts every group by its share."""
        size_G = np.bincount(self.group_N, minlength=len(self.share_G)) / len(self.group_N)
        return (self.share_G / np.maximum(size_G, 1e-12))[self.group_N].astype(np.float32)


def steps_over(n: int, schedule: Schedule) -> int:
    """Optimiser steps of a training on n images: the same for every n, unless epochs are asked for."""
    return schedule.steps if schedule.epochs is None else math.ceil(schedule.epochs * n / schedule.batch_size)


def order(n: int, schedule: Schedule, seed: int) -> np.ndarray:
    """Row numbers of every step, int64 (steps, batch): permutations of all n rows, one after another."""
    steps = steps_over(n, schedule)
    return _endless(np.arange(n), steps * schedule.batch_size, np.random.default_rng(seed)).reshape(steps, schedule.batch_size)


def order_by_share(shares: Shares, schedule: Schedule, seed: int) -> np.ndarray:
    """Row numbers of every step, int64 (steps, batch): each group has its share of all draws, by largest remainder.

    Each group's rows come in permutations, one after another. Raises ``JobError`` for a group of a share without a row.
    """
    rng, steps = np.random.default_rng(seed), steps_over(len(shares.group_N), schedule)
    total = steps * schedule.batch_size
    exact = shares.share_G * total
    draws = np.floor(exact + 1e-9).astype(int)
    draws[np.argsort(draws - exact, kind="stable")[: total - draws.sum()]] += 1
    rows = []
    for group, count in enumerate(draws):
        there = np.flatnonzero(shares.group_N == group)
        if count and not len(there):
            raise JobError(f"group {group} is to get {count} draws, and no image is of it")
        rows.append(_endless(there, int(count), rng))
    return rng.permutation(np.concatenate(rows)).reshape(steps, schedule.batch_size)


def _endless(rows: np.ndarray, total: int, rng: np.random.Generator) -> np.ndarray:
    """``total`` of the rows: permutations of all of them, one after another."""
    rounds: Iterator[np.ndarray] = (rng.permutation(rows) for _ in range(-(-total // max(1, len(rows)))))
    return np.concatenate([np.zeros(0, np.int64), *rounds])[:total]


def drawn_rows(n: int, schedule: Schedule, seed: int, shares: Shares | None) -> np.ndarray:
    """Row numbers of every step of a training, int64 (steps, batch), whichever way its images come."""
    return order_by_share(shares, schedule, seed) if shares and not shares.in_loss else order(n, schedule, seed)


def fresh(task: Task, seed: int, device: str) -> "torch.nn.Module":
    """The model that ``seed`` begins with, ready to be trained."""
    import torch

    torch.manual_seed(seed)
    return task.build().to(device, memory_format=torch.channels_last).train()   # a third faster on a CPU, pooling most of all


class Compiled:
    """A model that is compiled once: every seed lays its own first weights into it.

    ``forward`` is what is compiled; ``model`` holds the same weights and judges as it is, which needs no second compilation.
    """

    def __init__(self, task: Task, device: str) -> None:
        import torch

        self.model = fresh(task, 0, device)
        self._compiled = torch.compile(self.model, dynamic=False)

    def begin(self, model: "torch.nn.Module") -> "torch.nn.Module":
        """The compiled model with the weights and buffers of this one."""
        self.model.load_state_dict(model.state_dict())
        return self.model.train()

    def forward(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """Raises ``SettingsError`` where it cannot be compiled."""
        import torch

        try:
            return self._compiled(inputs)
        except (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError) as error:
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise SettingsError(f"SALTWORKS_TRAIN__COMPILE=true, and the model cannot be compiled here ({said})",
                                "set it to false, or give the machine a C++ compiler, which PyTorch calls") from error


def fit(
    task: Task, schedule: Schedule, seed: int, device: str, *,
    images_NHWC: "torch.Tensor", targets_N: "torch.Tensor", judged_MHWC: "torch.Tensor", judged_targets_M: "torch.Tensor",
    shares: Shares | None = None, compiled: Compiled | None = None,
) -> Fitted:
    """Train one model from ``seed`` and say which judged images it gets right. All tensors are on ``device``."""
    import torch

    mixed = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=schedule.precision == "bf16")

    model = fresh(task, seed, device)
    forward: Callable[[torch.Tensor], torch.Tensor] = model
    if compiled:
        model, forward = compiled.begin(model), compiled.forward
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    noise = torch.Generator(device).manual_seed(seed)
    weights_N = torch.from_numpy(shares.weights()).to(device) if shares and shares.in_loss else None
    rows_SB = torch.from_numpy(drawn_rows(len(images_NHWC), schedule, seed, shares)).to(device)
    losses = torch.zeros(len(rows_SB), device=device)
    for step, rows in enumerate(rows_SB):
        inputs = task.augment(task.inputs(images_NHWC[rows]), noise)
        with mixed:
            loss = task.loss(forward(inputs), targets_N[rows], None if weights_N is None else weights_N[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses[step] = loss.detach()   # no step waits for the device
    with mixed:
        correct = judge(task, model, judged_MHWC, judged_targets_M)
    return fitted(correct, losses, rows_SB.numel())


def fitted(correct_N: np.ndarray, losses: "torch.Tensor", samples_seen: int) -> Fitted:
    """What a training left behind; ``losses``: float (steps,)."""
    tenth = max(1, len(losses) // 10)
    first, last = float(losses[:tenth].mean()), float(losses[-tenth:].mean())
    before = float(losses[-2 * tenth : -tenth].mean())
    return Fitted(correct_N, first, last, (before - last) / before if before > 0 else 0.0, samples_seen)


def judge(task: Task, model: "torch.nn.Module", images_MHWC: "torch.Tensor", targets_M: "torch.Tensor") -> np.ndarray:
    """uint8 (M,): which images the model gets right."""
    import torch

    model.eval()
    right = []
    with torch.inference_mode():
        for at in range(0, len(images_MHWC), JUDGE_BATCH):
            outputs = model(task.inputs(images_MHWC[at : at + JUDGE_BATCH]))
            right.append(task.correct(outputs, targets_M[at : at + JUDGE_BATCH]))
    return torch.cat(right).cpu().numpy()
