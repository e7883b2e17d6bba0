"""The nouns. Frozen and slotted; a later room makes a new noun instead of filling in an old one.

What can be numerous (real images, samples, scores, decisions) travels as Arrow columns with the schemas below,
never as one object per image. A plan holds ranges; workers compute the specs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from job.errors import DataError

SYNTHETIC_PREFIX = "syn-"   # the id of every sample begins so, and no real id may

INDEX_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.int32()),
        ("digest", pa.string()),      # sha256 of the decoded RGB pixels
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("locator", pa.string()),     # where the source finds it again
        ("published", pa.string()),   # train, val, test, or empty where nothing was published
        ("group", pa.string()),       # images of one group stay on one side; empty: alone
        ("dhash", pa.uint64()),       # difference hash: 64 signs of the slopes along the rows of the 9×8 thumbnail
        ("generated", pa.string()),   # how the file says that a model made it; empty where it does not
    ]
)
SPLIT_SCHEMA = pa.schema([*INDEX_SCHEMA, ("part", pa.string()), ("reason", pa.string())])
DECISION_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("unit", pa.string()),
        ("class_key", pa.string()),
        ("index", pa.int64()),
        ("state", pa.string()),       # kept, rejected, failed, unused
        ("reason", pa.string()),
        ("score", pa.float32()),      # the value that the rule looked at; null without one
    ]
)
PARTS = ("train", "val", "test", "aside")
STATES = ("kept", "rejected", "failed", "unused")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A real file that cannot be used, and why."""

    item: str
    reason: str


@dataclass(frozen=True, slots=True)
class RealIndex:
    """All usable real images of one source: ``table`` follows ``INDEX_SCHEMA``; no pixels.

    Raises ``DataError`` if an id could be taken for a synthetic one, or occurs twice.
    """

    classes: tuple[str, ...]
    table: pa.Table
    refused: tuple[Refusal, ...]

    def __post_init__(self) -> None:
        ids = self.table["id"].to_pylist()
        refuse_synthetic(ids)
        if len(set(ids)) != len(ids):
            raise DataError("the real source gives the same id twice", "make file names unique")


@dataclass(frozen=True, slots=True)
class Split:
    """Which real image belongs to which part: ``table`` follows ``SPLIT_SCHEMA``. Strictly real.

    Raises ``DataError`` on a synthetic id or an unknown part.
    """

    classes: tuple[str, ...]
    table: pa.Table

    def __post_init__(self) -> None:
        refuse_synthetic(self.table["id"].to_pylist())
        strangers = set(self.table["part"].to_pylist()) - set(PARTS)
        if strangers:
            raise DataError(f"unknown part {sorted(strangers)[0]!r} in the split", f"use one of {', '.join(PARTS)}")

    def part(self, name: str) -> pa.Table:
        """Rows of one part, in the order of the index."""
        return self.table.filter(pa.compute.equal(self.table["part"], name))


def refuse_synthetic(ids: Sequence[str]) -> None:
    """Raise ``DataError`` if an id is a sample's: validation and test are real, always."""
    for one in ids:
        if one.startswith(SYNTHETIC_PREFIX):
            raise DataError(f"{one!r} is the id of a synthetic sample and cannot stand among real images",
                            "keep generated images out of the real source")


@dataclass(frozen=True, slots=True)
class ClassWords:
    """A class and the words that a prompt may use for it."""

    label: int
    name: str
    description: str   # replaces the name in prompts where the name is ambiguous; empty: the name
    key: str           # slug and short hash of the words; names the class in the store

    @property
    def words(self) -> str:
        return self.description or self.name


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what a sample looks like, class words apart. ``id`` is its hash."""

    id: str
    generator: str
    options: str               # canonical JSON of the plug's identity options
    weights: str               # digest of the weights; "none" where there are none
    templates: tuple[str, ...]
    size_px: int
    encoding: str              # png or jpeg
    seed: int


@dataclass(frozen=True, slots=True)
class Unit:
    """An aligned index range of one class: shard and commit at once. Always generated whole."""

    class_key: str
    label: int
    lo: int
    hi: int

    @property
    def name(self) -> str:
        return f"{self.class_key}-{self.lo:09d}-{self.hi:09d}"


@dataclass(frozen=True, slots=True)
class SampleSpec:
    """One synthetic image to be drawn. A redraw changes ``redraw`` and ``seed``, never the id."""

    id: str
    words: ClassWords
    prompt: str
    index: int
    redraw: int
    seed: int
    size_px: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A drawn image: uint8, HWC, RGB."""

    spec: SampleSpec
    pixels_HWC: np.ndarray


