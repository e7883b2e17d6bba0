"""Images inside Parquet files, in the layout of the Hugging Face hub or with plain binary columns.

An image is a struct ``{bytes, path}`` or a binary column; a label is a whole number, whose names stand in the ``huggingface``
metadata of the schema (``ClassLabel``) or in an option, or a text. What is published as train, validation or test is told
by file or folder names (``train-00000-of-00003.parquet``, ``validation/0000.parquet``) or by a column. Files of other kinds
are not looked at. Source: https://huggingface.co/docs/datasets/repository_structure and /image_dataset.

One whole file is held at a time (a folder is read file by file), its rows in batches.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from job.errors import DataError
from job.real import Folder, rows
from job.real.parquet_files import File, Row
from job.records import RealIndex

SUFFIX = ".parquet"
Name = Annotated[str, StringConstraints(min_length=1)]


class Parquet:
    """Images, labels, published parts and groups from the columns of Parquet files."""

    class Options(BaseModel):
        """What to read, from which columns, and what to refuse."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        url: str = Field(
            min_length=1, description="folder, bucket prefix or web folder (http, https) that holds the Parquet files",
            json_schema_extra={"identity": False})   # the digests tell the data; where they lie does not matter
        image: Name = Field("image", description="column of the images: a struct of bytes and path, or binary")
        label: Name = Field("label", description="column of the labels: whole numbers or texts")
        split: str = Field("", description="column that says train, validation or test; unset: file and folder names do")
        group: str = Field("", description="column of what must stay on one side: patient, board, video; unset: every image alone")
        id: str = Field("", description="column of unique ids, such as `image.path`; unset: file and row number")
        names: tuple[Name, ...] | None = Field(
            None, min_length=1, description="class names of the whole-number labels, from 0 on; unset: as the schema says, else numbers")
        classes: tuple[Name, ...] | None = Field(
            None, min_length=1, description="classes to use, in the order of their labels; unset: all")
        max_pixels: int = Field(
            64_000_000, ge=1, le=89_478_485,   # Pillow warns from there on
            description="largest image, width times height in pixels; checked before decoding, larger ones are refused")
        max_bytes: int = Field(64 * 2**20, ge=1, le=2**30, description="largest encoded image in bytes; rows with larger ones are refused")
        max_file_bytes: int = Field(
            2 * 2**30, ge=1, le=2**36, description="largest file, and row group unpacked, in bytes; one whole file is held in memory",
            json_schema_extra={"identity": False})   # a larger one ends the job
        readers: int = Field(
            8, ge=1, le=64, description="images decoded at the same time", json_schema_extra={"identity": False})

        @field_validator("classes", "names")
        @classmethod
        def _distinct(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
            if names and len(set(names)) < len(names):
                raise ValueError("a class is named twice")
            return names

    def __init__(self, options: Options, open_folder: Callable[[str], Folder]) -> None:
        self._options = options
        self._open = open_folder   # opened where it is needed: a source must travel to workers

    def index(self) -> RealIndex:
        """Raises ``DataError`` for a damaged file, a missing column, a class without images; rows are refused one by one."""
        folder = self._open(self._options.url)
        files = [(path, size) for path, size in sorted(folder.list()) if path.lower().endswith(SUFFIX)]
        if not files:
            raise DataError(f"no file ends in {SUFFIX}", "check `url`")
        found = rows.Rows(self._options.classes, self._options.max_pixels)
        published: list[tuple[str, ...]] = []
        found.look(self._raws(folder, files, found, published), self._options.readers)
        return found.index(published[0] if published else None)

    def _raws(
        self, folder: Folder, files: Sequence[tuple[str, int]], found: rows.Rows, published: list[tuple[str, ...]]
    ) -> Iterator[rows.Raw]:
        """Rows that may be usable, file by file; ``published`` takes the class names of each file."""
        asked = self._options
        for path, size in files:
            if reason := rows.unsafe(path):
                raise DataError(f"a file cannot be read: {reason}", "rename it")
            file = self._file(rows.read_whole(folder, path, size, asked.max_file_bytes, "max_file_bytes"), path, self._columns())
            names = asked.names or file.names(asked.label)
            if names and published and published[0] != names:
                raise DataError(f"{path} names other classes than {files[0][0]}: {', '.join(names)[:200]}", "give one dataset at a time")
            published += [names] if names else []
            for row in file.rows():
                place = f"{path}#{row.number}"
                try:
                    raw = self._raw(row, path, names)
                except DataError as error:
                    found.refuse(place, error.problem)
                    continue
                if found.wanted(raw.name):
                    yield raw

    def _raw(self, row: Row, path: str, names: Sequence[str] | None) -> rows.Raw:
        """Raises ``DataError`` with the reason why the row cannot be used."""
        if row.problem:
            raise DataError(row.problem)
        place, group, id = f"{path}#{row.number}", row.cells.get("group"), row.cells.get("id", f"{path}#{row.number}")
        return rows.Raw("" if id is None else str(id), row.image, rows.class_name(row.cells["label"], names), place, place,
                        self._part(row, path), "" if group is None or group == "" else rows.text(str(group), "group"))

    def _part(self, row: Row, path: str) -> str:
        if not self._options.split:
            return rows.part_of(path)
        part = rows.PARTS.get(str(row.cells["split"]).strip().lower())
        if part is None:
            raise DataError(f"its {self._options.split} {str(row.cells['split'])[:40]!r} is none of {', '.join(rows.PARTS)}")
        return part

    def _columns(self) -> dict[str, str]:
        asked = self._options
        named = {"image": asked.image, "label": asked.label, "split": asked.split, "group": asked.group, "id": asked.id}
        return {role: name for role, name in named.items() if name}

    def _file(self, data: bytes, path: str, columns: dict[str, str]) -> File:
        return File(data, path, columns, self._options.max_bytes, self._options.max_file_bytes)

    def load(self, table: pa.Table) -> Iterator[np.ndarray]:
        """Raises ``DataError`` for an image that changed since the index, whatever ``Folder.read`` raises, too."""
        folder = self._open(self._options.url)
        last: dict[str, File] = {}

        def fetch(path: str, keys: Sequence[str]) -> dict[str, bytes]:
            if path not in last:
                last.clear()   # before the next one is read: never two at a time
                last[path] = self._file(folder.read(path), path, {"image": self._options.image})
            return {str(row.number): row.image for row in last[path].rows({int(key) for key in keys if key.isdecimal()}) if not row.problem}

        yield from rows.load(table, fetch, self._options.max_pixels, self._options.readers)
