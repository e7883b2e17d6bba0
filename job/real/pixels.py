"""What sources share about pictures: which ones are let in, the content digest, contradicting labels, reading side by side.

A tool, not a source: it knows no layout and no storage.
"""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from job.errors import DataError
from job.ground.pixels import FORMATS, decode, is_marked

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
GENERATED = b"trainedAlgorithmicMedia"   # as the mark stands in a file

Item = TypeVar("Item")
Result = TypeVar("Result")


def digest(pixels_HWC: np.ndarray) -> str:
    """sha256 (64 hex digits) of size and RGB bytes: the same picture has the same digest in every file format.

    The size is hashed too, because a 2×8 picture can have the bytes of a 4×4 one.
    """
    height, width, _ = pixels_HWC.shape
    return hashlib.sha256(f"{width}x{height}:".encode() + pixels_HWC.tobytes()).hexdigest()


def read_picture(data: bytes, max_pixels: int) -> np.ndarray:
    """A real picture from the bytes of its file: uint8 (H, W, 3), RGB, decoded as ``job.ground.pixels`` does.

    The header's size is checked before a pixel is decoded. Raises ``DataError`` with the reason for a file that is too
    large, truncated, of another format, or marked as generated.
    """
    width, height = _header(data)
    if not 0 < width * height <= max_pixels:
        raise DataError(f"its header says {width}×{height} px; 1 to max_pixels={max_pixels} are allowed", "make it smaller")
    if GENERATED in data and is_marked(data):   # the second question decodes: ask the first one first
        raise DataError("it is marked as generated (IPTC trainedAlgorithmicMedia), and only real images may stand here",
                        "keep generated images out of the real source")
    return decode(data)


def _header(data: bytes) -> tuple[int, int]:
    """Width and height in pixels as the file claims them."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except UnidentifiedImageError:   # its own message holds a memory address
        raise DataError(f"unknown format or truncated header: nothing in it reads as {', '.join(FORMATS)}") from None
    except Exception as error:   # a decoder raises whatever it stumbles over: SyntaxError, struct.error, ValueError …
        raise DataError(f"damaged header: {error or type(error).__name__}") from None


def unchanged(pixels_HWC: np.ndarray, id: str, expected: str) -> np.ndarray:
    """The same pixels, if they are those of the index. Raises ``DataError`` if the digest is another one."""
    if digest(pixels_HWC) != expected:
        raise changed(id, "its pixels are others now")
    return pixels_HWC


def changed(id: str, how: str) -> DataError:
    """The error of a picture that is no longer what the index says."""
    return DataError(f"the real image {id!r} changed after the index was frozen: {how}",
                     "put the old file back, or start a new edition")


def contradictions(ids: Sequence[str], labels: Sequence[int], digests: Sequence[str]) -> dict[str, str]:
    """Ids of pictures that stand under two labels, each with the id of one that says otherwise; order kept."""
    first: dict[str, int] = {}
    torn = {one for label, one in zip(labels, digests, strict=True) if first.setdefault(one, label) != label}
    sides: dict[str, dict[int, str]] = {one: {} for one in torn}
    rows = [row for row in zip(ids, labels, digests, strict=True) if row[2] in torn]
    for id, label, one in rows:
        sides[one].setdefault(label, id)
    return {id: next(other for side, other in sides[one].items() if side != label) for id, label, one in rows}


def ordered(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """``work(item)`` of every item, in the order of the items whatever the number of threads.

    At most ``2 * threads`` results wait at a time, so memory does not grow with the items. An error of ``work``
    is raised in its turn, and no further item is started.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) == 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
