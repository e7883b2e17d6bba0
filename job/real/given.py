"""The user's own table of parts and groups, laid over what a source says.

A CSV or Parquet file with a column ``id`` and ``part`` (train, val, test, aside; empty: as the source says), ``group``
(empty: none), or both. What it says counts as published, so it is honoured, and it enters the digest of the index:
another table makes another run. A tool, not a source.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from job.errors import DataError, redact
from job.real import Folder, rows
from job.records import RealIndex

MOST_BYTES = 512 * 2**20   # of the file
MOST_TEXT = 65536          # bytes of a cell
SUFFIXES = (".csv", ".parquet")
PARTS = rows.PARTS | {"aside": "aside"}
CURE = "give a CSV or Parquet file with the columns id, and part or group"


def override(index: RealIndex, url: str, open_folder: Callable[[str], Folder]) -> RealIndex:
    """The index with the parts and groups of the table at ``url``; images that it does not name stay as they are.

    Raises ``DataError`` naming the row (the first line of a CSV file is line 1) for an unknown, repeated or empty id and
    an unknown part; for a file that is too large, binary, or lacks a column; and whatever reading raises.
    """
    folder_url, name = _apart(url)
    shown = redact(url)
    if PurePosixPath(name.partition("?")[0]).suffix.lower() not in SUFFIXES:
        raise DataError(f"{shown} ends in none of {', '.join(SUFFIXES)}", CURE)
    table, first = _read(open_folder(folder_url), name, shown)
    for column in ("part", "group"):
        if column in table.column_names:
            index = _lay(index, table, column, first, shown)
    return index


def _apart(url: str) -> tuple[str, str]:
    """The folder of a file's URL, and its name in it."""
    path, question, query = url.partition("?")
    scheme, slashes, place = path.rpartition("://")
    folder, slash, name = place.rpartition("/")
    return f"{scheme}{slashes}{folder or slash or ('' if slashes else '.')}", f"{name}{question}{query}"


def _read(folder: Folder, name: str, shown: str) -> tuple[pa.Table, int]:
    """The columns id, part and group as text without null, and the number of the first row as a person counts."""
    size = next((size for path, size in folder.list() if path == name), None)
    if size is None:
        raise DataError(f"{shown} does not exist", "correct the URL, or the permission to list its folder")
    data = rows.read_whole(folder, name, size, MOST_BYTES, "the limit of such a table")
    packed = name.lower().endswith(".parquet")
    try:
        table = _parquet(data) if packed else _csv(data)
    except DataError as error:
        raise DataError(f"{shown} {error.problem}", CURE) from None
    except Exception as error:   # pyarrow raises whatever it stumbles over
        words = " ".join(str(error).split())[:200]
        raise DataError(f"{shown} is no {'Parquet' if packed else 'CSV'} file that can be read: {words}", CURE) from None
    lacking = "id" not in table.column_names or not {"part", "group"} & set(table.column_names)
    if lacking or len(set(table.column_names)) < table.num_columns:
        raise DataError(f"{shown} has the columns {', '.join(table.column_names)[:200]}", CURE)
    wanted = [column for column in ("id", "part", "group") if column in table.column_names]
    return pa.table({column: pc.fill_null(table[column], "") for column in wanted}), 0 if packed else 2


def _csv(data: bytes) -> pa.Table:
    if b"\0" in data:
        raise DataError("is binary, not CSV")
    def ragged(row: pa.csv.InvalidRow) -> str:
        bad.append(row)
        return "error"

    bad: list[pa.csv.InvalidRow] = []
    parse = pa.csv.ParseOptions(invalid_row_handler=ragged)
    read = pa.csv.ReadOptions(use_threads=False)   # several threads do not count lines
    kinds = dict.fromkeys(("id", "part", "group"), pa.string())   # or an id 007 would be the number 7
    convert = pa.csv.ConvertOptions(column_types=kinds, strings_can_be_null=False)
    try:
        return pa.csv.read_csv(io.BytesIO(data), read, parse, convert)
    except pa.ArrowInvalid:
        if not bad:
            raise
        where = "a line" if bad[0].number is None else f"line {bad[0].number}"
        raise DataError(f"has {bad[0].actual_columns} cells in {where}, and {bad[0].expected_columns} columns") from None


def _parquet(data: bytes) -> pa.Table:
    schema = pq.ParquetFile(pa.BufferReader(data)).schema_arrow
    wanted = [name for name in ("id", "part", "group") if name in schema.names]
    texts = [name for name in wanted if not pa.types.is_integer(schema.field(name).type)]
    file = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)   # a page may name one long text a million times
    parts = []
    for batch in file.iter_batches(batch_size=1024, columns=wanted):
        batch.validate(full=True)   # a damaged page may point outside its dictionary
        for name in texts:
            column = batch.column(name)
            if pa.types.is_dictionary(column.type) and (pc.max(pc.binary_length(column.dictionary)).as_py() or 0) > MOST_TEXT:
                raise DataError(f"has a text of more than {MOST_TEXT} bytes in column {name!r}")
        parts.append(batch.cast(pa.schema([(name, pa.string()) for name in batch.schema.names])))
    found = sum(len(one) for one in parts)
    if found != file.metadata.num_rows:   # a damaged column may end the reading without an error
        raise DataError(f"has {file.metadata.num_rows} rows, of which {found} can be read")
    return pa.Table.from_batches(parts, pa.schema([(name, pa.string()) for name in wanted]))


def _lay(index: RealIndex, table: pa.Table, column: str, first: int, shown: str) -> RealIndex:
    """One column of the table laid over the index."""
    word = "line" if first else "row"
    at = {id: number for number, id in enumerate(index.table["id"].to_pylist())}
    refused = {one.item for one in index.refused}
    target = "published" if column == "part" else "group"
    values = index.table[target].to_pylist()
    seen: dict[str, int] = {}
    for number, (id, value) in enumerate(zip(table["id"].to_pylist(), table[column].to_pylist(), strict=True), first):
        where = f"{word} {number} of {shown}"
        if id in seen:
            raise DataError(f"{where} names {id[:80]!r} again, after {word} {seen[id]}", "name every image once")
        seen[id] = number
        if id in refused:   # it was listed before anybody knew that it cannot be used
            continue
        if id not in at:
            raise DataError(f"{where} names {id[:80]!r}, which is no image of the real source", f"use ids such as {next(iter(at))!r}")
        if column == "group":
            if len(value) > rows.LONGEST_NAME or not value.isprintable():
                raise DataError(f"{where} has a group of {len(value)} characters; {rows.LONGEST_NAME} printable ones are allowed",
                                "shorten it")
            values[at[id]] = value
        elif value:
            part = PARTS.get(value.strip().lower())
            if part is None:
                raise DataError(f"{where} has the part {value[:40]!r}", f"use one of {', '.join(PARTS)}, or nothing")
            values[at[id]] = part
    place = index.table.schema.get_field_index(target)
    field = index.table.schema.field(place)
    return replace(index, table=index.table.set_column(place, field, pa.array(np.array(values, object), pa.string())))
