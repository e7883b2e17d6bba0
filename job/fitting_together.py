"""HOT tool. The seeds of a trial: one after the other, or stacked into one net whose every operation works for all of them.

Stacked, a small net gives a GPU S times the work per launch. Each seed keeps its own first weights, order of images and
augmentation noise, and AdamW works number by number, so only roundings differ (``torch.func``: stack_module_state, vmap).
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np

from job.errors import SettingsError
from job.fitting import Compiled, Fitted, Shares, drawn_rows, fit, fitted, fresh, judge
from job.runplan import Schedule
from job.tasks import Task

if TYPE_CHECKING:
    import torch

SMALL = 1_000_000   # weights of a net, up to which auto stacks: beyond, launches are not what takes time, and memory is S-fold
STACKED_PX = 8_000_000   # pixels of a stacked batch, up to which auto stacks: small_cnn keeps 240 bytes of each for its gradients
TOGETHER, COMPILE = "SALTWORKS_TRAIN__TOGETHER", "SALTWORKS_TRAIN__COMPILE"


def fit_seeds(
    task: Task, schedule: Schedule, seeds: Sequence[int], device: str, limit: Callable[[int], AbstractContextManager[None]], *,
    images_NHWC: "torch.Tensor", targets_N: "torch.Tensor", judged_MHWC: "torch.Tensor", judged_targets_M: "torch.Tensor",
    shares: Shares | None = None,
) -> list[Fitted]:
    """One training per seed, in their order, in the way that the schedule asks for. ``limit(n)`` is held around n trainings.

    Raises ``SettingsError`` where that way cannot be taken.
    """
    tensors = {"images_NHWC": images_NHWC, "targets_N": targets_N, "judged_MHWC": judged_MHWC, "judged_targets_M": judged_targets_M}
    found: list[Fitted] = []
    if stacked(task, schedule, len(seeds), device):
        size = len(seeds) if schedule.together == "always" else at_once(schedule)
        for part in (seeds[at : at + size] for at in range(0, len(seeds), size)):
            with limit(len(part)):
                found += fit_together(task, schedule, part, device, **tensors, shares=shares)
        return found
    compiled = Compiled(task, device) if schedule.compile else None
    for seed in seeds:
        with limit(1):
            found.append(fit(task, schedule, seed, device, **tensors, shares=shares, compiled=compiled))
    return found


def stacked(task: Task, schedule: Schedule, seeds: int, device: str) -> bool:
    """Whether the seeds are trained together. Raises ``SettingsError`` if they are to be and cannot."""
    if schedule.together == "always":
        check(task, schedule)
        return True
    if schedule.together == "never" or device != "cuda" or seeds == 1 or schedule.compile:
        return False
    return at_once(schedule) > 1 and sum(weight.numel() for weight in task.build().parameters()) <= SMALL and not why_apart(task)


def at_once(schedule: Schedule) -> int:
    """How many seeds auto stacks at most. Of the plan alone, so that all arms are trained alike whatever memory is free."""
    return STACKED_PX // (schedule.batch_size * schedule.size_px**2)


def check(task: Task, schedule: Schedule) -> None:
    """Raise ``SettingsError`` if the seeds are always to be trained together and cannot."""
    if schedule.together != "always":
        return
    if schedule.compile:
        raise SettingsError(f"{TOGETHER}=always and {COMPILE}=true: a stacked net is not compiled", "set one of them alone")
    if why := why_apart(task):
        raise SettingsError(f"{TOGETHER}=always, and {why}", f"set {TOGETHER}=auto, or a model without batch norm and dropout")


def why_apart(task: Task) -> str:
    """Why the task's nets cannot be stacked, found by stacking two on blank images, on the CPU; empty: they can be."""
    import torch

    models = [task.build().train() for _ in range(2)]
    names = [name for name, _ in models[0].named_buffers()]
    if names:   # those of batch norm are written to in every step, by every net for itself
        return f"the model has {len(names)} buffers ({names[0]}, …) where a stacked net may have 0"
    inputs = task.inputs(torch.zeros(4, task.size_px, task.size_px, 3, dtype=torch.uint8)).unflatten(0, (2, 2))
    stack = _Stack(task, models)
    try:
        stack.losses(inputs, torch.zeros(2, 2, dtype=torch.long), None)
    except RuntimeError as error:   # it draws at random, as dropout does, or does what vmap has no rule for
        return f"the model cannot be stacked ({str(error).splitlines()[0]})"
    return ""


class _Stack:
    """S nets as one: every weight has a first dimension S."""

    def __init__(self, task: Task, models: Sequence["torch.nn.Module"]) -> None:
        import torch

        def loss(weights: dict[str, torch.Tensor], *batch: torch.Tensor | None) -> torch.Tensor:
            inputs, targets, counts = batch
            return task.loss(torch.func.functional_call(models[0], weights, (inputs,)), targets, counts)

        self.weights, _ = torch.func.stack_module_state(list(models))
        self._loss = loss

    def losses(self, inputs: "torch.Tensor", targets: "torch.Tensor", counts: "torch.Tensor | None") -> "torch.Tensor":
        """Mean loss of each net on its own batch: (S,) from (S, B, …), (S, B) and (S, B) or None."""
        import torch

        return torch.func.vmap(self._loss, in_dims=(0, 0, 0, None if counts is None else 0))(self.weights, inputs, targets, counts)


def fit_together(
    task: Task, schedule: Schedule, seeds: Sequence[int], device: str, *,
    images_NHWC: "torch.Tensor", targets_N: "torch.Tensor", judged_MHWC: "torch.Tensor", judged_targets_M: "torch.Tensor",
    shares: Shares | None = None,
) -> list[Fitted]:
    """What ``fit`` does for every seed, all of them in one net: the same batches, other roundings."""
    import torch

    mixed = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=schedule.precision == "bf16")
    models = [fresh(task, seed, device) for seed in seeds]
    stack = _Stack(task, models)
    optimiser = torch.optim.AdamW(stack.weights.values(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay, fused=True)
    noises = [torch.Generator(device).manual_seed(seed) for seed in seeds]
    weights_N = torch.from_numpy(shares.weights()).to(device) if shares and shares.in_loss else None
    drawn = np.stack([drawn_rows(len(images_NHWC), schedule, seed, shares) for seed in seeds], axis=1)
    rows_TSB = torch.from_numpy(drawn).to(device)
    losses_TS = torch.zeros(rows_TSB.shape[:2], device=device)
    for step, rows_SB in enumerate(rows_TSB):
        inputs = task.inputs(images_NHWC[rows_SB.flatten()]).unflatten(0, rows_SB.shape)
        inputs = torch.stack([task.augment(one, noise) for one, noise in zip(inputs, noises, strict=True)])
        with mixed:
            losses_S = stack.losses(inputs, targets_N[rows_SB], None if weights_N is None else weights_N[rows_SB])
        optimiser.zero_grad(set_to_none=True)
        losses_S.sum().backward()   # no weight is shared, so each gets the gradient of its own loss
        optimiser.step()
        losses_TS[step] = losses_S.detach()
    found = []
    for at, model in enumerate(models):
        model.load_state_dict({name: weight[at] for name, weight in stack.weights.items()})
        with mixed:
            correct = judge(task, model, judged_MHWC, judged_targets_M)
        found.append(fitted(correct, losses_TS[:, at], rows_TSB[:, at].numel()))
    return found
