"""What sources share about pictures: which are let in, digest and perceptual hash, torn labels, reading side by side.

A tool, not a source: it knows no layout and no storage.
"""

import hashlib
import io
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import imagehash
import numpy as np
from PIL import Image, UnidentifiedImageError

from job.errors import DataError
from job.ground.pixels import FORMATS, decode, decode_marked, encode

LATTICE_FROM_PX = 128   # of the shorter side: smaller pictures are hashed whole, which costs little
BLOCK_PX = 8            # JPEG codes blocks of this side one by one, as long as no channel is subsampled
LATTICE = 8             # of them along the shorter side are enough to know a picture by
MARK = 16               # hex digits
TOGETHER = 64           # lattices in one JPEG, whose height may not pass 65,500 px
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

Item = TypeVar("Item")
Result = TypeVar("Result")


def digest(pixels_HWC: np.ndarray) -> str:
    """64 hex digits of size and RGB bytes: the same picture has the same digest in every file format.

    The size is hashed too, because a 2×8 picture can have the bytes of a 4×4 one. sha256, of which the last 64 bits make
    room for the picture's ``mark`` from 128 px on.
    """
    height, width, _ = pixels_HWC.shape
    whole = _hash(width, height, pixels_HWC)
    return whole if min(height, width) < LATTICE_FROM_PX else whole[:-MARK] + _hash(width, height, lattice(pixels_HWC))[:MARK]


def mark(pixel_digest: str) -> str:
    """What a picture is recognised by: 64 bits of its digest, enough to find it again among billions.

    From 128 px on they are a hash of its ``lattice`` alone. A JPEG of the lattice decodes to the lattice of the JPEG, so
    marks of pictures that are about to be stored are known without decoding all of them (``marks_in``).
    """
    return pixel_digest[-MARK:]


def marks_in(encoding: str, pictures: Sequence[np.ndarray]) -> list[str]:
    """The marks that these pictures, all of one size, will have once ``job.ground.pixels.encode`` has written them."""
    if encoding == "png":
        return [mark(digest(one)) for one in pictures]
    height, width, _ = pictures[0].shape
    if min(height, width) < LATTICE_FROM_PX:
        return [mark(digest(decode(encode(one, encoding)))) for one in pictures]
    marks: list[str] = []
    for at in range(0, len(pictures), TOGETHER):   # one below the other they are still the same blocks, and cost one file for all
        lattices = [lattice(one) for one in pictures[at : at + TOGETHER]]
        written = decode(encode(np.concatenate(lattices), encoding)).reshape(len(lattices), *lattices[0].shape)
        marks += [_hash(width, height, one)[:MARK] for one in written]
    return marks


def lattice(pixels_HWC: np.ndarray) -> np.ndarray:
    """Blocks of 8×8 pixels spread evenly over the picture, eight or more in either direction, put together: 64 px for a square."""
    down, across = (side // BLOCK_PX for side in pixels_HWC.shape[:2])
    every = min(down, across) // LATTICE
    whole = pixels_HWC[: down * BLOCK_PX, : across * BLOCK_PX].reshape(down, BLOCK_PX, across, BLOCK_PX, 3)
    blocks = whole[every // 2 :: every, :, every // 2 :: every]
    return blocks.reshape(blocks.shape[0] * BLOCK_PX, blocks.shape[2] * BLOCK_PX, 3)


def _hash(width: int, height: int, pixels_HWC: np.ndarray) -> str:
    hashed = hashlib.sha256(f"{width}x{height}:".encode())
    hashed.update(np.ascontiguousarray(pixels_HWC).data)
    return hashed.hexdigest()


def dhash(pixels_HWC: np.ndarray) -> int:
    """64-bit difference hash by ``imagehash``, first bit highest: small changes of a picture flip few of its bits.

    Each bit tells whether a 9×8 grey thumbnail brightens from one column to the next. A flat picture has 0, and so have
    all flat pictures. Source: N. Krawetz, "Kind of Like That", hackerfactor.com, 2013.
    """
    return int.from_bytes(np.packbits(imagehash.dhash(Image.fromarray(pixels_HWC)).hash).tobytes(), "big")


@dataclass(frozen=True, slots=True)
class Facts:
    """What an index keeps of a picture: everything but its pixels."""

    digest: str
    dhash: int
    width: int
    height: int
    generated: str


def look(data: bytes, max_pixels: int) -> Facts:
    """The facts of one image file. Raises ``DataError`` as ``read_picture`` does."""
    pixels_HWC, generated = read_picture(data, max_pixels)
    height, width, _ = pixels_HWC.shape
    return Facts(digest(pixels_HWC), dhash(pixels_HWC), width, height, generated)


def read_picture(data: bytes, max_pixels: int) -> tuple[np.ndarray, str]:
    """A picture from the bytes of its file: uint8 (H, W, 3), RGB, decoded as ``job.ground.pixels`` does; and how the file
    says that it was generated, empty where it does not.

    The header's size is checked before a pixel is decoded. Raises ``DataError`` with the reason for a file that is too
    large, truncated, or of another format.
    """
    width, height = _header(data)
    if not 0 < width * height <= max_pixels:
        raise DataError(f"its header says {width}×{height} px; 1 to max_pixels={max_pixels} are allowed", "make it smaller")
    return decode_marked(data)


def read_again(data: bytes, max_pixels: int, id: str, expected: str, generated: str) -> np.ndarray:
    """The pixels of an indexed picture. Raises ``DataError`` if pixels or mark are not those of the index."""
    try:
        pixels_HWC, marked = read_picture(data, max_pixels)
    except DataError as error:
        raise changed(id, error.problem) from None
    if marked and not generated:
        raise changed(id, f"it is marked as generated ({marked})")
    return unchanged(pixels_HWC, id, expected)


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
