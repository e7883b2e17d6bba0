"""Rows of many shards → groups of bounded size → files of about one size. Pure: the same rows give the same groups.

Where a group or a file ends depends on the sizes of the rows and their order alone, not on how shards cut them, so a
packing that was interrupted goes on from the first row of any file and gives the files that it would have given.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

Place = tuple[int, int]   # number of a shard, and of a row among those that are taken of it


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, above 0: of a group, of a file, and what a row takes beside its image (a guess, always the same)."""

    group: int
    file: int
    row: int


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that are written together, by ascending id. ``opens``: they begin a file; ``start``: where the first of them stood."""

    table: pa.Table
    opens: bool
    start: Place


def groups(shards: Iterable[tuple[Place, pa.Table]], limits: Limits) -> Iterator[Group]:
    """Pack the rows of all shards, in their order; ``shards`` gives tables, and the place of the first row of each.

    Neither limit is passed, except by a single row that is larger. Ids are hashes, so ascending ids are a shuffle that
    everybody gets alike: a reader that streams meets the classes of a group mixed. No more than one group and one shard
    is held.
    """
    held: list[pa.Table] = []
    in_group = in_file = 0
    opens, start = True, (0, 0)
    for (shard, first), table in shards:
        begin = 0
        for row, size in enumerate(_sizes(table, limits.row)):
            full = in_file + size > limits.file
            if in_group and (full or in_group + size > limits.group):
                yield Group(_by_id([*held, table.slice(begin, row - begin)]), opens, start)
                held, begin, in_group, opens = [], row, 0, full
                in_file = 0 if full else in_file
            if not in_group:
                start = (shard, first + row)
            in_group += size
            in_file += size
        held.append(table.slice(begin))
    if in_group:
        yield Group(_by_id(held), opens, start)


def _sizes(table: pa.Table, beside: int) -> list[int]:
    """Bytes by row."""
    images = pc.binary_length(pc.struct_field(table["image"], "bytes"))
    return [size + beside for size in images.to_pylist()]


def _by_id(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables).sort_by("id")
