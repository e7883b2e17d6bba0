"""The recommended training set as a file: one row per image of the mix at α*, real and synthetic.

``mix.parquet``, columns: ``kind`` (real or synthetic), ``id``, ``label`` (name of the class), ``class_key``, ``digest``
(of a real image's pixels), and where a synthetic image lies: ``shard`` (key below the root), ``row`` in it, and
``index`` among its class's samples. Real images come first, then class by class, by ascending index. Real images are
never copied: with privacy not even their names are, and the digest stands for the id.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from job import mixing
from job.ground import lineage
from job.publish.gather import Held, Shard
from job.records import ClassTake, Mix, Split
from job.runplan import RunPlan

ROWS = 1 << 14   # of a row group, about
SCHEMA = pa.schema([
    ("kind", pa.string()), ("id", pa.string()), ("label", pa.string()), ("class_key", pa.string()), ("digest", pa.string()),
    ("shard", pa.string()), ("row", pa.int32()), ("index", pa.int64()),
])


def recommend(planned: RunPlan, split: Split, alpha: float, held: Sequence[Held]) -> Mix:
    """The mix at ``alpha``. Raises ``QualityError`` if fewer images were kept than it takes."""
    train = split.part("train")
    kept = {one.words.key: one.kept for one in held}
    return mixing.mix(alpha, planned.alphas, train["id"].to_pylist(), train["label"].to_pylist(), planned.classes, kept,
                      planned.salting)


def mix_bytes(planned: RunPlan, split: Split, mix: Mix, held: Sequence[Held], privacy: bool) -> bytes:
    """``mix.parquet``: the same mix gives the same bytes."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", use_dictionary=["kind", "label", "class_key", "shard"]) as writer:
        writer.write_table(_real(planned, split, mix, privacy))
        shards = {one.words.key: one.shards for one in held}
        for take in mix.synthetic:
            group: list[pa.RecordBatch] = []
            for batch in _synthetic(planned.recipe.id, take, shards[take.words.key]):
                group.append(batch)
                if sum(map(len, group)) >= ROWS:
                    writer.write_table(pa.Table.from_batches(group, SCHEMA))
                    group = []
            writer.write_table(pa.Table.from_batches(group, SCHEMA))
    return sink.getvalue().to_pybytes()


def _synthetic(recipe: str, take: ClassTake, shards: Sequence[Shard]) -> Iterator[pa.RecordBatch]:
    """What the mix takes of one class, a batch per shard."""
    indices, words = take.indices(), take.words
    for shard in shards:
        mine = indices[slice(*np.searchsorted(indices, [shard.unit.lo, shard.unit.hi]))]
        n = len(mine)
        yield pa.record_batch([
            pa.repeat("synthetic", n), pa.array([lineage.sample_id(recipe, words.key, int(one)) for one in mine], pa.string()),
            pa.repeat(words.name, n), pa.repeat(words.key, n), pa.nulls(n, pa.string()), pa.repeat(shard.file.key, n),
            pa.array(shard.row_of(mine).astype(np.int32)), pa.array(mine.astype(np.int64)),
        ], schema=SCHEMA)


def _real(planned: RunPlan, split: Split, mix: Mix, privacy: bool) -> pa.Table:
    wanted = set(mix.real_ids)
    train = split.part("train").select(["id", "label", "digest"])
    rows = [row for row in train.to_pylist() if row["id"] in wanted]
    names = [planned.classes[row["label"]] for row in rows]
    return pa.Table.from_pydict({
        "kind": ["real"] * len(rows), "id": [row["digest" if privacy else "id"] for row in rows], "label": [one.name for one in names],
        "class_key": [one.key for one in names], "digest": [row["digest"] for row in rows],
        "shard": [None] * len(rows), "row": [None] * len(rows), "index": [None] * len(rows),
    }, schema=SCHEMA)
