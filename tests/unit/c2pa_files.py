"""Picture files with content credentials (C2PA) inside, as their makers write them: unsigned, but in the real places."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

NEWSCODES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
UUIDS = {kind: kind + bytes.fromhex("00110010800000AA00389B71") for kind in (b"c2pa", b"c2ma", b"c2as", b"cbor", b"json")}


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def superbox(kind: bytes, label: str, *boxes: bytes) -> bytes:
    return box(b"jumb", box(b"jumd", UUIDS[kind] + b"\x03" + label.encode() + b"\0") + b"".join(boxes))


def text(words: str) -> bytes:
    """A CBOR text string."""
    data = words.encode()
    return (bytes([0x60 + len(data)]) if len(data) < 24 else b"\x78" + bytes([len(data)])) + data


def actions(source: str, action: str = "c2pa.created", as_json: bool = False) -> bytes:
    """The assertion that says how a picture came to be; ``source`` empty: says nothing of it."""
    if as_json:
        body = f'{{"actions": [{{"action": "{action}", "digitalSourceType": "{source}"}}]}}'.encode()
        return superbox(b"json", "c2pa.actions", box(b"json", body))
    one = bytes([0xA2 if source else 0xA1]) + text("action") + text(action) + (text("digitalSourceType") + text(source) if source else b"")
    return superbox(b"cbor", "c2pa.actions", box(b"cbor", b"\xa1" + text("actions") + b"\x81" + one))


def store(*assertions: bytes, padding: int = 0) -> bytes:
    """A manifest store with one manifest for each of the assertions; ``padding`` bytes of thumbnail stand before them."""
    thumbnail = superbox(b"c2as", "c2pa.thumbnail.claim.jpeg", box(b"bidb", b"\x55" * padding))
    manifests = (superbox(b"c2ma", f"urn:uuid:{number}", superbox(b"c2as", "c2pa.assertions", thumbnail, one))
                 for number, one in enumerate(assertions))
    return superbox(b"c2pa", "c2pa", *manifests)


def picture_with(
    manifests: bytes, format: str, pixels_HWC: np.ndarray, segment: int = 60_000, backwards: bool = False
) -> bytes:
    """The file with the store where the format keeps it; a JPEG segment holds ``segment`` bytes of it, the last first if ``backwards``."""
    out = io.BytesIO()
    Image.fromarray(pixels_HWC).save(out, format)
    data = out.getvalue()
    if format == "PNG":
        chunk = b"caBX" + manifests
        return data[:33] + struct.pack(">I", len(manifests)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    if format == "WEBP":
        whole = data[8:] + b"C2PA" + struct.pack("<I", len(manifests)) + manifests + b"\0" * (len(manifests) % 2)
        return b"RIFF" + struct.pack("<I", len(whole)) + whole
    header, body = manifests[:8], manifests[8:]
    pieces = [body[at : at + segment] for at in range(0, len(body), segment)]
    packets = [b"JP" + struct.pack(">HI", 1, number) + header + piece for number, piece in enumerate(pieces, 1)]
    if backwards:
        packets.reverse()
    return data[:2] + b"".join(b"\xff\xeb" + struct.pack(">H", 2 + len(one)) + one for one in packets) + data[2:]
