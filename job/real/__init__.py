"""EDGE. Real images: an index first (ids, labels, digests, sizes; no pixels kept), then a named subset.

A source is one file and one line in ``SOURCES``. It knows its own format and nothing of storage:
it reads through the ``Folder`` that it is handed, so the same source works on a disk and on a bucket.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar, Protocol

import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from job.records import RealIndex

SOURCES: Mapping[str, str] = {
    "cifar10": "job.real.cifar10:Cifar10",
    "digits": "job.real.digits:Digits",
    "image_folder": "job.real.image_folder:ImageFolder",
    "parquet": "job.real.parquet:Parquet",
    "webdataset": "job.real.webdataset:WebDataset",
}


class Folder(Protocol):
    """Read-only view of one folder or bucket prefix."""

    def list(self) -> list[tuple[str, int]]:
        """Every file below, as (path relative to the folder, bytes), sorted by path."""

    def read(self, path: str) -> bytes:
        """The whole file. Raises ``DataError`` or ``AccessError`` with the path in the message."""


class RealSource(Protocol):
    """One source of labelled real images.

    ``open_folder(url)`` gives a ``Folder``; a source that ships its data ignores it.
    """

    Options: ClassVar[type[BaseModel]]

    def __init__(self, options: BaseModel, open_folder: Callable[[str], Folder]) -> None: ...

    def index(self) -> RealIndex:
        """Ids, labels, digests and sizes of all usable images, and the refused ones with reasons."""

    def load(self, rows: pa.Table) -> Iterator[np.ndarray]:
        """Pixels of the named rows of the index, in their order: uint8, HWC, RGB."""
