"""A scorer whose card fails. Not in a test's own file: the workers import it by name."""

import time
from pathlib import Path
from typing import Any, ClassVar

import torch

from job.measure import Scorer


class Brightness:
    """A metric that needs no weights."""

    columns: ClassVar[dict[str, str]] = {"grey": "mean grey level"}

    def score(self, images: list[Any], *, prompts: list[str], labels: list[int]) -> dict[str, list[float]]:
        return {"grey": [float(image.mean()) for image in images]}


class Struck(Scorer):
    """A scorer whose card fails: always, or only in the process that comes first."""

    def load(self, planned: Any, errors: str, always: bool, folder: str) -> None:
        self.plan, self.metrics = planned, [(planned.metrics[0], Brightness())]
        self.errors, self.always, self.first = errors, always, Path(folder) / "first"

    def _score(self, *args: Any) -> tuple[int, int]:
        if self.always or not self.first.exists():
            self.first.touch()
            raise torch.OutOfMemoryError(self.errors) if "memory" in self.errors else RuntimeError(self.errors)
        return super()._score(*args)


class Unhurried(Scorer):
    """A scorer that takes a second for a unit."""

    def load(self, planned: Any) -> None:
        self.plan, self.metrics = planned, [(planned.metrics[0], Brightness())]

    def _score(self, *args: Any) -> tuple[int, int]:
        time.sleep(1)
        return super()._score(*args)
