"""One Parquet file of images: its columns, its class names, its rows in batches. Knows no storage.

Columns of bytes and text are read as Arrow dictionaries: a page may name one value a million times, and would else be
written out that often. A row group says how large it is unpacked, and one beyond the limit is refused before it is.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import DataError

BATCH = 64             # rows unpacked at a time
LONGEST_TEXT = 65536   # bytes of a label, part, group or id
AGAIN = "fetch or write the file again"


@dataclass(frozen=True, slots=True)
class Row:
    """One row; ``problem`` says why it cannot be used, empty where it can. ``cells``: label, split, group, id."""

    number: int
    image: bytes
    cells: Mapping[str, Any]
    problem: str


class File:
    """``columns``: the names of ``image`` and of whichever of label, split, group and id are asked for."""

    def __init__(self, data: bytes, path: str, columns: Mapping[str, str], max_bytes: int, max_group_bytes: int) -> None:
        """Raise ``DataError`` for a file that is no whole Parquet file, lacks a column, or holds a row group too large."""
        self._path, self._max_bytes = path, max_bytes
        with _told(path):
            self._opened(pa.BufferReader(data), columns, max_group_bytes)

    def _opened(self, data: pa.BufferReader, columns: Mapping[str, str], max_group_bytes: int) -> None:
        schema = pq.ParquetFile(data).schema_arrow
        self._leaves = {role: self._leaf(schema, role, name) for role, name in columns.items()}
        image = self._leaves["image"]
        self._outside = (*image[:-1], "path") if len(image) > 1 and _type_at(schema, (*image[:-1], "path")) is not None else None
        self.metadata = schema.metadata or {}
        leaves = [*self._leaves.values(), *([self._outside] if self._outside else [])]
        self._columns = [".".join(leaf) for leaf in leaves]
        packed = [".".join(leaf) for leaf in leaves if _is_bytes(_type_at(schema, leaf)) or _is_text(_type_at(schema, leaf))]
        self._file = pq.ParquetFile(data, read_dictionary=packed)
        for number in range(self._file.num_row_groups):
            # of the group, not of its columns: asked for those, Arrow ends the process on some damaged files
            size = self._file.metadata.row_group(number).total_byte_size
            if not 0 <= size <= max_group_bytes:
                raise DataError(f"row group {number} of {self._path} has {size} bytes unpacked; max_file_bytes={max_group_bytes} are "
                                "allowed", "write smaller row groups, or raise `max_file_bytes`")

    def _leaf(self, schema: pa.Schema, role: str, name: str) -> tuple[str, ...]:
        """The way to a column of flat values: ``image`` leads to ``image.bytes``. Raises ``DataError``."""
        leaf = (name,) if name in schema.names else tuple(name.split("."))
        kind = _type_at(schema, leaf)
        if kind is None:
            raise DataError(f"{self._path} has no column {name!r}; it has {', '.join(schema.names)[:500]}", f"set the option `{role}`")
        if role == "image" and pa.types.is_struct(kind):
            leaf, kind = (*leaf, "bytes"), _type_at(schema, (*leaf, "bytes"))
        empty = pa.types.is_null(kind) if kind is not None else False   # no row has any bytes, and each will say so
        fits = kind is not None and (_is_bytes(kind) or empty if role == "image" else _is_text(kind) or pa.types.is_integer(kind))
        if not fits:
            able = "binary, or a struct with binary `bytes`" if role == "image" else "whole numbers or texts"
            raise DataError(f"column {name!r} of {self._path} is {_type_at(schema, leaf[:1])}; its {role} must be {able}",
                            f"set the option `{role}`")
        return leaf

    def names(self, column: str) -> tuple[str, ...] | None:
        """The class names that the Hugging Face metadata of the schema give a column of whole numbers; None without."""
        try:
            feature = json.loads(self.metadata[b"huggingface"])["info"]["features"][column]
            names = feature["names"] if feature["_type"] == "ClassLabel" else None
        except (KeyError, TypeError, ValueError, RecursionError):   # metadata of another tool
            return None
        good = isinstance(names, list) and names and len(set(map(str, names))) == len(names) and all(
            isinstance(one, str) and 0 < len(one) <= 200 and one.isprintable() for one in names)
        if names is not None and not good:
            raise DataError(f"the metadata of {self._path} name no usable classes in {column!r}: {str(names)[:200]}",
                            "set the option `names`")
        return tuple(names) if names else None

    def rows(self, wanted: Collection[int] | None = None) -> Iterator[Row]:
        """All rows, or those of these numbers, in their order. Raises ``DataError`` for a damaged file."""
        begin = 0
        for group in range(self._file.num_row_groups):
            count = self._file.metadata.row_group(group).num_rows
            if wanted is None or any(begin <= number < begin + count for number in wanted):
                with _told(self._path):
                    batches = self._file.iter_batches(batch_size=BATCH, row_groups=[group], columns=self._columns)
                at = begin
                while True:
                    with _told(self._path):
                        batch = next(batches, None)
                    if batch is None:
                        break
                    with _told(self._path):
                        columns = {leaf: _Column(batch, leaf) for leaf in {*self._leaves.values(), self._outside} - {None}}
                    here = (number for number in range(at, at + len(batch)) if wanted is None or number in wanted)
                    yield from (self._row(columns, number, at) for number in here)
                    at += len(batch)
                if at != begin + count:
                    raise DataError(f"row group {group} of {self._path} holds {at - begin} rows, and says {count}", AGAIN)
            begin += count

    def _row(self, columns: Mapping[tuple[str, ...], "_Column"], number: int, first: int) -> Row:
        cells: dict[str, Any] = {}
        problem, image = "", b""
        for role, leaf in self._leaves.items():
            most = self._max_bytes if role == "image" else LONGEST_TEXT
            size, value = columns[leaf].cell(number - first, most)
            if size > most:
                option = "max_bytes=" if role == "image" else ""
                problem = problem or f"its {role} has {size} bytes; {option}{most} are allowed"
            elif role == "image":
                image = value or b""
            else:
                cells[role] = value
        if not image and not problem:
            _, outside = columns[self._outside].cell(number - first, LONGEST_TEXT) if self._outside else (0, None)
            problem = (f"its bytes are not in the file: it names the outside file {outside[:80]!r}, and such are not read" if outside
                       else "it has no image")
        return Row(number, image, cells, problem)


class _told:
    """What pyarrow raises becomes a ``DataError`` that names the file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, DataError):
            words = " ".join(str(error).split())[:300] or type(error).__name__
            raise DataError(f"{self._path} is damaged, truncated or no Parquet file: {words}", AGAIN) from None


