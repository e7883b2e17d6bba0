"""HOT plugs. A sample metric gives each image one or more named numbers; it knows nothing of Ray or storage.

One file and one line in ``SAMPLE_METRICS``; a score is named ``metric.column``, such as ``clipscore.margin``.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np
from pydantic import BaseModel

SAMPLE_METRICS: Mapping[str, str] = {
    "clipscore": "job.metrics.clipscore:ClipScore",
}


class SampleMetric(Protocol):
    """Scores images one by one: a value never depends on the other images of the batch (beyond a rounding)."""

    Options: ClassVar[type[BaseModel]]
    columns: ClassVar[Mapping[str, str]]   # column: one line on what it says, higher is better

    def __init__(self, options: BaseModel, class_names: Sequence[str]) -> None: ...

    def location(self) -> str:
        """Where the weights are, as for a generator; empty for none."""

    def revision(self) -> str:
        """Revision asked for, or empty."""

    def load(self, folder: str, device: str) -> None:
        """Load the weights from a local folder. Called once."""

    def score(
        self, images: Sequence[np.ndarray], *, prompts: Sequence[str], labels: Sequence[int]
    ) -> Mapping[str, np.ndarray]:
        """All ``columns`` as float32 of shape (M,), for M uint8 HWC images in their order."""

    def features(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """float32 (M, D), rows of unit length, in which near means alike; D is 0 for a metric without any."""
