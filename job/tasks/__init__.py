"""Plugs. A task says what is learned and what counts as right; the sweep knows nothing of classes.

One file and one line in ``TASKS``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import BaseModel

if TYPE_CHECKING:
    import torch

TASKS: Mapping[str, str] = {
    "classification": "job.tasks.classification:Classification",
}


class Task(Protocol):
    """A model, a loss, and per-image correctness. All tensors of a batch are on one device."""

    Options: ClassVar[type[BaseModel]]
    label: ClassVar[str]        # the label kind it learns from
    score_name: ClassVar[str]   # what the mean of ``correct`` is called in the report
    size_px: int                # height and width of every image

    def __init__(self, options: BaseModel, *, classes: int, size_px: int) -> None: ...

    def check(self) -> None:
        """Raise ``SettingsError`` if what ``build`` gives cannot be trained; called once, before anything is started."""

    def build(self) -> "torch.nn.Module":
        """A fresh model; its weights come from torch's global seed."""

    def inputs(self, images_BHWC: "torch.Tensor") -> "torch.Tensor":
        """uint8 (B, H, W, 3) to what the model takes."""

    def augment(self, inputs: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
        """Training-time augmentation on the device, from the given generator alone."""

    def loss(self, outputs: "torch.Tensor", targets: "torch.Tensor", weights_B: "torch.Tensor | None" = None) -> "torch.Tensor":
        """Mean loss of a batch, a scalar; each image's multiplied by its weight, if there are any."""

    def correct(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """uint8 (B,): 1 where the image counts as right."""
