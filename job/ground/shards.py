"""How a shard is packed and read: Parquet in the layout that Hugging Face ``datasets`` opens as images.

The class stands in a shard by name, not by number: shards are shared by datasets that number their classes differently.
"""

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from job.ground import lineage, pixels
from job.records import Origin, Recipe, SampleSpec

SEAL = b"sha256 of this file with zeros instead: "
ZEROS = b"0" * 64
SOURCE_TYPE = "trainedAlgorithmicMedia"   # IPTC digitalSourceType, as a column beside the mark inside each image

_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
SCHEMA = pa.schema(
    [
        ("image", _IMAGE),
        ("label", pa.string()),
        ("class_key", pa.string()),
        ("id", pa.string()),
        ("index", pa.int64()),
        ("prompt", pa.string()),
        ("seed_used", pa.int64()),
        ("redraw", pa.int32()),
        ("recipe", pa.string()),
        ("model", pa.string()),
        ("revision", pa.string()),
        ("licence", pa.string()),
        ("depth", pa.int32()),
        ("ancestry", pa.list_(pa.string())),
        ("digital_source_type", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": {
        "image": {"_type": "Image"},
        **{name: {"dtype": "string", "_type": "Value"}
           for name in ("label", "class_key", "id", "prompt", "recipe", "model", "revision", "licence", "digital_source_type")},
        "index": {"dtype": "int64", "_type": "Value"},
        "seed_used": {"dtype": "int64", "_type": "Value"},
        "redraw": {"dtype": "int32", "_type": "Value"},
        "depth": {"dtype": "int32", "_type": "Value"},
        "ancestry": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
    }}})},
)
# Columns as Parquet stores them. Images are compressed already: zstd would only cost time, and a dictionary be thrown away.
WORDS = [*(field.name for field in SCHEMA if not pa.types.is_nested(field.type)), "ancestry.list.element"]
REPEATING = [name for name in WORDS if name not in ("id", "index", "seed_used")]


def pack(recipe: Recipe, origin: Origin, drawn: Sequence[tuple[SampleSpec, bytes]]) -> bytes:
    """Encoded images and their specs as one Parquet file: the same bytes for the same input and pyarrow."""
    n = len(drawn)
    specs = [spec for spec, _ in drawn]
    columns = {
        "image": [{"bytes": data, "path": f"{spec.id}.{recipe.encoding}"} for spec, data in drawn],
        "label": [spec.words.name for spec in specs],
        "class_key": [spec.words.key for spec in specs],
        "id": [spec.id for spec in specs],
        "index": [spec.index for spec in specs],
        "prompt": [spec.prompt for spec in specs],
        "seed_used": [spec.seed for spec in specs],
        "redraw": [spec.redraw for spec in specs],
        "recipe": [recipe.id] * n,
        "model": [origin.model] * n,
        "revision": [origin.revision] * n,
        "licence": [origin.licence] * n,
        "depth": [origin.depth] * n,
        "ancestry": [list(origin.ancestry)] * n,
        "digital_source_type": [SOURCE_TYPE] * n,
    }
    return table_bytes(pa.Table.from_pydict(columns, schema=SCHEMA), compression=dict.fromkeys(WORDS, "zstd"), use_dictionary=REPEATING)


def read(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The shard as a table."""
    return pq.read_table(io.BytesIO(data), columns=list(columns) if columns else None)


def images(table: pa.Table) -> Iterator[np.ndarray]:
    """Decoded uint8 HWC RGB, in the order of the rows."""
    for row in table["image"]:
        yield pixels.decode(row["bytes"].as_py())


def sealed(table: pa.Table) -> bytes:
    """A table as Parquet that bears its own digest, for objects whose key and record tell none."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, compression="zstd") as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"seal": SEAL + ZEROS})
    data = sink.getvalue().to_pybytes()
    return _with(data, lineage.sha256(data).encode())


def unsealed(data: bytes) -> pa.Table | None:
    """The table, or None if these bytes are not those that were sealed."""
    intact = SEAL in data and _with(data, lineage.sha256(_with(data, ZEROS)).encode()) == data
    return pq.read_table(io.BytesIO(data)) if intact else None


def _with(data: bytes, digest: bytes) -> bytes:
    """The sealed file with another digest in its place: in the footer, so the last one counts."""
    at = data.rindex(SEAL) + len(SEAL)
    return data[:at] + digest + data[at + len(ZEROS) :]


def table_bytes(table: pa.Table, compression: Any = "zstd", **how: Any) -> bytes:
    """Any table as Parquet; ``how`` as ``pyarrow.parquet.write_table`` takes it."""
    sink = pa.BufferOutputStream()   # an io.BytesIO costs four times as much: every write passes through Python
    pq.write_table(table, sink, compression=compression, **how)
    return sink.getvalue().to_pybytes()
