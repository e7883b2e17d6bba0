"""The handwritten digits inside scikit-learn, cut once into what the generator saw and what the job sees.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998 (its 1,797 test digits,
as shipped by ``sklearn.datasets.load_digits``). Each is 8×8 grey levels 0..16, drawn here as 32×32 RGB.

The cut is made here and nowhere else: ``world`` trains the demo's generator and is never shown to the job;
``train``, ``val`` and ``test`` are the job's published split.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import BaseModel, ConfigDict

from job.real.pixels import dhash, digest
from job.records import INDEX_SCHEMA, RealIndex

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIZE_PX = 32
PER_CLASS = {"world": 90, "train": 8, "val": 20}   # the rest, 617 in all, is the locked test
CUT_SEED = 20240501


@lru_cache(maxsize=1)
def _raw() -> tuple[np.ndarray, np.ndarray]:
    """All digits and labels: (1797, 8, 8) float 0..16, (1797,) int."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


@lru_cache(maxsize=1)
def cut() -> dict[str, np.ndarray]:
    """Row numbers of ``world``, ``train``, ``val`` and ``test``: disjoint, stratified, the same for ever."""
    _, labels = _raw()
    rng = np.random.default_rng(CUT_SEED)
    parts: dict[str, list[np.ndarray]] = {"world": [], "train": [], "val": [], "test": []}
    for label in range(len(NAMES)):
        rows = rng.permutation(np.flatnonzero(labels == label))
        for part, count in PER_CLASS.items():
            parts[part].append(rows[:count])
            rows = rows[count:]
        parts["test"].append(rows)
    return {part: np.sort(np.concatenate(rows)) for part, rows in parts.items()}


def draw(row: int) -> np.ndarray:
    """One digit as the world sees it: uint8 (32, 32, 3), white ink on black, bicubic from 8×8."""
    grey = (_raw()[0][row] * (255 / 16)).round().astype(np.uint8)
    large = Image.fromarray(grey).resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
    return np.asarray(large.convert("RGB"))


def label(row: int) -> int:
    """The digit's class, 0 to 9."""
    return int(_raw()[1][row])


class Digits:
    """The job's part of the digits (80 train, 200 val, 617 test); ``world`` is never indexed."""

    class Options(BaseModel):
        """No options: the cut is fixed."""

        model_config = ConfigDict(extra="forbid", frozen=True)

    def __init__(self, options: BaseModel, open_folder: Callable[[str], Any]) -> None:
        del options, open_folder

    def index(self) -> RealIndex:
        rows = [(int(row), part) for part in ("train", "val", "test") for row in cut()[part]]
        rows.sort()
        table = pa.Table.from_pydict(
            {
                "id": [f"digits-{row:04d}" for row, _ in rows],
                "label": [label(row) for row, _ in rows],
                "digest": [digest(draw(row)) for row, _ in rows],
                "width": [SIZE_PX] * len(rows),
                "height": [SIZE_PX] * len(rows),
                "locator": [str(row) for row, _ in rows],
                "published": [part for _, part in rows],
                "group": [""] * len(rows),
                "dhash": [dhash(draw(row)) for row, _ in rows],
                "generated": [""] * len(rows),
            },
            schema=INDEX_SCHEMA,
        )
        return RealIndex(classes=NAMES, table=table, refused=())

    def load(self, rows: pa.Table) -> Iterator[np.ndarray]:
        for locator in rows["locator"].to_pylist():
            yield draw(int(locator))
