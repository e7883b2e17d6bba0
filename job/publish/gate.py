"""What has to hold before anything is published. Each gate raises ``QualityError`` (65) with the value, the limit, the cure.

That nothing is missing is the first of them, and stands in ``gather.py``.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from job.errors import QualityError
from job.generate import check_failed
from job.ground import pixels, weights
from job.ground.shards import SOURCE_TYPE
from job.ground.store import Store
from job.publish.gather import AGAIN, Held, Shard
from job.publish.privacy import Names
from job.records import Split
from job.report.model import Report
from job.runplan import PublishPolicy, RunPlan

LOOKED_AT = 8   # shards, spread over the run, whose marks and origin are read
COUNTED = ("refused.json: ", " of 64 bits differ): ")   # up to here a warning counts real files; behind it, it names some


@dataclass(frozen=True, slots=True)
class Descent:
    """What the shards say of the model that drew them."""

    depth: int
    ancestry: tuple[str, ...]


def failures(planned: RunPlan, held: Sequence[Held]) -> None:
    """No more samples failed than the run tolerates."""
    failed, total = sum(one.states["failed"] for one in held), sum(sum(one.states.values()) for one in held)
    check_failed(failed, total, planned.failed_share)


def licences(held: Sequence[Held], policy: PublishPolicy) -> None:
    """Every image comes from a model whose licence is on the list."""
    for licence in sorted({shard.origin[2] for one in held for shard in one.shards}):
        weights.check_licence(licence, policy.licences, QualityError)


def marks(store: Store, held: Sequence[Held]) -> Descent:
    """The images say that they are generated: their column and, in the file itself, the first picture of some shards."""
    filled = [shard for one in held for shard in one.shards if shard.file.rows]
    if not filled:
        raise QualityError("not a single image was made, so there is nothing to publish", "look at the reasons in the decisions")
    step = -(-len(filled) // LOOKED_AT)
    depth, ancestry = 0, ()
    for shard in filled[::step]:
        file = pq.ParquetFile(io.BytesIO(store.read(shard.file.key, shard.file.sha256)))
        table = file.read(["digital_source_type", "depth", "ancestry"])
        if set(table["digital_source_type"].to_pylist()) != {SOURCE_TYPE} or not _marked(file):
            raise QualityError(f"{shard.file.key} holds images that are not marked as generated",
                               "draw them again: delete this shard's commit and run")
        if max(table["depth"].to_pylist()) > depth:
            depth, ancestry = table["depth"][0].as_py(), tuple(table["ancestry"][0].as_py())
    return Descent(depth, ancestry)


def _marked(file: pq.ParquetFile) -> bool:
    first = next(file.iter_batches(1, columns=["image"]))
    return pixels.is_marked(first.column(0)[0]["bytes"].as_py())


def images_kept(held: Sequence[Held]) -> None:
    """Every kept image lies in a committed shard. ``gather`` compared the ids; this compares the numbers."""
    for one in held:
        kept, inside = one.states["kept"], sum(shard.file.kept for shard in one.shards)
        full = [shard for shard in one.shards if shard.file.kept > shard.file.rows]
        if kept != inside or full:
            raise QualityError(f"{kept} images of class {one.words.name!r} were kept, and {_held(one.shards)} lie in its shards",
                               AGAIN)


def _held(shards: Sequence[Shard]) -> int:
    return sum(min(shard.file.kept, shard.file.rows) for shard in shards)


def private(report: Report) -> Report:
    """The report without what names real files by its nature: refused files, near copies, and where the real images lie.

    Of warnings about them the count stays. A report that was censored before, or names nothing, stays as it is.
    """
    settings = {name: value for name, value in report.settings.items() if name != "source_options"}
    return report.model_copy(update={"refused": [], "settings": settings, "warnings": [_counted(text) for text in report.warnings]})


def _counted(warning: str) -> str:
    for mark in COUNTED:
        head, found, _ = warning.partition(mark)
        warning = head + found.removesuffix(": ")
    return warning


def nothing_named(split: Split, report: Report, held: Sequence[Held]) -> None:
    """With privacy: no name of a real file stands in the report or among the reasons."""
    names = Names(split)
    named = names.within(report.model_dump(mode="json")) or names.within_reasons(set().union(*(one.reasons for one in held)))
    if named:
        raise QualityError(f"the report or a reason names a real file, {named!r}, and nothing private may be published",
                           "make the report again with SALTWORKS_PRIVACY=true, or publish without it")
