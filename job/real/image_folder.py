"""One folder per class: ``<class>/x.png``, or ``train|val|test/<class>/x.png`` where a split was published.

``valid`` and ``validation`` mean ``val``. An id is the file's path, so it stays the same when files are added.
Names that begin with a dot are ignored; every other file that is no usable image is refused with a reason.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from job.errors import AccessError, DataError
from job.real import Folder, pixels, rows
from job.records import INDEX_SCHEMA, RealIndex, Refusal

PARTS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True, slots=True)
class Place:
    """A file in a class folder; ``part`` is empty where no split is published."""

    path: str
    size: int
    part: str
    name: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A usable image."""

    place: Place
    facts: pixels.Facts


@dataclass(frozen=True, slots=True)
class Unusable:
    """A file that is no usable image. ``denied``: it could not be looked at for want of permission."""

    place: Place
    reason: str
    denied: bool = False


class ImageFolder:
    """Images on any storage that the folder behind ``url`` reaches."""

    class Options(BaseModel):
        """What to read, and what to refuse."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        url: str = Field(
            min_length=1, description="folder, bucket prefix or web folder (http, https) that holds the class folders",
            json_schema_extra={"identity": False})   # the digests tell the data; where they lie does not matter
        classes: tuple[Annotated[str, StringConstraints(min_length=1)], ...] | None = Field(
            None, min_length=1, description="class folders to use, in the order of their labels; unset: all, sorted by name")
        max_pixels: int = Field(
            64_000_000, ge=1, le=89_478_485,   # Pillow warns from there on
            description="largest image, width times height in pixels; checked before decoding, larger ones are refused")
        max_bytes: int = Field(
            64 * 2**20, ge=1, le=2**30, description="largest file in bytes; larger ones are refused unread")
        readers: int = Field(
            8, ge=1, le=64, description="files read and decoded at the same time; each may hold one whole image",
            json_schema_extra={"identity": False})

        @field_validator("classes")
        @classmethod
        def _distinct(cls, names: tuple[str, ...] | None) -> tuple[str, ...] | None:
            if names and len(set(names)) < len(names):
                raise ValueError("a class is named twice")
            return names

    def __init__(self, options: Options, open_folder: Callable[[str], Folder]) -> None:
        self._options = options
        self._open = open_folder   # opened where it is needed: a source must travel to workers

    def index(self) -> RealIndex:
        """Raises ``DataError`` for a class without usable images or missing from a published part.

        Raises ``AccessError`` if not a single image could be read for want of permission.
        """
        folder = self._open(self._options.url)
        places, strays = lay_out(folder.list())
        classes = self._options.classes or tuple(sorted({place.name for place in places}))
        if not classes:
            raise DataError("no class folder was found", "put the images into one folder per class below `url`")
        label_of = {name: label for label, name in enumerate(classes)}
        places = [place for place in places if place.name in label_of]
        parts = _parts(places)
        files = [place for place in places if not PurePosixPath(place.path).name.startswith(".")]
        images = [place for place in files if _suffix(place) in pixels.SUFFIXES]
        _demand(images, classes, parts, ())   # before a single file is read

        outcomes = list(pixels.ordered(lambda place: self._look(folder, place), files, self._options.readers))
        seen = [one for one in outcomes if isinstance(one, Seen)]
        bad = [one for one in outcomes if isinstance(one, Unusable)]
        denied = [one for one in bad if one.denied]
        if denied and not seen:
            raise AccessError(f"{len(denied)} of {len(images)} images may not be read, and no other is usable: "
                              f"{denied[0].reason}", "grant read access to the objects below `url`, not only to their list")
        seen, torn = _untorn(seen, label_of)
        seen, lonely = _in_company(seen)
        bad = sorted([*bad, *torn, *lonely], key=lambda one: one.place.path)
        _demand([one.place for one in seen], classes, parts, bad)
        refusals = [*strays, *(Refusal(one.place.path, one.reason) for one in bad)]
        return RealIndex(classes, _table(seen, label_of), tuple(sorted(refusals, key=lambda one: one.item)))

    def load(self, rows: pa.Table) -> Iterator[np.ndarray]:
        """Raises ``DataError`` for an image that changed since the index, whatever ``Folder.read`` raises, too."""
        folder = self._open(self._options.url)
        wanted = zip(*(rows[name].to_pylist() for name in ("locator", "id", "digest", "generated")), strict=True)

        def load_one(row: tuple[str, str, str, str]) -> np.ndarray:
            path, id, expected, generated = row
            return pixels.read_again(folder.read(path), self._options.max_pixels, id, expected, generated)

        yield from pixels.ordered(load_one, wanted, self._options.readers)

    def _look(self, folder: Folder, place: Place) -> Seen | Unusable:
        """One file's digest and size, or why it is refused. Keeps no pixels, and no error: it would hold them."""
        if reason := rows.unsafe(place.path):   # the keys of a bucket may be anything
            return Unusable(place, reason)
        if _suffix(place) not in pixels.SUFFIXES:
            return Unusable(place, f"unknown format; images end in {', '.join(pixels.SUFFIXES)}")
        if not 0 < place.size <= self._options.max_bytes:
            return Unusable(place, f"it has {place.size} bytes; 1 to max_bytes={self._options.max_bytes} are allowed")
        try:
            return Seen(place, pixels.look(folder.read(place.path), self._options.max_pixels))
        except (DataError, AccessError) as error:
            return Unusable(place, error.problem, isinstance(error, AccessError))


