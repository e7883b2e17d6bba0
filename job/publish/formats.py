"""How exported images are written: compacted Parquet, and the tar files that WebDataset streams.

Both are functions of their rows: no clock, user or host stands in them, so the same rows give the same bytes (Parquet:
by the same pyarrow, whose version stands in every file).
"""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from job.ground import lineage, shards

Kind = Literal["parquet", "webdataset"]
SUFFIXES: dict[Kind, str] = {"parquet": "parquet", "webdataset": "tar"}
BESIDE_IMAGE: dict[Kind, int] = {"parquet": 128, "webdataset": 3072}   # bytes: in a tar three headers, cls, json, padding
EXTENSIONS = {".jpeg": "jpg"}   # as WebDataset names it


class Writer(Protocol):
    """One file in the making."""

    def write(self, table: pa.Table) -> None:
        """Add rows of ``shards.SCHEMA``."""

    def close(self) -> None:
        """Make the file whole."""


def writer(kind: Kind, path: Path, class_index: Mapping[str, int]) -> Writer:
    """A new file of this kind at ``path``; ``class_index``: class key → number of the class."""
    return _Parquet(path) if kind == "parquet" else _Tar(path, class_index)


class _Parquet:
    """The columns of a shard, with the metadata by which Hugging Face ``datasets`` knows the image; a row group per table."""

    def __init__(self, path: Path) -> None:
        self._file = pq.ParquetWriter(path, shards.SCHEMA, compression=dict.fromkeys(shards.WORDS, "zstd"),
                                      use_dictionary=shards.REPEATING)

    def write(self, table: pa.Table) -> None:
        self._file.write_table(table.select(shards.SCHEMA.names).cast(shards.SCHEMA), row_group_size=max(1, len(table)))

    def close(self) -> None:
        self._file.close()


class _Tar:
    """Per image ``<id>.cls`` (number of its class), ``<id>.json`` (all the other columns) and ``<id>.png`` or ``.jpg``."""

    def __init__(self, path: Path, class_index: Mapping[str, int]) -> None:
        self._file = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)   # noqa: SIM115 (open across calls)
        self._class_index = class_index

    def write(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            image = row.pop("image")
            suffix = Path(image["path"]).suffix
            self._add(f"{row['id']}.cls", str(self._class_index[row["class_key"]]).encode())
            self._add(f"{row['id']}.json", lineage.canonical(row).encode())
            self._add(f"{row['id']}.{EXTENSIONS.get(suffix, suffix.lstrip('.'))}", image["bytes"])

    def _add(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)   # mtime, uid and gid are 0, and no user is named
        member.size, member.mode = len(data), 0o644
        self._file.addfile(member, io.BytesIO(data))

    def close(self) -> None:
        self._file.close()
