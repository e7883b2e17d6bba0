"""Folders on the local disk, and small real data to put into them."""

import io
import json
import pickle
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from job.errors import AccessError, DataError
from job.real.cifar10_files import LAYOUTS, NAMES, TEST, TRAIN

Batches = Mapping[str, tuple[np.ndarray, list[int]]]   # planes uint8 (N, 3072) and labels


class LocalFolder:
    """The ``Folder`` protocol over pathlib; a file whose name begins with ``secret`` may not be read."""

    def __init__(self, url: str) -> None:
        self._root = Path(url)

    def list(self) -> list[tuple[str, int]]:
        files = (path for path in self._root.rglob("*") if path.is_file())
        return sorted((path.relative_to(self._root).as_posix(), path.stat().st_size) for path in files)

    def read(self, path: str) -> bytes:
        if Path(path).name.startswith("secret"):
            raise AccessError(f"{path}: no permission", "ask for it")
        if not (self._root / path).is_file():
            raise DataError(f"{path}: no such file", "check the path")
        return (self._root / path).read_bytes()


def write(root: Path, files: Mapping[str, bytes]) -> str:
    """Put files below ``root``; gives the URL of the folder."""
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return str(root)


def picture(seed: int, width: int = 7, height: int = 5) -> np.ndarray:
    """Noise that no other seed gives: uint8 (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(pixels_HWC: np.ndarray, format: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    out = io.BytesIO()
    Image.fromarray(pixels_HWC).save(out, format, **options)
    return out.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes cannot have."""
    data = encoded(picture(0))
    header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:29]
    return data[:12] + header + zlib.crc32(header).to_bytes(4, "big") + data[33:]


def class_folders(counts: Mapping[str, int], seed: int = 0) -> dict[str, bytes]:
    """Files ``<folder>/<number>.png``, every picture another one."""
    names = [f"{folder}/{number}.png" for folder, count in counts.items() for number in range(count)]
    return {name: encoded(picture(seed + number)) for number, name in enumerate(names)}


def parquet(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = (), column: str = "label", **options: Any) -> bytes:
    """A Parquet file; ``names``: those of a column of whole numbers, as the Hugging Face hub writes them into the schema."""
    table = pa.Table.from_pylist([dict(row) for row in rows])
    if names:
        features = {"image": {"_type": "Image"}, column: {"_type": "ClassLabel", "names": list(names)}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def image_rows(labels: Sequence[Any], seed: int = 0, **more: Any) -> list[dict[str, Any]]:
    """Rows of the Hugging Face layout, every picture another one."""
    return [{"image": {"bytes": encoded(picture(seed + number)), "path": f"{seed + number}.png"}, "label": label, **more}
            for number, label in enumerate(labels)]


def tar(members: Sequence[tuple[str | tarfile.TarInfo, bytes]]) -> bytes:
    """A tar file of these members in this order; a ``TarInfo`` stands as it is."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for member, data in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if not isinstance(member, tarfile.TarInfo):
                info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def samples(labels: Sequence[Any], seed: int = 0) -> list[tuple[str, bytes]]:
    """Members of WebDataset samples: a picture, its label, and a caption that nobody reads."""
    return [one for number, label in enumerate(labels, seed) for one in (
        (f"{number:04d}.png", encoded(picture(number))), (f"{number:04d}.cls", str(label).encode()), (f"{number:04d}.txt", b"a caption"))]


def cifar_batches(per_class: int = 2, seed: int = 0, classes: int = len(NAMES)) -> dict[str, tuple[np.ndarray, list[int]]]:
    """Six batches of noise with ``per_class`` images of each class in each of them."""
    rng = np.random.default_rng(seed)
    labels = [label for label in range(classes) for _ in range(per_class)]
    return {batch: (rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8), rng.permutation(labels).tolist())
            for batch in (*TRAIN, TEST)}


def cifar_binary(batches: Batches, home: bool = False) -> dict[str, bytes]:
    """The files of the binary layout; ``home``: with the published folder around them."""
    layout = LAYOUTS[1 if home else 0]
    files = {layout.batch(batch): b"".join(bytes([label]) + row.tobytes() for row, label in zip(planes, labels, strict=True))
             for batch, (planes, labels) in batches.items()}
    return files | {layout.names: "\n".join([*NAMES, ""]).encode()}


def cifar_python(batches: Batches, home: bool = False, protocol: int = 2, keys: type = bytes) -> dict[str, bytes]:
    """The files of the python layout."""
    def key(name: str) -> bytes | str:
        return name if keys is str else name.encode()

    layout = LAYOUTS[3 if home else 2]
    files = {layout.batch(batch): pickle.dumps({key("data"): planes, key("labels"): labels}, protocol)
             for batch, (planes, labels) in batches.items()}
    return files | {layout.names: pickle.dumps({key("label_names"): [key(name) for name in NAMES]}, protocol)}
