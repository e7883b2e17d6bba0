"""Pictures as bytes and back, the mark that says "generated", and the one path by which any picture reaches a trial.

Real and synthetic images go through ``to_train`` alike, or a classifier would learn the resize and the codec instead
of the content. The mark is IPTC's ``DigitalSourceType``, in an XMP packet inside every generated image, so that it
survives the image being copied out of its shard: https://cv.iptc.org/newscodes/digitalsourcetype/
"""

import io
import re

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin, UnidentifiedImageError

from job.errors import DataError
from job.ground import c2pa

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")   # Pillow reads some 40 more, several with a history of holes
JPEG_FROM_PX = 128     # from here on PNG costs more CPU than drawing costs GPU (86 ms against 1.2 ms at 512 px)
JPEG_QUALITY = 95
UNIFORM_STD = 1.0      # grey levels; a picture flatter than this in every channel shows nothing
BLACK_MAX = 3          # grey levels
SAMPLED = (32, 8)      # every 32nd pixel of every 32nd row prove of most pictures that they are neither, else every 8th
NOT_FINITE = "not a number: the model gave NaN or infinity"

SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    f' Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)
IPTC_MARK = "IPTC trainedAlgorithmicMedia"
C2PA_MARK = "C2PA manifest with trainedAlgorithmicMedia"
# XMP may write a property as an attribute or as an element, and the prefix is the writer's choice.
_MARK = re.compile(rb"DigitalSourceType\s*(?:=\s*[\"']|>)\s*" + re.escape(SOURCE_TYPE.encode()) + rb"\s*[\"'<]")


def encoding_for(size_px: int) -> str:
    """``png`` below 128 px, ``jpeg`` from there on."""
    return "png" if size_px < JPEG_FROM_PX else "jpeg"


def encode(pixels_HWC: np.ndarray, encoding: str) -> bytes:
    """A marked PNG (lossless) or JPEG (quality 95, 4:4:4) of uint8 RGB pixels; the same pixels give the same bytes.

    Raises ``ValueError`` on another encoding, or on pixels that are no uint8 (H, W, 3).
    """
    image, out = Image.fromarray(_checked(pixels_HWC)), io.BytesIO()
    if encoding == "png":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", XMP)
        image.save(out, "PNG", pnginfo=chunks)
    elif encoding == "jpeg":
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, xmp=XMP.encode())
    else:
        raise ValueError(f"encoding is png or jpeg, not {encoding!r}")
    return out.getvalue()


def decode(data: bytes) -> np.ndarray:
    """The picture of a PNG, JPEG, WEBP or BMP file: uint8 (H, W, 3), RGB, upright by its EXIF orientation.

    Transparency is dropped; 16-bit grey keeps its upper 8 bits. Raises ``DataError`` for anything undecodable,
    truncated, of another format, or so large that Pillow takes it for a decompression bomb.
    """
    return _rgb(_open(data))


def decode_marked(data: bytes) -> tuple[np.ndarray, str]:
    """The picture as ``decode`` gives it, and how its file says that a trained model made it; empty where it does not.

    Two marks are known, IPTC's in the XMP packet and C2PA's (``job.ground.c2pa``). A file without either may be
    generated all the same. Raises ``DataError`` as ``decode`` does.
    """
    image = _open(data)
    return _rgb(image), _mark(image, data)


def is_marked(data: bytes) -> bool:
    """Whether the file says of itself that a trained model made it. Raises ``DataError`` if it is no picture."""
    return bool(_mark(_open(data), data))


def _mark(image: Image.Image, data: bytes) -> str:
    packet = image.info.get("xmp", b"")
    if _MARK.search(packet if isinstance(packet, bytes) else packet.encode(errors="replace")):
        return IPTC_MARK
    return C2PA_MARK if c2pa.is_generated(data) else ""


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):   # convert() would clip 16 bits at 255 instead of scaling them
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:  # a palette with transparency has to pass through RGBA
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))   # a copy: asarray would be read-only


def to_train(pixels_HWC: np.ndarray, size_px: int) -> np.ndarray:
    """What a trial sees of any picture, real or synthetic: uint8 (size_px, size_px, 3).

    The shorter side is resized to ``size_px`` (bicubic, antialiased; nothing if it has that size), the centre is cut
    out, and the codec of that size is passed once. Raises ``ValueError`` on pixels that are no uint8 (H, W, 3).
    """
    height, width, _ = _checked(pixels_HWC).shape
    short = min(height, width)
    if short != size_px:
        width, height = (max(size_px, round(side * size_px / short)) for side in (width, height))
        small = Image.fromarray(pixels_HWC).resize((width, height), Image.Resampling.BICUBIC)   # Pillow antialiases
        pixels_HWC = np.array(small)
    top, left = (height - size_px) // 2, (width - size_px) // 2
    square = np.ascontiguousarray(pixels_HWC[top : top + size_px, left : left + size_px])
    if encoding_for(size_px) == "png":
        return square   # lossless: a round trip would give these very pixels back
    return decode(encode(square, "jpeg"))


def fault(pixels_HWC: np.ndarray) -> str:
    """Why this array is no picture worth keeping; empty where it is one.

    A picture is uint8 (H, W, 3), not black, and not uniform: some channel's standard deviation reaches one grey
    level. A float array is never a picture; its NaN and infinities are told apart because they point to the weights.
    """
    if np.issubdtype(pixels_HWC.dtype, np.floating) and not np.isfinite(pixels_HWC).all():
        return NOT_FINITE
    if pixels_HWC.dtype != np.uint8:
        return f"{pixels_HWC.dtype} instead of uint8"
    if pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3 or 0 in pixels_HWC.shape:
        return f"shape {pixels_HWC.shape} instead of (height, width, 3)"
    for every in SAMPLED:   # all deviate from their mean by at least as much as these few do from theirs: no guess, a lower bound
        few_CM = pixels_HWC[::every, ::every].reshape(-1, 3).T.astype(np.float64)
        if few_CM.max() > BLACK_MAX and few_CM.var(axis=1).max() * few_CM.size >= UNIFORM_STD**2 * pixels_HWC.size:
            return ""
    if pixels_HWC.max() <= BLACK_MAX:
        return "black"
    if pixels_HWC.std(axis=(0, 1)).max() < UNIFORM_STD:   # by channel: a flat red differs between its channels
        return "uniform"
    return ""


def _checked(pixels_HWC: np.ndarray) -> np.ndarray:
    if pixels_HWC.dtype != np.uint8 or pixels_HWC.ndim != 3 or pixels_HWC.shape[2] != 3:
        raise ValueError(f"pixels are uint8 (H, W, 3), not {pixels_HWC.dtype} {pixels_HWC.shape}")
    return pixels_HWC


def _open(data: bytes) -> Image.Image:
    """The decoded, upright picture with its metadata."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()   # some PNG writers put the XMP packet behind the pixels
            upright = ImageOps.exif_transpose(image)
            upright.info.update({"xmp": image.info["xmp"]} if "xmp" in image.info else {})
            return upright
    except UnidentifiedImageError:   # its own message holds a memory address
        raise DataError(f"not a picture: nothing in it reads as {', '.join(FORMATS)}", "replace the file") from None
    except Exception as error:   # a decoder raises whatever it stumbles over: SyntaxError, struct.error, ValueError …
        raise DataError(f"a truncated or damaged picture: {error or type(error).__name__}", "replace the file") from None
