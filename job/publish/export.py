"""A version's images, copied for readers: compacted Parquet or WebDataset tars of about one size, listed by ``export.json``.

``<dataset>-<version>-<what>-<kind>/`` holds the files, ``classes.json`` (WebDataset), a record of every file that is whole
(``_parts/``) and, written last, ``export.json``: where it stands, everything is there. All of them are create-only. A file
is uploaded first and recorded then, with the place at which the next one begins, so an export that was interrupted goes
on there and at most one file is made twice, with the same bytes and the same name.

Files follow the version alone, not the order in which anything is listed: units by their first index and class, so that
the classes lie mixed; within a group of rows by id, which is a hash. Held at once are a bit per sample drawn (a byte, in
fact), a group of rows and two shards; real images are never copied.
"""

import errno
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from job.errors import ConflictError, DataError, SettingsError, TemporaryError
from job.ground import layout, lineage, upload
from job.ground.events import Advance
from job.ground.store import Store
from job.publish import chosen, formats, packing
from job.publish.chosen import Piece, What
from job.publish.formats import Kind
from job.publish.model import Version
from job.publish.packing import Limits, Place

ELSEWHERE = "export to another place with --publish.export_to"
GROUP_BYTES = 64 * 10**6   # a row group: what a reader that streams has to hold
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Asked(_Told):
    """What an export is of. Two of the same place must agree on it."""

    dataset: str
    version: int = Field(description="its number")
    version_sha256: str = Field(description="over the version's file list: files_sha256 of versions/N.json")
    kind: Kind
    what: What = Field(description="mix: the synthetic images of the recommended mix; kept: all that passed the filter")
    file_bytes: int = Field(description="size aimed at for a file")

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.version:06d}"

    @property
    def folder(self) -> str:
        """Ends in a slash."""
        return f"{self.name}-{self.what}-{self.kind}/"


class ExportedFile(_Told):
    name: str = Field(description="beside export.json")
    sha256: str
    bytes: int
    rows: int


class ExportedClass(_Told):
    name: str
    index: int = Field(description="what .cls says: the position in dataset.json, the same in every version")
    rows: int


class Exported(_Told):
    """What ``export.json`` holds."""

    schema_version: Literal[1] = 1
    asked: Asked
    rows: int
    classes: list[ExportedClass]
    files: list[ExportedFile]

    @property
    def folder(self) -> str:
        """Where it lies in the store that was exported to; ends in a slash."""
        return self.asked.folder


class _Part(_Told):
    """Says that a file is whole, and where the next one begins; null: it was the last."""

    asked: Asked
    file: ExportedFile
    next: Place | None


def _quiet(count: int = 1) -> None:
    pass


def export(
    store: Store, version: Version, *, to: Store, kind: Kind, what: What, file_bytes: int, advance: Advance = _quiet
) -> Exported:
    """Copy the version's images to ``to``, in files of about ``file_bytes`` bytes; again: find out that it is done.

    ``advance`` hears of every image (``version.mix.n_synthetic`` or ``version.counts.kept`` in all). Raises ``SettingsError``
    on another kind, ``DataError`` where there is nothing to export or the version is not whole, ``ConflictError`` if an
    export of other contents or another size of file lies there, ``TemporaryError`` if the local disk cannot hold a file.
    """
    _check(version, kind, what, file_bytes)
    asked = Asked(dataset=version.dataset, version=version.number, version_sha256=version.files_sha256, kind=kind, what=what,
                  file_bytes=file_bytes)
    done = to.get(f"{asked.folder}export.json")
    if done is not None:
        return _agreed(Exported, done, asked, f"{to.shown}/{asked.folder}export.json")
    pieces = chosen.pieces(store, version, what)
    class_index, classes = _classes(store, version, pieces)
    parts = _recorded(to, asked)
    advance(sum(part.file.rows for part in parts))
    if not parts or parts[-1].next:
        parts += _written(store, to, asked, pieces, class_index, parts, advance)
    exported = Exported(asked=asked, rows=sum(part.file.rows for part in parts), classes=classes, files=[part.file for part in parts])
    _check_whole(to, exported)
    if kind == "webdataset":
        _create(to, f"{asked.folder}classes.json", {one.name: one.index for one in classes})
    _create(to, f"{asked.folder}export.json", exported.model_dump(mode="json"))
    return exported


def _check(version: Version, kind: str, what: str, file_bytes: int) -> None:
    if kind not in formats.SUFFIXES:
        raise SettingsError(f"nothing exports to {kind!r}", f"use {' or '.join(formats.SUFFIXES)}")
    if what not in ("mix", "kept"):
        raise SettingsError(f"{what!r} is nothing that can be exported", "use mix or kept")
    if file_bytes < 1:
        raise SettingsError(f"a file of {file_bytes} bytes holds nothing", "set SALTWORKS_PUBLISH__EXPORT_MB to 1 or more")
    if what == "mix" and not version.mix.n_synthetic:
        raise DataError(
            f"version {version.number} of {version.dataset} recommends no synthetic image (verdict: {version.judged.word}; α* = "
            f"{version.mix.alpha:g}), and real images are not copied",
            "train on the real images alone, or export all kept synthetic ones with --publish.export_what kept")
    if not version.counts.kept:
        raise DataError(f"version {version.number} of {version.dataset} kept no synthetic image", "export another version")


