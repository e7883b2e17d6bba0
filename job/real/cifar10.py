"""CIFAR-10 as published, in its binary or its python layout, with or without its folder around it.

Source: A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009: ten classes of 32×32 RGB images,
five train batches and one test batch. The test batch is the locked test. Validation, then train, are taken from the
train batches in the order of the content digest: no seed, and a larger train set keeps the validation set and every
train image it had. What is left stands aside, as do copies of a picture and pictures that the test batch shows too.

An id is ``<batch>/<record>``, the same in both layouts.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, model_validator

from job.errors import AccessError, DataError
from job.real import Folder, pixels
from job.real.cifar10_files import NAMES, SIZE_PX, TEST, TRAIN, ForeignCode, Layout, find, read_batch, read_names
from job.records import INDEX_SCHEMA, RealIndex, Refusal

PUBLISHED_PER_CLASS = 5000   # in the train batches


@dataclass(frozen=True, slots=True)
class Cut:
    """Classes in the order of their labels; ``train_per_class`` None: all that validation leaves."""

    classes: tuple[str, ...]
    train_per_class: int | None
    val_per_class: int


PROFILES = {
    "lab": Cut(("airplane", "automobile", "ship", "truck"), 200, 100),
    "full": Cut(NAMES, None, 500),
}


class Cifar10:
    """The chosen classes: ``train``, ``val`` and ``aside`` from the train batches, ``test`` from the test batch."""

    class Options(BaseModel):
        """Where the batches are, and the cut."""

        model_config = ConfigDict(extra="forbid", frozen=True)

        url: str = Field(
            min_length=1, description="folder, bucket prefix or web folder (http, https) that holds the batches",
            json_schema_extra={"identity": False})   # the digests tell the data; where they lie does not matter
        profile: Literal["lab", "full"] = Field(
            "lab", description="lab: airplane, automobile, ship and truck, 200 train and 100 validation images each; "
                               "full: all ten classes, 500 validation images each, the rest of the train batches for training")
        classes: tuple[Literal[NAMES], ...] | None = Field(
            None, min_length=1, max_length=len(NAMES), description="classes in the order of their labels; unset: the profile's")
        train_per_class: int | None = Field(
            None, ge=1, le=PUBLISHED_PER_CLASS - 1, description="train images per class; unset: the profile's")
        val_per_class: int | None = Field(
            None, ge=1, le=PUBLISHED_PER_CLASS - 1, description="validation images per class; unset: the profile's")

        @model_validator(mode="after")
        def _possible(self) -> "Cifar10.Options":
            cut = self.cut
            if len(set(cut.classes)) < len(cut.classes):
                raise ValueError("a class is named twice")
            asked = (cut.train_per_class or 1) + cut.val_per_class
            if asked > PUBLISHED_PER_CLASS:
                raise ValueError(f"train and validation take {asked} images per class; {PUBLISHED_PER_CLASS} were published")
            return self

        @property
        def cut(self) -> Cut:
            """The profile, with what was set beside it."""
            ready = PROFILES[self.profile]
            return Cut(self.classes or ready.classes, self.train_per_class or ready.train_per_class,
                       self.val_per_class or ready.val_per_class)

    def __init__(self, options: Options, open_folder: Callable[[str], Folder]) -> None:
        self._options = options
        self._open = open_folder   # opened where it is needed: a source must travel to workers

    def index(self) -> RealIndex:
        """Raises ``DataError`` without a readable test batch, with too few images for the cut, if the files name other
        classes, or if a pickle asks for foreign code."""
        cut = self._options.cut
        folder = self._open(self._options.url)
        layout, present = find(folder)
        refused = _check_names(folder, layout, present)
        label_of = {NAMES.index(name): label for label, name in enumerate(cut.classes)}
        rows: list[tuple[str, int, str, int]] = []   # id, label, digest, dhash
        for batch in (*TRAIN, TEST):
            try:
                if layout.batch(batch) not in present:
                    raise DataError(f"{layout.batch(batch)} is missing")
                images_NHWC, published_N, damage = read_batch(folder, layout, batch)
            except (AccessError, DataError) as error:
                if batch == TEST or isinstance(error, ForeignCode):
                    raise
                refused.append(Refusal(layout.batch(batch), error.problem))
                continue
            if damage:
                refused.append(Refusal(layout.batch(batch), damage))
            for record, label in enumerate(published_N.tolist()):
                id = f"{batch}/{record:05d}"
                if label in label_of:
                    image_HWC = images_NHWC[record]
                    rows.append((id, label_of[label], pixels.digest(image_HWC), pixels.dhash(image_HWC)))
                elif not 0 <= label < len(NAMES):
                    refused.append(Refusal(id, f"its label {label} is none of 0 to {len(NAMES) - 1}"))
        torn = pixels.contradictions(*list(zip(*rows, strict=True))[:3]) if rows else {}
        refused += [Refusal(id, f"the same picture has another label as {other}") for id, other in torn.items()]
        return RealIndex(cut.classes, _table(cut, [row for row in rows if row[0] not in torn]), tuple(refused))

    def load(self, rows: pa.Table) -> Iterator[np.ndarray]:
        """Holds the pixels of the named rows, and of one batch file at a time (30 MB).

        Raises ``DataError`` for an image that changed since the index, and whatever ``Folder.read`` raises.
        """
        folder = self._open(self._options.url)
        layout, _ = find(folder)
        places = [locator.split("/") for locator in rows["locator"].to_pylist()]
        pixels_NHWC = np.zeros((len(places), SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
        for wanted in sorted({batch for batch, _ in places}):
            images_NHWC, _, _ = read_batch(folder, layout, wanted)
            for row, (batch, record) in enumerate(places):
                if batch == wanted and int(record) < len(images_NHWC):   # a lost one stays black: its digest tells
                    pixels_NHWC[row] = images_NHWC[int(record)]
        for image_HWC, id, digest in zip(pixels_NHWC, rows["id"].to_pylist(), rows["digest"].to_pylist(), strict=True):
            yield pixels.unchanged(image_HWC, id, digest)


def _check_names(folder: Folder, layout: Layout, present: set[str]) -> list[Refusal]:
    """Refuse an unreadable list of class names; the published order holds without it. Raises ``DataError`` on another list."""
    if layout.names not in present:
        return []
    try:
        names = read_names(folder, layout)
    except ForeignCode:
        raise
    except (AccessError, DataError) as error:
        return [Refusal(layout.names, error.problem)]
    if names != NAMES:
        raise DataError(f"the labels do not match: {layout.names} lists {', '.join(names)[:200]}, "
                        f"and CIFAR-10 has {', '.join(NAMES)}", "use the published files, or `image_folder` for other classes")
    return []


def _table(cut: Cut, rows: Sequence[tuple[str, int, str, int]]) -> pa.Table:
    """The index. Raises ``DataError`` for a class without test images, or with too few for train and validation."""
    parts = {id: "test" if id.startswith(TEST) else "aside" for id, *_ in rows}
    locked = {digest for id, _, digest, _ in rows if parts[id] == "test"}
    for label, name in enumerate(cut.classes):
        of_class = [(digest, id) for id, own, digest, _ in rows if own == label]
        if not any(parts[id] == "test" for _, id in of_class):
            raise DataError(f"class {name!r} has no image in the test batch, and that is the locked test",
                            "fetch the published test batch again")
        # of copies the first record stands for all: the later, smaller id overwrites
        first = {digest: id for digest, id in sorted(of_class, reverse=True) if digest not in locked}
        order = [first[digest] for digest in sorted(first)]
        asked = cut.val_per_class + (cut.train_per_class or 1)
        if len(order) < asked:
            raise DataError(f"class {name!r} has {len(order)} different usable images in the train batches, and the cut takes "
                            f"{asked}", "lower `train_per_class` or `val_per_class`, or fetch the refused batches again")
        end = None if cut.train_per_class is None else asked
        parts |= dict.fromkeys(order[:cut.val_per_class], "val") | dict.fromkeys(order[cut.val_per_class:end], "train")
    ids = [id for id, *_ in rows]
    return pa.Table.from_pydict(
        {
            "id": ids,
            "label": [label for _, label, *_ in rows],
            "digest": [digest for _, _, digest, _ in rows],
            "width": [SIZE_PX] * len(rows),
            "height": [SIZE_PX] * len(rows),
            "locator": ids,
            "published": [parts[id] for id in ids],
            "group": [""] * len(rows),
            "dhash": [dhash for *_, dhash in rows],
            "generated": [""] * len(rows),
        },
        schema=INDEX_SCHEMA,
    )
