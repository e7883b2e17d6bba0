"""Image classification: cross-entropy, and right means that the most likely class is the label."""

from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from job.errors import SettingsError

if TYPE_CHECKING:
    import torch


class Classification:
    """``small_cnn`` (three convolutions) or any torchvision classifier, from scratch."""

    class Options(BaseModel):
        """Options of the classifier."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        model: Annotated[str, Field(description="small_cnn, or the name of a torchvision classifier such as resnet18")] = "small_cnn"
        flip: Annotated[bool, Field(description="mirror training images left to right at random")] = False
        shift_px: Annotated[int, Field(description="shift training images by up to so many pixels", ge=0, le=64)] = 0

    label: ClassVar[str] = "class"
    score_name: ClassVar[str] = "accuracy"

    def __init__(self, options: Options, *, classes: int, size_px: int) -> None:
        self.options, self.classes, self.size_px = options, classes, size_px

    def build(self) -> "torch.nn.Module":
        """Raises ``SettingsError`` for a model that torchvision does not know."""
        if self.options.model == "small_cnn":
            return _small_cnn(self.classes)
        from torchvision import models

        known = models.list_models(module=models)
        if self.options.model not in known:
            raise SettingsError(f"SALTWORKS_TASK__OPTIONS__MODEL={self.options.model!r} is no classifier",
                                f"use small_cnn or one of {', '.join(known[:6])} …")
        return models.get_model(self.options.model, weights=None, num_classes=self.classes)

    def inputs(self, images_BHWC: "torch.Tensor") -> "torch.Tensor":
        """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
        return images_BHWC.permute(0, 3, 1, 2).float().div(127.5).sub(1)   # stays channels-last in memory, which suits the fit

    def augment(self, inputs: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
        """Mirror and shift, one draw per image."""
        import torch

        count = len(inputs)
        if self.options.flip:
            mirrored = torch.rand(count, generator=generator, device=inputs.device) < 0.5
            inputs = torch.where(mirrored[:, None, None, None], inputs.flip(3), inputs)
        if reach := self.options.shift_px:
            padded = torch.nn.functional.pad(inputs, [reach] * 4, mode="replicate")
            dy, dx = torch.randint(0, 2 * reach + 1, (2, count), generator=generator, device=inputs.device)
            rows = torch.arange(inputs.shape[2], device=inputs.device)
            cols = torch.arange(inputs.shape[3], device=inputs.device)
            at = torch.arange(count, device=inputs.device)[:, None, None, None]
            channel = torch.arange(inputs.shape[1], device=inputs.device)[None, :, None, None]
            inputs = padded[at, channel, (dy[:, None] + rows)[:, None, :, None], (dx[:, None] + cols)[:, None, None, :]]
        return inputs

    def loss(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """Cross-entropy in nats."""
        import torch

        return torch.nn.functional.cross_entropy(outputs, targets)

    def correct(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """uint8 (B,)."""
        return (outputs.argmax(1) == targets).byte()

    def groups(self, targets: np.ndarray) -> np.ndarray:
        """The per-class table has a row per label."""
        return targets


def _small_cnn(classes: int) -> "torch.nn.Module":
    """Three 3×3 convolutions (16, 32, 64) with pooling, one hidden layer's worth of global mean, one linear map."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(256, classes),
    )
