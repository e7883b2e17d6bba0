"""A published version and what the tests of its export share."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from job.ground import shards
from job.ground.store import Store
from job.publish.export import Exported, export
from job.publish.model import Version
from tests.unit.made_run import Made, make_run
from tests.unit.publishing import publish_it

SMALL = 20_000   # bytes of a file: several files of a few images
KINDS = ("parquet", "webdataset")


def published(folder: Path, root: Path | None = None, **options: Any) -> tuple[Made, Version]:
    """A run that helped at α = .5, so that its mix is a part of what was kept (α = .75 asked for more), and its version."""
    made = make_run(Store(str(root or folder / "root"), retry_s=0), folder / "real", **options)
    return made, publish_it(made)[0]


def small(published: tuple[Made, Version], to: Store, kind: str = "parquet", what: str = "kept", file_bytes: int = SMALL) -> Exported:
    made, version = published
    return export(made.store, version, to=to, kind=kind, what=what, file_bytes=file_bytes)


def everything(to: Store) -> dict[str, bytes]:
    return {key: to.read(key) for key, _ in to.list("")}


def rows_of(to: Store, done: Exported) -> list[dict]:
    """Every row of an export, as it stood in its shard, but for the image's path."""
    return list(_parquet_rows(to, done) if done.asked.kind == "parquet" else _tar_rows(to, done))


def _parquet_rows(to: Store, done: Exported) -> Iterator[dict]:
    for file in done.files:
        for row in pq.read_table(io.BytesIO(to.read(done.folder + file.name))).to_pylist():
            yield row | {"image": row["image"]["bytes"]}


def _tar_rows(to: Store, done: Exported) -> Iterator[dict]:
    for file in done.files:
        with tarfile.open(fileobj=io.BytesIO(to.read(done.folder + file.name))) as tar:
            content = {one.name: tar.extractfile(one).read() for one in tar}
        for name in content:
            if name.endswith(".json"):
                yield {**json.loads(content[name]), "image": content[name.replace(".json", ".png")]}


def by_id(rows: list[dict]) -> list[dict]:
    return sorted(rows, key=lambda row: row["id"])


def shard_rows(made: Made) -> list[dict]:
    tables = [shards.read(made.store.read(one.key)).to_pylist() for one in made.committed]
    return [row | {"image": row["image"]["bytes"]} for table in tables for row in table]


class Watched(Store):
    """Writes down every storage operation by its key, and loses its process before or after the ``dies``-th of them."""

    def __init__(self, url: str, dies: int = -1, after: bool = False) -> None:
        super().__init__(url, retry_s=0)
        self.asked: list[str] = []
        self.dies, self.after = dies, after

    def _persist(self, action, key):
        self.asked.append(key)
        dies = len(self.asked) == self.dies
        if dies and not self.after:
            raise KeyboardInterrupt
        try:
            return super()._persist(action, key)
        finally:
            if dies:
                raise KeyboardInterrupt
