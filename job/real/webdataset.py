"""Images in WebDataset shards: tar files in which ``0001.jpg`` and ``0001.cls`` are one sample.

The label stands in a member of its own (``.cls``: a whole number or a text) or under a key of the sample's ``.json``.
Published parts are told by file or folder names (``train-000.tar``, ``val/000.tar``). Files of other kinds are not
looked at; a compressed shard ends the job, because its size cannot be known before it is unpacked.
An id is ``<shard>#<key>``. One whole shard is held at a time.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from job.errors import DataError
from job.real import Folder, pixels, rows
from job.real.tar_files import Member, samples
from job.records import RealIndex

SUFFIX = ".tar"
PACKED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst", ".tar.lz4")
MOST_SMALL = 1 << 20   # bytes of a member that holds a label, and of the file of class names
PLACE = re.compile(r"\d{1,15}\+\d{1,15}", re.ASCII)
Name = Annotated[str, StringConstraints(min_length=1)]


class WebDataset:
    """Images, labels, published parts and groups from tar files."""

    class Options(BaseModel):
        """What to read, where the label stands, and what to refuse."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        url: str = Field(
            min_length=1, description="folder, bucket prefix or web folder (http, https) that holds the tar files",
            json_schema_extra={"identity": False})   # the digests tell the data; where they lie does not matter
        label: Name = Field("cls", description="kind of member that holds the label, such as cls or json", pattern="^[a-z0-9.]+$")
        label_key: str = Field("", description="key of the label, where that member is JSON")
        group_key: str = Field("", description="key in `json` of what must stay on one side: patient, board, video; unset: alone")
        names: tuple[Name, ...] | None = Field(
            None, min_length=1, description="class names of whole-number labels, from 0 on; unset: `names_file`, else the numbers")
        names_file: str = Field("", description="file below `url` with one class name a line, for whole-number labels from 0 on")
        classes: tuple[Name, ...] | None = Field(
            None, min_length=1, description="classes to use, in the order of their labels; unset: all")
        max_pixels: int = Field(
            64_000_000, ge=1, le=89_478_485,   # Pillow warns from there on
            description="largest image, width times height in pixels; checked before decoding, larger ones are refused")
        max_bytes: int = Field(64 * 2**20, ge=1, le=2**30, description="largest image member in bytes; larger ones are refused unread")
        max_file_bytes: int = Field(
            2 * 2**30, ge=1, le=2**36, description="largest tar file in bytes; one whole file is held in memory",
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
        """Raises ``DataError`` for a damaged or compressed shard and a class without images; samples are refused one by one."""
        folder = self._open(self._options.url)
        listing = sorted(folder.list())
        if packed := next((path for path, _ in listing if path.lower().endswith(PACKED)), None):
            raise DataError(f"{packed} is compressed, so its size is not known before it is unpacked", "unpack it to a plain tar file")
        shards = [(path, size) for path, size in listing if path.lower().endswith(SUFFIX)]
        if not shards:
            raise DataError(f"no file ends in {SUFFIX}", "check `url`")
        names = self._names(folder, dict(listing))
        found = rows.Rows(self._options.classes, self._options.max_pixels)
        found.look(self._raws(folder, shards, found, names), self._options.readers)
        return found.index(names)

    def load(self, table: pa.Table) -> Iterator[np.ndarray]:
        """Raises ``DataError`` for an image that changed since the index, whatever ``Folder.read`` raises, too."""
        folder = self._open(self._options.url)
        last: dict[str, bytes] = {}

        def fetch(path: str, keys: Sequence[str]) -> dict[str, bytes]:
            if path not in last:
                last.clear()   # before the next one is read: never two at a time
                last[path] = folder.read(path)
            places = {key: [int(number) for number in key.split("+")] for key in keys if PLACE.fullmatch(key)}
            # where the bytes stood; the digest tells if others stand there now
            return {key: last[path][begin : begin + size] for key, (begin, size) in places.items()}

        yield from rows.load(table, fetch, self._options.max_pixels, self._options.readers)

    def _names(self, folder: Folder, sizes: dict[str, int]) -> tuple[str, ...] | None:
        path = self._options.names_file
        if self._options.names or not path:
            return self._options.names
        if path not in sizes:
            raise DataError(f"there is no {path!r} below `url`", "correct the option `names_file`")
        data = rows.read_whole(folder, path, sizes[path], MOST_SMALL, "the limit of a list of names")
        try:
            names = tuple(rows.text(line, "class name") for line in data.decode().splitlines() if line.strip())
        except (UnicodeDecodeError, DataError) as error:
            raise DataError(f"{path} is no list of class names: {error}", "write one name a line, in UTF-8") from None
        if not names or len(set(names)) < len(names):
            raise DataError(f"{path} has {len(names)} class names, {len(set(names))} of them different", "name every class once")
        return names

    def _raws(
        self, folder: Folder, shards: Sequence[tuple[str, int]], found: rows.Rows, names: Sequence[str] | None
    ) -> Iterator[rows.Raw]:
        """Samples that may be usable, shard by shard."""
        for path, size in shards:
            if reason := rows.unsafe(path):
                raise DataError(f"a file cannot be read: {reason}", "rename it")
            data = rows.read_whole(folder, path, size, self._options.max_file_bytes, "max_file_bytes")

            def refuse(name: str, reason: str, path: str = path) -> None:
                found.refuse(f"{path}#{name}", reason)

            for members in samples(data, path, self._most, refuse):
                try:
                    raw = self._raw(members, data, path, names)
                except DataError as error:
                    refuse(members[0].key, error.problem)
                    continue
                if found.wanted(raw.name):
                    yield raw

    def _most(self, kind: str) -> int:
        if kind in self._small():
            return MOST_SMALL
        return self._options.max_bytes if _is_image(kind) else self._options.max_file_bytes   # what is not used is not read

    def _small(self) -> tuple[str, ...]:
        """The kinds of member that are read beside the image."""
        return (self._options.label, "json") if self._options.group_key else (self._options.label,)

    def _raw(self, members: Sequence[Member], data: bytes, path: str, names: Sequence[str] | None) -> rows.Raw:
        """Raises ``DataError`` with the reason why the sample cannot be used."""
        images = [member for member in members if _is_image(member.kind)]
        if len(images) != 1:
            raise DataError(f"it has {len(images)} images ({', '.join(member.kind for member in members)[:100]}), and a sample has one")
        texts = {member.kind: data[member.offset : member.offset + member.size] for member in members if member.kind in self._small()}
        label = self._label(texts)
        group = _value(texts, "json", self._options.group_key) if self._options.group_key else None
        (image,) = images
        return rows.Raw(
            f"{path}#{image.key}", data[image.offset : image.offset + image.size], rows.class_name(label, names),
            f"{path}#{image.key}", f"{path}#{image.offset}+{image.size}", rows.part_of(path),
            "" if group in (None, "") else rows.text(str(group), "group"))

    def _label(self, texts: dict[str, bytes]) -> Any:
        if self._options.label_key:
            return _value(texts, self._options.label, self._options.label_key)
        if self._options.label not in texts:
            raise DataError(f"it has no member {self._options.label}, where its label would be")
        try:
            words = texts[self._options.label].decode().strip()
        except UnicodeDecodeError:
            raise DataError(f"its member {self._options.label} is no text in UTF-8") from None
        return int(words) if words.removeprefix("-").isdecimal() and len(words) < 10 else words


def _is_image(kind: str) -> bool:
    return PurePosixPath(f"x.{kind}").suffix in pixels.SUFFIXES


def _value(texts: dict[str, bytes], kind: str, key: str) -> Any:
    """What stands under a key of a JSON member. Raises ``DataError``."""
    if kind not in texts:
        raise DataError(f"it has no member {kind}, where {key!r} would be")
    try:
        values = json.loads(texts[kind])
    except (ValueError, RecursionError):
        raise DataError(f"its member {kind} is no JSON") from None
    if not isinstance(values, dict) or key not in values:
        raise DataError(f"its member {kind} has no key {key!r}")
    return values[key]