@dataclass(frozen=True, slots=True)
class Failure:
    """A spec that never became an image, and why."""

    spec: SampleSpec
    reason: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a generator's images come from; written beside every image."""

    model: str
    revision: str
    licence: str
    depth: int                   # 1: trained on real images only; n+1: trained on samples of depth n
    ancestry: tuple[str, ...]    # weights digests, oldest first


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of everything drawn of one class, without a row per image.

    ``kept``, ``made``: bool (drawn,), index by index: what passed the filter, and what became an image.
    ``means``: score name to mean over the drawn images, where there is one.
    ``examples``: the first kept and the first rejected rows of ``DECISION_SCHEMA``.
    """

    words: ClassWords
    drawn: int
    states: Mapping[str, int]
    kept: np.ndarray
    means: Mapping[str, float]
    examples: tuple[Mapping[str, Any], ...]
    short: int                   # kept images that the class still lacks
    further: int                 # units to draw next
    made: np.ndarray


@dataclass(frozen=True, slots=True)
class ClassTake:
    """What a mix takes of one class: the set bits of ``bitmap`` (numpy.packbits order) over indices [0, hi)."""

    words: ClassWords
    hi: int
    bitmap: bytes
    count: int

    def indices(self) -> np.ndarray:
        """Ascending sample indices."""
        bits = np.unpackbits(np.frombuffer(self.bitmap, dtype=np.uint8), count=self.hi)
        return np.flatnonzero(bits)


@dataclass(frozen=True, slots=True)
class Salting:
    """How a share becomes images. ``only``: labels of the classes that alone get any, where the allocation is "only".

    ``supply``: "matched" takes as many images as the share asks for, "all" takes every kept one and gives them that share
    of the draws. ``weighting``: "loss" gives them the share of the loss instead, every image drawn alike.
    """

    allocation: str = "proportional"
    only: tuple[int, ...] = ()
    supply: str = "matched"
    weighting: str = "draws"


@dataclass(frozen=True, slots=True)
class Share:
    """What the real images of a class, or those that stand beside them, get of all that is learnt."""

    label: int
    real: bool
    share: float


@dataclass(frozen=True, slots=True)
class Mix:
    """A training set at one α: real ids, and synthetic ranges. Nothing else ever reaches a trial's training.

    ``copies``: real ids that stand in the place of synthetic images, each with how often. ``shares``:
    what each kind of image gets of the draws, or with ``in_loss`` of the loss; empty: all images alike.
    """

    alpha: float
    realised_alpha: float
    real_ids: tuple[str, ...]
    synthetic: tuple[ClassTake, ...]
    copies: tuple[tuple[str, int], ...] = ()
    shares: tuple[Share, ...] = ()
    in_loss: bool = False

    @property
    def n_real(self) -> int:
        return len(self.real_ids)

    @property
    def n_synthetic(self) -> int:
        return sum(take.count for take in self.synthetic)

    @property
    def n_copies(self) -> int:
        return sum(count for _, count in self.copies)


@dataclass(frozen=True, slots=True)
class Trial:
    """One arm to be fitted: a mix, the seeds trained inside it, and the real part that judges it."""

    id: str
    mix: Mix
    seeds: tuple[int, ...]
    judged_on: str               # val or test
    arm: str                     # name in ``arms.ARMS``; empty: the α grid's own
    task_options: str

    @property
    def told(self) -> str:
        """As an error names it."""
        return f"the trial{f' of {self.arm}' if self.arm else ''} at alpha {self.mix.alpha:g}"
