"""HOT plugs. A generator knows one kind of model and nothing of Ray, storage or settings.

One file and one line in ``GENERATORS`` make a generator; tests/contract runs its laws over the table:
same length, same order, same batch same bytes, ids and seeds untouched.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

from pydantic import BaseModel

from job.records import Failure, Origin, Sample, SampleSpec

GENERATORS: Mapping[str, str] = {
    "fake": "job.generators.fake:Fake",
    "text_to_image": "job.generators.text_to_image:TextToImage",
}


class Generator(Protocol):
    """Draws labelled images.

    ``Options`` fields that change the pictures are part of the recipe; one that does not (compile, decode batch) says
    ``json_schema_extra={"identity": False}``, and one that came after others had drawn may say ``"if set"``. Heavy
    imports belong inside ``load`` and ``draw``.
    """

    Options: ClassVar[type[BaseModel]]
    carries: ClassVar[frozenset[str]]   # label kinds it can promise: "class", "mask", "boxes"

    def __init__(self, options: BaseModel) -> None: ...

    def location(self) -> str:
        """Where the weights are: empty for none, ``package:path`` inside ``job``, a folder, a URL, or a model id."""

    def revision(self) -> str:
        """Revision asked for, where the location has revisions; else empty."""

    def load(self, folder: str, digest: str, device: str) -> Origin:
        """Load the weights from a local folder (empty for none) onto ``cpu`` or ``cuda``. Called once.

        Raises ``DataError`` for a folder that is no such model.
        """

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        """One result per spec, in their order: uint8 HWC RGB of the spec's size, or the reason why there is none."""


class Extras(Protocol):
    """What a generator may have besides; whoever needs it looks whether it is there."""

    def parts(self) -> Mapping[str, str]:
        """Locations of further models (``org/name@revision`` for one of a hub id), by the names under which ``load`` is given their
        folders; their digests are the recipe's too."""

    def compiled_for(self, batch_size: int, size_px: int) -> str:
        """What code that is compiled in this process is good for, as text; empty where there is none, or none is to be kept."""
