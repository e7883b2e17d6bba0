"""Which images the report shows: of every class the first few that were kept, and all kinds of rejection."""

from job.generate import read_shard
from job.ground.store import Store
from job.report.assemble import Found
from job.report.page import Picture

CLASSES = 20            # more would make a page that nobody scrolls


def gallery(store: Store, found: Found) -> list[Picture]:
    """Pictures of up to ``CLASSES`` classes, each with its state, reason and score."""
    by_unit = {one.unit.name: one for one in found.committed}
    pictures = []
    for words in found.plan.classes[:CLASSES]:
        chosen = found.tallies[words.key].examples
        images: dict[str, bytes] = {}
        for unit in {row["unit"] for row in chosen}:
            shard = read_shard(store, by_unit[unit], ["id", "image"])
            images |= dict(zip(shard["id"].to_pylist(), (one["bytes"] for one in shard["image"].to_pylist()), strict=True))
        for row in chosen:
            score = {found.plan.filter.score: row["score"]} if row["score"] is not None else {}
            pictures.append(Picture(words.name, row["state"], row["reason"], score, row["id"], images[row["id"]]))
    return pictures
