"""Whether the content credentials (C2PA) inside a picture file say that a trained model made it.

Where the manifest store lies: PNG chunk ``caBX``, JPEG APP11 segments (JPEG XT boxes, in order of their packets), WebP
chunk ``C2PA``: https://spec.c2pa.org/specifications/specifications/2.1/specs/C2PA_Specification.html (embedding).

Every manifest of the store counts, not the last alone: a generated picture that was cropped afterwards carries its own
maker's manifest as an ingredient, and it still shows what a model drew. A manifest that names another source, such as a
camera's ``digitalCapture``, says nothing of the kind, and so does one that names no source: the picture is real. No
signature is checked. A forged mark would only keep a picture out, and whoever wants one in strips the manifest; what
bears no mark, or hides it in a compressed manifest, is not found here.
"""

import re
from collections.abc import Iterator

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
APP11, SCAN, END = 0xEB, 0xDA, 0xD9
LONG = b"\x00\x00\x00\x01"   # a box of this length has another length behind its kind
_URLS = tuple(f"{scheme}://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia".encode() for scheme in ("http", "https"))
# The value stands right behind its key: in CBOR behind its own length, in JSON between quotes. So no longer word passes.
_CLAIM = re.compile(b"|".join(
    form for url in _URLS for form in (
        b"digitalSourceType\x78" + re.escape(bytes([len(url)])) + re.escape(url),
        rb'"digitalSourceType"\s*:\s*"' + re.escape(url) + b'"',
    )))


def is_generated(data: bytes) -> bool:
    """Whether a manifest in the file names ``trainedAlgorithmicMedia`` as a digital source type.

    Never raises: of a damaged file, what can be reached is read.
    """
    return b"c2pa" in data and any(_is_store(store) and _CLAIM.search(store) is not None for store in _stores(data))


def _is_store(box: bytes) -> bool:
    """Whether a JUMBF superbox begins here whose description gives the type of a manifest store."""
    inside = 16 if box[:4] == LONG else 8
    return box[4:8] == b"jumb" and box[inside + 4 : inside + 12] == b"jumdc2pa"


def _stores(data: bytes) -> Iterator[bytes]:
    if data.startswith(PNG):
        yield from _png(data)
    elif data.startswith(JPEG):
        yield from _jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _webp(data)


def _png(data: bytes) -> Iterator[bytes]:
    at = len(PNG)
    while at + 8 <= len(data):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"caBX":
            yield data[at + 8 : at + 8 + size]
        at += 12 + size   # length, kind and checksum


def _webp(data: bytes) -> Iterator[bytes]:
    at = 12
    while at + 8 <= len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"C2PA":
            yield data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _jpeg(data: bytes) -> Iterator[bytes]:
    """A box larger than a segment is cut into packets: number of the box, number of the packet, then its header again."""
    packets: dict[bytes, list[tuple[int, bytes]]] = {}
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:   # padding
            at += 1
            continue
        if marker in (SCAN, END):
            break
        size = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + size]
        if marker == APP11 and body[:2] == b"JP" and len(body) > 16:
            packets.setdefault(body[2:4], []).append((int.from_bytes(body[4:8], "big"), body[8:]))
        at += 2 + max(size, 2)
    for parts in packets.values():
        (_, first), *others = sorted(parts, key=lambda part: part[0])
        header = 16 if first[:4] == LONG else 8
        yield first + b"".join(part[header:] for _, part in others)
