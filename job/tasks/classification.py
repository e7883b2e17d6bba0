"""Image classification: cross-entropy, and right means that the most likely class is the label."""

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from job.errors import SettingsError

if TYPE_CHECKING:
    import torch

MODEL = "SALTWORKS_TASK__OPTIONS__MODEL"
SMALL_CNN = "small_cnn"


class Classification:
    """``small_cnn`` (three convolutions) or any torchvision classifier, from scratch."""

    class Options(BaseModel):
        """Options of the classifier."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        model: Annotated[str, Field(description="small_cnn, or the name of a torchvision classifier such as resnet18")] = SMALL_CNN
        flip: Annotated[bool, Field(description="mirror training images left to right at random")] = False
        shift_px: Annotated[int, Field(description="shift training images by up to so many pixels", ge=0, le=64)] = 0

    label: ClassVar[str] = "class"
    score_name: ClassVar[str] = "accuracy"

    def __init__(self, options: Options, *, classes: int, size_px: int) -> None:
        self.options, self.classes, self.size_px = options, classes, size_px

    def check(self) -> None:
        """One step on two blank images, on the CPU. Raises ``SettingsError`` if the model cannot be trained at this size.

        Most classifiers were drawn for 224 px and say only when run that a map shrinks to nothing: found here, it costs
        seconds, and in the sweep all that was generated before it.
        """
        if self.options.model == SMALL_CNN:
            return
        import torch

        images = torch.zeros(2, self.size_px, self.size_px, 3, dtype=torch.uint8)
        try:
            model = self.build().to(memory_format=torch.channels_last).train()
            self.loss(model(self.inputs(images)), torch.zeros(2, dtype=torch.long)).backward()
        except SettingsError:
            raise
        except Exception as error:   # each architecture fails in its own way
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            raise SettingsError(
                f"{MODEL}={self.options.model!r} cannot be trained at train.size_px = {self.size_px} ({said})",
                f"set SALTWORKS_TRAIN__SIZE_PX to a size that it takes, such as 64 or 224, or {MODEL} to {SMALL_CNN} or resnet18",
            ) from error

    def build(self) -> "torch.nn.Module":
        """Raises ``SettingsError`` for a model that torchvision does not know."""
        if self.options.model == SMALL_CNN:
            return _small_cnn(self.classes)
        from torchvision import models

        known = models.list_models(module=models)
        if self.options.model not in known:
            raise SettingsError(f"{MODEL}={self.options.model!r} is no classifier",
                                f"use {SMALL_CNN} or one of {', '.join(known[:6])} …")
        return models.get_model(self.options.model, weights=None, num_classes=self.classes, **self._own_options())

    def _own_options(self) -> dict[str, object]:
        """What some architectures want to be told: their size where it is built in, and no second head."""
        name = self.options.model
        if name.startswith("vit_"):
            return {"image_size": self.size_px}
        if name.startswith("maxvit"):
            return {"input_size": (self.size_px, self.size_px)}
        if name in ("googlenet", "inception_v3"):   # trained with a second head they return a tuple; their own draw is slow
            return {"aux_logits": False, "init_weights": False}
        return {}

    def inputs(self, images_BHWC: "torch.Tensor") -> "torch.Tensor":
        """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
        return images_BHWC.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)   # stays channels-last in memory, which suits the fit

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

    def loss(self, outputs: "torch.Tensor", targets: "torch.Tensor", weights_B: "torch.Tensor | None" = None) -> "torch.Tensor":
        """Cross-entropy in nats."""
        import torch

        if weights_B is None:
            return torch.nn.functional.cross_entropy(outputs, targets)
        return (weights_B * torch.nn.functional.cross_entropy(outputs, targets, reduction="none")).mean()

    def correct(self, outputs: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
        """uint8 (B,)."""
        return (outputs.argmax(1) == targets).byte()


def _small_cnn(classes: int) -> "torch.nn.Module":
    """Three 3×3 convolutions (16, 32, 64) with pooling, one hidden layer's worth of global mean, one linear map.

    The largest of four is taken before the ReLU: the same numbers to the last bit, gradients too, for a quarter of the work.
    """
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
        nn.Flatten(), nn.Linear(256, classes),
    )