def _type_at(schema: pa.Schema, leaf: tuple[str, ...]) -> pa.DataType | None:
    """The type of a nested column; None if there is none, or two of its name."""
    if schema.get_field_index(leaf[0]) < 0:
        return None
    kind = schema.field(leaf[0]).type
    for name in leaf[1:]:
        if not pa.types.is_struct(kind) or kind.get_field_index(name) < 0:
            return None
        kind = kind.field(name).type
    return kind


def _is_bytes(kind: pa.DataType | None) -> bool:
    return kind is not None and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_text(kind: pa.DataType | None) -> bool:
    if kind is not None and pa.types.is_dictionary(kind):
        kind = kind.value_type
    return kind is not None and (pa.types.is_string(kind) or pa.types.is_large_string(kind))


class _Column:
    """A nested column of a batch. Sizes are known before a value is taken out, because taking it out copies it."""

    def __init__(self, batch: pa.RecordBatch, leaf: tuple[str, ...]) -> None:
        column = batch.column(leaf[0])
        there = column.is_valid()
        for name in leaf[1:]:
            column = column.field(name)   # tells nothing of the validity of what it is in
            there = pc.and_(there, column.is_valid())
        self._values, self._places = column, None
        if pa.types.is_dictionary(column.type):
            self._values, self._places = column.dictionary, pc.fill_null(column.indices, 0).to_numpy(zero_copy_only=False)
            outside = self._places[there.to_numpy(zero_copy_only=False)]
            if len(outside) and not 0 <= outside.min() <= outside.max() < len(self._values):   # Arrow does not look
                raise ValueError(f"column {'.'.join(leaf)} points outside its dictionary of {len(self._values)} values")
        measured = _is_bytes(self._values.type) or _is_text(self._values.type)
        self._sizes = pc.fill_null(pc.binary_length(self._values), 0).to_numpy(zero_copy_only=False) if measured else None
        self._there = there.to_numpy(zero_copy_only=False)

    def cell(self, at: int, most: int) -> tuple[int, Any]:
        """Size in bytes (0 of a number) and value, which is None if there is none or it is larger than ``most``."""
        if not self._there[at]:
            return 0, None
        place = int(at if self._places is None else self._places[at])
        size = int(self._sizes[place]) if self._sizes is not None else 0
        if size > most:
            return size, None
        value = self._values[place]
        try:
            return size, value.as_py()
        except UnicodeDecodeError:
            return size, value.as_buffer().to_pybytes().decode("utf-8", "replace")
