"""Indices of real images without any image."""

import pyarrow as pa

from job.ground.lineage import seed_of
from job.records import INDEX_SCHEMA, RealIndex, Refusal


def index_of(rows: list[tuple], classes: tuple[str, ...] = ("cat", "dog"), refused: int = 0) -> RealIndex:
    """Rows of (label, content, group[, published[, id[, dhash[, generated]]]])."""
    full = [row + ("", f"real-{number}", 0, "")[len(row) - 3 :] for number, row in enumerate(rows)]
    columns = {"id": [row[4] for row in full], "label": [row[0] for row in full], "digest": [f"d{row[1]}" for row in full],
               "width": [8] * len(full), "height": [8] * len(full), "locator": [row[4] for row in full],
               "published": [row[3] for row in full], "group": [row[2] for row in full], "dhash": [row[5] for row in full],
               "generated": [row[6] for row in full]}
    return RealIndex(classes, pa.Table.from_pydict(columns, INDEX_SCHEMA), tuple(Refusal(f"f{n}", "torn") for n in range(refused)))


SMALL = index_of([(label, f"{label}-{number}", "", part, f"real-{12 * label + number}", seed_of(f"{label}-{number}"))
                  for part in ("train", "val", "test") for label in (0, 1) for number in
                  range({"train": 0, "val": 5, "test": 8}[part], {"train": 5, "val": 8, "test": 12}[part])])
