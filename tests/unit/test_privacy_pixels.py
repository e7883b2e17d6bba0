"""With privacy no real picture stands in a version or its report: every picture in them is decoded and looked up."""

import base64
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, UnidentifiedImageError

from job import report
from job.ground import layout, lineage, pixels, shards
from job.ground.cost import Ledger
from job.publish import gate, records
from job.publish.card import write as write_card
from job.publish.croissant import write as write_croissant
from job.real.pixels import digest
from job.report.assemble import Found
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import memory, publish_it

pytestmark = pytest.mark.unit
URI = re.compile(rb"data:image/[a-z+.-]+;base64,([A-Za-z0-9+/=]+)")


def pictures(data: bytes) -> Iterator[str]:
    """Pixel digests of everything in an object that opens as a picture: itself, in data URIs, in any cell of a table."""
    if data.startswith(b"PAR1"):
        for row in pq.read_table(io.BytesIO(data)).to_pylist():
            for cell in cells(row):
                yield from pictures(cell)
        return
    for uri in URI.findall(data):
        yield from pictures(base64.b64decode(uri))
    try:
        with Image.open(io.BytesIO(data)) as image:
            yield digest(np.asarray(image.convert("RGB")))
    except UnidentifiedImageError:
        return


def cells(value: Any) -> Iterator[bytes]:
    """Every value of a row, however deep, that could hold a picture."""
    if isinstance(value, bytes | str):
        yield value if isinstance(value, bytes) else value.encode()
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from cells(one)


def shown(made: Made) -> dict[str, list[str]]:
    """By key the pictures of the version, of all that it names, and of the run's report."""
    keys = [key for key, _ in made.store.list(layout.versions("pets"))]
    keys += [key for key, _ in made.store.list(made.keys.report(""))]
    keys += [file.key for file in records.read(made.store, "pets", 1).files]
    return {key: list(pictures(made.store.read(key))) for key in keys}


def told(made: Made, found: Found) -> None:
    """The report as a private run writes it."""
    report.write(made.store, found, [], {}, Ledger(made.store, made.keys), gate.private)


def real_digests(made: Made) -> set[str]:
    return set(made.split.table["digest"].to_pylist())


def test_no_real_picture_stands_in_a_private_version_or_its_report(tmp_path: Path) -> None:
    made = make_run(memory(), tmp_path / "real")
    files = {digest(np.asarray(Image.open(path))) for path in (tmp_path / "real").rglob("*.png")}
    assert files == real_digests(made)   # what is looked for is what the files hold
    told(made, made.found)
    version, _ = publish_it(made, privacy=True)
    write_card(made.store, version)
    write_croissant(made.store, version)
    found = shown(made)
    held = {file.key: file.rows for file in version.files if "/data/" in file.key}
    assert sum(held.values()) > 0
    assert {key: len(found[key]) for key in held} == held
    assert len(found[made.keys.report("report.html")]) > len(made.planned.classes)   # the figure and the gallery
    assert len(found[made.keys.report("mixing_sweep.png")]) == 1
    assert not [key for key, its in found.items() if real_digests(made) & set(its)]


def test_a_real_picture_that_slipped_in_would_be_seen_in_every_one_of_these_places(tmp_path: Path) -> None:
    made = make_run(memory(), tmp_path / "real")
    version, _ = publish_it(made, privacy=True)
    real = np.asarray(Image.open(next((tmp_path / "real").rglob("*.png"))))
    done = made.committed[0]
    table = shards.read(made.store.read(done.key))
    images = [{"bytes": pixels.encode(real, "png"), "path": one["path"]} for one in table["image"].to_pylist()]
    data = shards.table_bytes(table.set_column(0, shards.SCHEMA.field(0), pa.array(images, shards.SCHEMA.field(0).type)))
    key = layout.shard(made.planned.recipe.id, done.unit, lineage.sha256(data))
    made.store.create(key, data)
    assert made.found
    told(made, replace(made.found, committed=(replace(done, key=key, sha256=lineage.sha256(data)), *made.committed[1:])))
    mix = version.of("mix")[0].key
    made.store.replace(mix, shards.table_bytes(pq.read_table(io.BytesIO(made.store.read(mix))).append_column(
        "image", pa.array([pixels.encode(real, "png")] * version.of("mix")[0].rows))))
    mine = digest(real)
    assert mine in real_digests(made)
    assert mine in pictures(data)
    assert {key for key, its in shown(made).items() if mine in its} == {mix, made.keys.report("report.html")}