def lay_out(listing: Sequence[tuple[str, int]]) -> tuple[list[Place], list[Refusal]]:
    """The files in class folders, sorted by path, and those that stand in none.

    Dot-files stay in, because they may be all that tells of an empty class folder; dot-folders do not.
    """
    steps = [(PurePosixPath(path).parts, path, size) for path, size in sorted(listing)]
    steps = [one for one in steps if not any(step.startswith(".") for step in one[0][:-1])]
    published = any(len(parts) > 2 and parts[0].lower() in PARTS for parts, _, _ in steps)
    places, strays = [], []
    for parts, path, size in steps:
        if published and len(parts) == 3 and parts[0].lower() in PARTS:
            places.append(Place(path, size, PARTS[parts[0].lower()], parts[1]))
        elif not published and len(parts) == 2:
            places.append(Place(path, size, "", parts[0]))
        elif not parts[-1].startswith("."):
            where = "train/<class>/, val/<class>/ or test/<class>/" if published else "<class>/"
            strays.append(Refusal(path, f"it does not stand directly in {where}"))
    return places, strays


def _suffix(place: Place) -> str:
    return PurePosixPath(place.path).suffix.lower()


def _parts(places: Sequence[Place]) -> list[str]:
    """The published parts that every class must have: those that exist, and train; ``[""]`` without a split."""
    found = {place.part for place in places} or {""}
    return [""] if found == {""} else [part for part in ("train", "val", "test") if part in {"train", *found}]


def _demand(places: Sequence[Place], classes: Sequence[str], parts: Sequence[str], bad: Sequence[Unusable]) -> None:
    """Raise ``DataError`` for a class that has no usable image, or none in one of the parts."""
    found = Counter((place.part, place.name) for place in places)
    for name in classes:
        lacking = [part for part in parts if not found[part, name]]
        if not lacking:
            continue
        where = [f"{part}/{name}/" if part else f"{name}/" for part in lacking]
        others = [part for part in parts if part not in lacking]
        without = f" in {', '.join(lacking)}, though it has some in {', '.join(others)}" if others else ""
        why = next((f" ({one.place.path}: {one.reason})" for one in bad
                    if one.place.name == name and one.place.part in lacking), "")
        raise DataError(f"class {name!r} has no usable image{without}{why}",
                        f"add images of it below {', '.join(where)}, or name in `classes` only those to use")


def _untorn(seen: Sequence[Seen], label_of: Mapping[str, int]) -> tuple[list[Seen], list[Unusable]]:
    """Without the pictures that stand under two labels: nobody can tell which one is right."""
    labels = [label_of[one.place.name] for one in seen]
    torn = pixels.contradictions([one.place.path for one in seen], labels, [one.facts.digest for one in seen])
    bad = [Unusable(one.place, f"the same picture has another label as {torn[one.place.path]}")
           for one in seen if one.place.path in torn]
    return [one for one in seen if one.place.path not in torn], bad


def _in_company(seen: Sequence[Seen]) -> tuple[list[Seen], list[Unusable]]:
    """Without the classes of one image: it could be trained on or judged by, never both."""
    counts = Counter(one.place.name for one in seen)
    bad = [Unusable(one.place, "it is the only usable image of its class, and a class needs at least two")
           for one in seen if counts[one.place.name] == 1]
    return [one for one in seen if counts[one.place.name] > 1], bad


def _table(seen: Sequence[Seen], label_of: Mapping[str, int]) -> pa.Table:
    return pa.Table.from_pydict(
        {
            "id": [one.place.path for one in seen],
            "label": [label_of[one.place.name] for one in seen],
            "digest": [one.facts.digest for one in seen],
            "width": [one.facts.width for one in seen],
            "height": [one.facts.height for one in seen],
            "locator": [one.place.path for one in seen],
            "published": [one.place.part for one in seen],
            "group": [""] * len(seen),
            "dhash": [one.facts.dhash for one in seen],
            "generated": [one.facts.generated for one in seen],
        },
        schema=INDEX_SCHEMA,
    )
