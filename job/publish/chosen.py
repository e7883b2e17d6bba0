"""Which samples of a version are exported, and their rows, read from its shards. Nothing but what was kept comes out."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import DataError
from job.ground import shards
from job.ground.store import Store
from job.publish.model import File, Version

What = Literal["mix", "kept"]
CURE = "python -m job verify names all that is missing or changed: restore it, or run the job again and export the new version"


@dataclass(frozen=True, slots=True)
class Piece:
    """One shard, and which of the indices from ``lo`` on are wanted of it: bool, one per index of its unit, some true."""

    file: File
    lo: int
    wanted: np.ndarray

    @property
    def class_key(self) -> str:
        return self.file.class_key

    @property
    def rows(self) -> int:
        return int(self.wanted.sum())


def pieces(store: Store, version: Version, what: What) -> list[Piece]:
    """The shards that hold wanted samples, by first index and class, whatever the order of the version's list.

    Raises ``DataError`` if the mix names a sample that was not kept, or no single shard holds one.
    """
    units = sorted((_unit(file) for file in version.of("images")), key=lambda one: (one[1], one[0].class_key))
    size: dict[str, int] = {}
    for file, lo, hi in units:
        if lo < size.get(file.class_key, 0):
            raise DataError(f"{file.key} overlaps with another shard of its class", CURE)
        size[file.class_key] = hi
    wanted = {file.class_key: _bitmap(_kept(store, file), size.get(file.class_key, 0), file) for file in version.of("decisions")}
    if what == "mix":
        mixed = _mixed(store, version, size)
        for key in set(mixed) | set(wanted):
            kept = wanted.get(key, np.zeros(size.get(key, 0), dtype=bool))
            wanted[key] = mixed.get(key, np.zeros_like(kept))
            if (wanted[key] & ~kept).any():
                index = int(np.flatnonzero(wanted[key] & ~kept)[0])
                raise DataError(f"the mix of version {version.number} names sample {index} of {key}, which was not kept", CURE)
    found = [Piece(file, lo, wanted[file.class_key][lo:hi]) for file, lo, hi in units if file.class_key in wanted]
    found = [piece for piece in found if piece.wanted.any()]
    missing = sum(int(one.sum()) for one in wanted.values()) - sum(piece.rows for piece in found)
    strangers = sorted({piece.class_key for piece in found} - {one.key for one in version.classes})
    if missing or strangers:
        raise DataError(f"version {version.number} names no shard for {missing} wanted images" if missing else
                        f"version {version.number} has images of {strangers[0]}, which is none of its classes", CURE)
    return found


def read(store: Store, piece: Piece) -> pa.Table:
    """The wanted rows of one shard, in their order. Raises ``DataError`` if it is not the shard that was published."""
    table = shards.read(_read(store, piece.file))
    at = table["index"].to_numpy() - piece.lo
    inside = (at >= 0) & (at < len(piece.wanted)) & pc.equal(table["class_key"], piece.class_key).to_numpy()
    mine = np.zeros(len(at), dtype=bool)
    mine[inside] = piece.wanted[at[inside]]
    if len(np.unique(at[mine])) != piece.rows or mine.sum() != piece.rows:
        raise DataError(f"{piece.file.key} does not hold each of {piece.rows} wanted images once", CURE)
    return table.filter(pa.array(mine))


def _unit(file: File) -> tuple[File, int, int]:
    """The shard's index range, which is part of its name."""
    _, lo, hi, _ = file.key.rpartition("/")[2].rsplit("-", 3)
    return file, int(lo), int(hi)


def _read(store: Store, file: File) -> bytes:
    try:
        return store.read(file.key, sha256=file.sha256)
    except KeyError:
        raise DataError(f"{file.key} of this version is missing", CURE) from None


def _kept(store: Store, file: File) -> Iterator[np.ndarray]:
    for batch in pq.ParquetFile(io.BytesIO(_read(store, file))).iter_batches(columns=["index", "state"]):
        yield batch.filter(pc.equal(batch["state"], "kept"))["index"].to_numpy()


def _mixed(store: Store, version: Version, size: dict[str, int]) -> dict[str, np.ndarray]:
    """By class, the synthetic samples of the recommended mix."""
    found: dict[str, list[np.ndarray]] = {}
    (file,) = version.of("mix")
    for batch in pq.ParquetFile(io.BytesIO(_read(store, file))).iter_batches(columns=["kind", "class_key", "index"]):
        synthetic = batch.filter(pc.equal(batch["kind"], "synthetic"))
        for key in pc.unique(synthetic["class_key"]).to_pylist():
            found.setdefault(key, []).append(synthetic.filter(pc.equal(synthetic["class_key"], key))["index"].to_numpy())
    return {key: _bitmap(iter(indices), size.get(key, 0), file) for key, indices in found.items()}


def _bitmap(indices: Iterator[np.ndarray], size: int, file: File) -> np.ndarray:
    """bool (size,): true at these indices. Raises ``DataError`` if one lies beyond, where there is no shard."""
    bitmap = np.zeros(size, dtype=bool)
    for some in indices:
        if len(some) and (some.min() < 0 or some.max() >= size):
            raise DataError(f"{file.key} names sample {int(some.max())}, for which there is no shard", CURE)
        bitmap[some] = True
    return bitmap
