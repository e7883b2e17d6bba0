"""HOT tool. One training and its judgement: plain torch, no Ray, no α, no classes.

Equal samples seen and constant batches, whatever the size of the training set: the data are shuffled anew each time
they are used up, and batches run across that border. With equal epochs instead, exact copies of the real images
"gain" 27 points from nothing (docs/log.md).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from job.tasks import Task

if TYPE_CHECKING:
    import torch

from job.runplan import Schedule

JUDGE_BATCH = 512


@dataclass(frozen=True, slots=True)
class Fitted:
    """``correct_N``: uint8. ``loss``: mean over the last tenth of the steps; ``late_gain``: its fall over the tenth before.

    ``first_loss``: mean over the first tenth, without which a loss at chance level looks as flat as a converged one.
    """

    correct_N: np.ndarray
    first_loss: float
    loss: float
    late_gain: float


def order(n: int, schedule: Schedule, seed: int) -> np.ndarray:
    """Row numbers of every step, int64 (steps, batch): permutations of all n rows, one after another."""
    rng = np.random.default_rng(seed)
    total = schedule.samples_seen
    rounds = -(-total // n)
    return np.concatenate([rng.permutation(n) for _ in range(rounds)])[:total].reshape(schedule.steps, schedule.batch_size)


def fit(
    task: Task, schedule: Schedule, seed: int, device: str, *,
    images_NHWC: "torch.Tensor", targets_N: "torch.Tensor", judged_MHWC: "torch.Tensor", judged_targets_M: "torch.Tensor",
) -> Fitted:
    """Train one model from ``seed`` and say which judged images it gets right. All tensors are on ``device``."""
    import torch

    torch.manual_seed(seed)
    model = task.build().to(device, memory_format=torch.channels_last).train()   # a third faster on a CPU, pooling most of all
    optimiser = torch.optim.AdamW(model.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    noise = torch.Generator(device).manual_seed(seed)
    losses = torch.zeros(schedule.steps, device=device)
    rows_SB = torch.from_numpy(order(len(images_NHWC), schedule, seed)).to(device)
    for step, rows in enumerate(rows_SB):
        inputs = task.augment(task.inputs(images_NHWC[rows]), noise)
        loss = task.loss(model(inputs), targets_N[rows])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        losses[step] = loss.detach()
    tenth = max(1, schedule.steps // 10)
    first, last = float(losses[:tenth].mean()), float(losses[-tenth:].mean())
    before = float(losses[-2 * tenth : -tenth].mean())
    correct = judge(task, model, judged_MHWC, judged_targets_M)
    return Fitted(correct, first, last, (before - last) / before if before > 0 else 0.0)


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
