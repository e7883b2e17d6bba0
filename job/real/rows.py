"""What sources of many images per file share: rows that become an index, safe ids, class names, published parts, limits.

A tool, not a source: it knows no format. A row that cannot be used is refused with its reason; a file that cannot be
read to its end ends the job, because nobody can tell how many rows are lost with it.
"""

import unicodedata
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from job.errors import AccessError, DataError
from job.real import Folder, pixels
from job.records import INDEX_SCHEMA, RealIndex, Refusal

PARTS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test"}
LONGEST_ID = 1024      # characters
LONGEST_NAME = 200     # characters of a class or group
AT_ONCE = 256          # rows whose encoded bytes are held while they are put in order


@dataclass(frozen=True, slots=True)
class Raw:
    """An image as it stands in its file: encoded, not yet looked at."""

    id: str
    data: bytes
    name: str        # its class
    place: str       # where a person finds it
    locator: str     # where ``fetch`` does
    part: str
    group: str


def unsafe(id: str) -> str:
    """Why this id may not name an image, because it could lead out of a folder or break a line; empty where it may."""
    if not id or len(id) > LONGEST_ID:
        return f"its id has {len(id)} characters; 1 to {LONGEST_ID} are allowed"
    if any(unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp") for one in id):
        return f"its id {id[:80]!r} holds a control character"
    if id.startswith("/") or "\\" in id or id[1:3] == ":/" or ".." in id.split("/"):
        return f"its id {id[:80]!r} leads out of the folder; ids are relative paths without .. and backslashes"
    return ""


def part_of(path: str) -> str:
    """train, val or test by a file's own first word (``test-00000-of-00001.parquet``), else by its nearest folder; or empty."""
    file = PurePosixPath(path)
    words = [file.name.replace("_", "-").replace(".", "-").partition("-")[0], *reversed(file.parts[:-1])]
    return next((PARTS[word.lower()] for word in words if word.lower() in PARTS), "")


def class_name(label: object, names: Sequence[str] | None) -> str:
    """The class of a label: a whole number counts in ``names`` where there are any, a text is the name itself.

    Raises ``DataError`` with the reason for anything else.
    """
    if isinstance(label, int) and not isinstance(label, bool):
        if names is None:
            if label < 0:
                raise DataError(f"its label {label} means that it has none")
            return str(label)
        if not 0 <= label < len(names):
            raise DataError(f"its label {label} is none of 0 to {len(names) - 1}")
        return names[label]
    if not isinstance(label, str):
        raise DataError("it has no label" if label is None else f"its label is {type(label).__name__}, neither whole number nor text")
    name = text(label, "label")
    if names is not None and name not in names:
        raise DataError(f"its label {name[:40]!r} is none of the {len(names)} class names")
    return name


def text(value: str, what: str) -> str:
    """A short printable text without white space around it. Raises ``DataError``."""
    value = value.strip()
    if not 0 < len(value) <= LONGEST_NAME or not value.isprintable():
        raise DataError(f"its {what} {value[:40]!r} has {len(value)} characters; 1 to {LONGEST_NAME} printable ones are allowed")
    return value


def read_whole(folder: Folder, path: str, size: int, most: int, option: str) -> bytes:
    """A file of at most ``most`` bytes. Raises ``DataError`` unread for a larger one, and whatever ``Folder.read`` raises."""
    if size > most:
        raise DataError(f"{path} has {size} bytes; {option}={most} are allowed", f"cut it into smaller files, or raise `{option}`")
    return folder.read(path)


class Rows:
    """Collects an index in columns; what is unusable is kept aside with its reason."""

    def __init__(self, classes: Sequence[str] | None, max_pixels: int) -> None:
        """``classes``: those to use, in the order of their labels; None: all."""
        self._classes, self._max_pixels = classes, max_pixels
        self._columns: dict[str, list] = {name: [] for name in (*INDEX_SCHEMA.names, "name")}
        self._place: dict[str, str] = {}   # id → place
        self.refused: list[Refusal] = []

    def wanted(self, name: str) -> bool:
        return self._classes is None or name in self._classes

    def refuse(self, item: str, reason: str) -> None:
        """``item`` may hold anything: what is written of it is printable and short."""
        self.refused.append(Refusal("".join(one if one.isprintable() else "�" for one in item[:LONGEST_ID]) or "without a name", reason))

    def look(self, raws: Iterable[Raw], threads: int) -> None:
        """Decode every image once, several at a time, and take in its facts in the order of ``raws``."""
        for raw, facts in pixels.ordered(self._facts, raws, threads):
            if isinstance(facts, str):
                self.refuse(raw.place, facts)
            elif raw.id in self._place:
                self.refuse(raw.place, f"its id {raw.id!r} is that of {self._place[raw.id]} already")
            else:
                self._place[raw.id] = raw.place
                for column, value in {
                    "id": raw.id, "name": raw.name, "digest": facts.digest, "width": facts.width, "height": facts.height,
                    "locator": raw.locator, "published": raw.part, "group": raw.group, "dhash": facts.dhash, "generated": facts.generated,
                }.items():
                    self._columns[column].append(value)

    def _facts(self, raw: Raw) -> tuple[Raw, pixels.Facts | str]:
        bare = replace(raw, data=b"")   # nothing that waits holds bytes
        if reason := unsafe(raw.id):
            return bare, reason
        try:
            return bare, pixels.look(raw.data, self._max_pixels)
        except (DataError, AccessError) as error:
            return bare, error.problem

    def index(self, names: Sequence[str] | None) -> RealIndex:
        """``names``: the classes in their published order; None: sorted, numbers by value.

        Raises ``DataError`` for a class with fewer than two usable images, naming what became of the others.
        """
        found = set(self._columns["name"])
        number = all(one.isdecimal() for one in found)
        classes = tuple(self._classes or names or sorted(found, key=lambda one: (int(one), one) if number else one))
        first = f" ({self.refused[0].item}: {self.refused[0].reason})" if self.refused else ""
        if not classes:
            raise DataError(f"no usable image was found{first}", "check `url` and the names of columns or members")
        label_of = {name: label for label, name in enumerate(classes)}
        self._columns["label"] = [label_of[name] for name in self._columns["name"]]
        torn = pixels.contradictions(self._columns["id"], self._columns["label"], self._columns["digest"])
        for id, other in torn.items():
            self.refuse(self._place[id], f"the same picture has another label as {self._place[other]}")
        keep = np.array([id not in torn for id in self._columns["id"]], bool)
        table = pa.Table.from_pydict({name: self._columns[name] for name in INDEX_SCHEMA.names}, schema=INDEX_SCHEMA).filter(keep)
        count = Counter(table["label"].to_pylist())
        for label, name in enumerate(classes):
            if count[label] < 2:
                raise DataError(f"class {name!r} has {count[label]} usable images, and a class needs at least two{first}",
                                "add images of it, or name in `classes` only those to use")
        return RealIndex(classes, table, tuple(sorted(self.refused, key=lambda one: (one.item, one.reason))))


def load(
    rows: pa.Table, fetch: Callable[[str, Sequence[str]], Mapping[str, bytes]], max_pixels: int, threads: int
) -> Iterator[np.ndarray]:
    """Pixels of the rows of an index, in their order. ``fetch(file, keys)`` gives the encoded images of one file.

    A locator is ``<file>#<key>``. Encoded bytes of ``AT_ONCE`` rows are held; rows in the order of the index read every
    file once if ``fetch`` keeps the last one. Raises ``DataError`` for an image that is gone or changed.
    """
    def load_one(row: tuple[bytes, str, str, str]) -> np.ndarray:
        data, id, digest, generated = row
        return pixels.read_again(data, max_pixels, id, digest, generated)

    def images() -> Iterator[tuple[bytes, str, str, str]]:
        for batch in rows.select(["locator", "id", "digest", "generated"]).to_batches(max_chunksize=AT_ONCE):
            columns = [column.to_pylist() for column in batch.columns]
            places = [locator.rpartition("#")[::2] for locator in columns[0]]
            found = {}
            for file in OrderedDict.fromkeys(file for file, _ in places):
                keys = list(OrderedDict.fromkeys(key for its, key in places if its == file))
                found |= {(file, key): data for key, data in fetch(file, keys).items()}
            for place, id, digest, generated in zip(places, *columns[1:], strict=True):
                if place not in found:
                    raise pixels.changed(id, f"{place[0]} holds it no more")
                yield found[place], id, digest, generated

    yield from pixels.ordered(load_one, images(), threads)