def _classes(store: Store, version: Version, pieces: Sequence[Piece]) -> tuple[dict[str, int], list[ExportedClass]]:
    """Index by class key, and all classes of the dataset, also those of which nothing is exported."""
    data = store.get(layout.dataset_json(version.dataset))
    names = json.loads(data)["classes"] if data else []
    name_of = {one.key: one.name for one in version.classes}
    rows = dict.fromkeys(names, 0)
    for piece in pieces:
        if name_of[piece.class_key] not in rows:
            raise DataError(f"{layout.dataset_json(version.dataset)} knows no class {name_of[piece.class_key]!r}", "restore that file")
        rows[name_of[piece.class_key]] += piece.rows
    index = {name: at for at, name in enumerate(names)}
    return ({key: index[name] for key, name in name_of.items() if name in index},
            [ExportedClass(name=name, index=index[name], rows=count) for name, count in rows.items()])


def _written(
    store: Store, to: Store, asked: Asked, pieces: Sequence[Piece], class_index: Mapping[str, int], before: Sequence[_Part],
    advance: Advance,
) -> list[_Part]:
    """Make, upload and record the files that are still missing, one after the other."""
    number, start = len(before), (before[-1].next or (0, 0)) if before else (0, 0)
    limits = Limits(GROUP_BYTES, asked.file_bytes, formats.BESIDE_IMAGE[asked.kind])
    parts: list[_Part] = []
    rows, path, file = 0, Path(), None
    with tempfile.TemporaryDirectory(prefix="saltworks-export-") as scratch:
        try:
            for group in chain(packing.groups(_tables(store, pieces, start), limits), [None]):
                if file and (group is None or group.opens):
                    file.close()
                    parts.append(_uploaded(to, asked, path, rows, group.start if group else None, number))
                    path.unlink()
                    number, rows, file = number + 1, 0, None
                if group:
                    path = Path(scratch, f"{asked.name}-{number:06d}.{formats.SUFFIXES[asked.kind]}")
                    file = file or formats.writer(asked.kind, path, class_index)
                    file.write(group.table)
                    rows += len(group.table)
                    advance(len(group.table))
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise TemporaryError(f"a file of {asked.file_bytes} bytes does not fit into {scratch}",
                                 "free space, set TMPDIR to a larger disk, or lower SALTWORKS_PUBLISH__EXPORT_MB") from None
        finally:
            if file:
                _abandon(file)
    return parts


def _abandon(file: formats.Writer) -> None:
    """Close a file that nobody will read; on a full disk that fails, too."""
    with suppress(OSError):
        file.close()


def _tables(store: Store, pieces: Sequence[Piece], start: Place) -> Iterator[tuple[Place, pa.Table]]:
    """The wanted rows of every shard from ``start`` on; the next shard is fetched while one is packed."""
    first, skip = start
    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(chosen.read, store, piece) for piece in pieces[first : first + 1]]
        for at in range(first, len(pieces)):
            table = coming.pop().result()
            coming += [reader.submit(chosen.read, store, piece) for piece in pieces[at + 1 : at + 2]]
            row = skip if at == first else 0
            yield (at, row), table.slice(row)


def _uploaded(to: Store, asked: Asked, path: Path, rows: int, following: Place | None, number: int) -> _Part:
    """Data first, then the record that names them."""
    file = ExportedFile(name=path.name, sha256=upload.sha256_of(path), bytes=path.stat().st_size, rows=rows)
    if not upload.create_file(to, f"{asked.folder}{path.name}", path):
        raise ConflictError(f"{to.shown}/{asked.folder}{path.name} holds something else",
                            f"remove it, or {ELSEWHERE}")
    part = _Part(asked=asked, file=file, next=following)
    _create(to, _record(asked, number), part.model_dump(mode="json"))
    return part


def _record(asked: Asked, number: int) -> str:
    return f"{asked.folder}_parts/{number:06d}.json"


def _recorded(to: Store, asked: Asked) -> list[_Part]:
    """The files that are whole already."""
    parts: list[_Part] = []
    while (data := to.get(_record(asked, len(parts)))) is not None:
        parts.append(_agreed(_Part, data, asked, f"{to.shown}/{_record(asked, len(parts))}"))
    return parts


def _agreed(noun: Any, data: bytes, asked: Asked, where: str) -> Any:
    """The record. Raises ``ConflictError`` if it is of another export."""
    try:
        told = noun.model_validate_json(data)
    except ValidationError:
        raise ConflictError(f"{where} is no record of an export", f"remove it, or {ELSEWHERE}") from None
    for name, value in told.asked:
        if value != getattr(asked, name):
            raise ConflictError(f"{where} is of an export with {name} = {value}, not {getattr(asked, name)}",
                                f"ask for the same, remove that export, or {ELSEWHERE}")
    return told


def _check_whole(to: Store, exported: Exported) -> None:
    there = dict(to.list(exported.folder))
    for file in exported.files:
        if there.get(f"{exported.folder}{file.name}") != file.bytes:
            raise DataError(f"{to.shown}/{exported.folder}{file.name} was written, and is missing now or of another size",
                            f"remove {exported.folder} and export again")


def _create(to: Store, key: str, value: Any) -> None:
    if not to.create(key, f"{lineage.canonical(value)}\n".encode()):
        raise ConflictError(f"{to.shown}/{key} holds something else", f"remove it, or {ELSEWHERE}")
