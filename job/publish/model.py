"""What ``versions/N.json`` holds. Its JSON schema is published in docs/version.schema.json; other programs read it."""

import json
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from job.ground import lineage
from job.report.model import Counts, Part

Kind = Literal["images", "decisions", "mix", "split", "report"]
Word = Literal["helped", "hurt", "no detectable difference", "no verdict"]


class File(Part):
    """One object that the version is made of. It never changes: its key is new wherever its content is."""

    key: str = Field(description="below the root")
    kind: Kind = Field(description="images: a shard; decisions: state and reason of every sample of a class; mix: the recommended "
                                   "training set; split: the real images; report: report.json as it was")
    class_key: str = Field(description="class of a shard or of decisions, else empty")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)
    rows: int = Field(ge=0, description="rows of a Parquet file; 0 of the report")
    kept: int = Field(ge=0, description="of a shard's or of decisions' rows, those that were kept")


class Lineage(Part):
    """Where the synthetic images come from."""

    recipe: str = Field(description="id of the recipe; synthetic/<recipe>/recipe.json spells it out")
    generator: str
    weights: str = Field(description="digest of the weights; none where there are none")
    model: str
    revision: str
    licence: str = Field(description="of the model, as its weights tell it")
    depth: int = Field(description="1: the model was trained on real images only; n+1: on images of depth n")
    ancestry: list[str] = Field(description="weights digests, oldest first")
    size_px: int
    encoding: str
    templates: list[str] = Field(description="prompts in rotation")


class ClassCounts(Part):
    name: str
    key: str = Field(description="names the class in the store")
    n_real: int = Field(description="real training images")
    planned: int
    kept: int
    rejected: int
    failed: int
    unused: int
    in_mix: int = Field(description="synthetic images in the recommended mix")


class Judged(Part):
    """What the locked real test said."""

    word: Word
    alpha_star: float = Field(description="recommended synthetic share: the candidate if it helped, else 0")
    candidate: float
    sentence: str
    score_name: str
    gain: float
    gain_interval: tuple[float, float] = Field(description="95 %, over seeds and images")
    confirm_seeds: int
    test_looks: int
    n_test: int


class Mixed(Part):
    """The recommended training set, spelt out in the file of kind mix."""

    alpha: float
    realised_alpha: float
    n_real: int
    n_synthetic: int


class Line(Part):
    room: str
    kind: str = Field(description="what the seconds went into; repeated: drawn or trained without leading to a commit of this run")
    seconds: float
    gpu: bool
    cost: float | None = Field(description="null without a price")


class Cost(Part):
    lines: list[Line]
    currency: str
    price_source: str
    price_date: str
    total: float | None = Field(description="null without a price")
    per_published_image: float | None = Field(description="the whole run, over the images that the version holds")
    per_kept_image: float | None = Field(description="drawing and measuring, over the images that were kept")


class Version(Part):
    schema_version: Literal[1] = 1
    dataset: str
    number: int = Field(ge=1)
    parent: int | None = Field(description="the version before it; null for the first")
    run: str
    edition: str
    task: str
    judged: Judged
    mix: Mixed
    counts: Counts
    classes: list[ClassCounts]
    lineage: Lineage
    cost: Cost
    privacy: bool = Field(description="no name of a real file stands in any file of this version")
    moves_latest: bool = Field(description="whether latest.json was to move to it when it was published")
    settings: dict[str, object] = Field(description="what decided the result, with no secret of a URL in it")
    versions: dict[str, str] = Field(description="of the software that made it")
    image_digest: str = Field(description="of the container image; empty where none was told")
    code_digest: str = Field(description="of the code that published, as it was told; else sha256 over the package's own files")
    files_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="over the file list: see job/publish/model.py")
    files: list[File]

    def of(self, kind: Kind, class_key: str = "") -> list[File]:
        """Its files of one kind, of all classes or of one, in the order of the list."""
        return [one for one in self.files if one.kind == kind and class_key in ("", one.class_key)]


def files_digest(files: Iterable[File]) -> str:
    """sha256 over the files in the order of their keys: one line of canonical JSON for each, ended by a newline."""
    lines = (lineage.canonical(one.model_dump(mode="json")) for one in sorted(files, key=lambda one: one.key))
    return lineage.sha256("".join(f"{line}\n" for line in lines).encode())


def encoded(version: Version) -> bytes:
    """The version as it is stored: indented JSON, the files one to a line."""
    told = version.model_dump(mode="json")
    files = [lineage.canonical(one) for one in told.pop("files")]
    head = json.dumps(told, indent=1, ensure_ascii=False)
    return (head[: -len("\n}")] + ',\n "files": [\n  ' + ",\n  ".join(files) + "\n ]\n}\n").encode()


def schema() -> str:
    """The JSON schema of ``versions/N.json`` (2020-12) as indented text with a newline at its end."""
    made = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Version.model_json_schema(mode="serialization")}
    made["required"] = list(made["properties"])   # fields with a default are always written too
    return json.dumps(made, indent=2, ensure_ascii=False) + "\n"
