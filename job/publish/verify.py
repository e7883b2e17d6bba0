"""``verify``: is every byte of a version still what was published? Everything is read, nothing is trusted.

Objects are read by ``READERS`` threads and one class at a time, so no more is held than the decisions on one class and a
shard per thread.
"""

import io
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from job.errors import DataError
from job.ground.store import Store
from job.publish import records
from job.publish.model import File, Version, files_digest

READERS = 16
SHOWN = 3   # of the problems, in the error; all of them are in ``problems``


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read, and everything that is wrong, one line each."""

    version: int
    files: int
    bytes: int
    rows: int
    problems: tuple[str, ...]

    def check(self) -> None:
        """Raise ``DataError`` (65) if anything is wrong."""
        if self.problems:
            more = f"; and {len(self.problems) - SHOWN} more" if len(self.problems) > SHOWN else ""
            raise DataError(f"version {self.version} is not what was published: {'; '.join(self.problems[:SHOWN])}{more}",
                            "restore these objects from a copy, or roll back to a version that verifies")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What must stand in one shard: ids that were kept, and the rows that the mix takes with their ids."""

    kept: frozenset[str]
    rows: np.ndarray
    ids: tuple[str, ...]


NOTHING = _Wanted(frozenset(), np.zeros(0, np.int64), ())


def verify(store: Store, dataset: str, number: int) -> Verified:
    """Hash every object of a version, count its rows, and find every kept and every mixed image in its shard.

    Raises ``DataError`` if there is no such version; what is wrong with its objects is told in the result.
    """
    version = records.read(store, dataset, number)
    problems = _list_problems(version)
    tables: dict[str, pa.Table | None] = {}
    with ThreadPoolExecutor(READERS) as readers:
        for one in [*version.of("mix"), *version.of("split"), *version.of("report")]:
            data, wrong = _read(store, one)
            problems += wrong
            tables[one.kind] = None if data is None or one.kind == "report" else pq.read_table(
                io.BytesIO(data), read_dictionary=["kind", "label", "class_key", "shard"] if one.kind == "mix" else None)
        problems += _real_problems(tables.get("mix"), tables.get("split"), version)
        for words in version.classes:
            wanted: Mapping[str, _Wanted] = {}
            for one in version.of("decisions", words.key):
                data, wrong = _read(store, one)
                problems += wrong
                if data is not None and not wrong:
                    wanted = _wanted(data, tables.get("mix"), words.key)
            for wrong in readers.map(lambda one, wanted=wanted: _shard_problems(store, one, wanted), version.of("images", words.key)):
                problems += wrong
    return Verified(number, len(version.files), sum(one.bytes for one in version.files), sum(one.rows for one in version.files),
                    tuple(problems))


def _list_problems(version: Version) -> list[str]:
    """What the version says of itself."""
    wrong = []
    if files_digest(version.files) != version.files_sha256:
        wrong.append("the list of files is not the one that was published")
    known = {words.key for words in version.classes}
    keys = [one.key for one in version.files]
    if len(set(keys)) < len(keys):
        wrong.append("a file is listed twice")
    wrong += [f"{one.key}: of no class of this version" for one in version.files
              if one.kind in ("images", "decisions") and one.class_key not in known]
    for kind in ("images", "decisions"):
        kept = sum(one.kept for one in version.of(kind))
        if kept != version.counts.kept:
            wrong.append(f"its files of kind {kind} hold {kept} kept images instead of {version.counts.kept}")
    return wrong


def _read(store: Store, file: File) -> tuple[bytes | None, list[str]]:
    """The object, None if it cannot be used, and what is wrong with it."""
    try:
        data = store.read(file.key, file.sha256)
    except KeyError:
        return None, [f"{file.key}: missing"]
    except DataError:
        return None, [f"{file.key}: changed"]
    if len(data) != file.bytes:
        return data, [f"{file.key}: {len(data)} bytes instead of {file.bytes}"]
    if file.kind == "report":
        return data, []
    rows = pq.ParquetFile(io.BytesIO(data)).metadata.num_rows
    return data, [] if rows == file.rows else [f"{file.key}: {rows} rows instead of {file.rows}"]


def _wanted(decisions: bytes, mix: pa.Table | None, class_key: str) -> dict[str, _Wanted]:
    """By name of the unit, what its shard must hold."""
    table = pq.read_table(io.BytesIO(decisions), columns=["id", "unit"], filters=[("state", "==", "kept")])
    kept: dict[str, set[str]] = {}
    for sample, unit in zip(table["id"].to_pylist(), table["unit"].to_pylist(), strict=True):
        kept.setdefault(unit, set()).add(sample)
    taken: dict[str, list[tuple[int, str]]] = {}
    if mix is not None:
        mine = mix.filter(pc.and_(pc.equal(mix["class_key"], class_key), pc.equal(mix["kind"], "synthetic")))
        for shard, row, sample in zip(mine["shard"].to_pylist(), mine["row"].to_pylist(), mine["id"].to_pylist(), strict=True):
            taken.setdefault(_unit(shard), []).append((row, sample))
    return {unit: _Wanted(frozenset(kept.get(unit, ())), np.array([row for row, _ in taken.get(unit, ())], np.int64),
                          tuple(sample for _, sample in taken.get(unit, ()))) for unit in {*kept, *taken}}


def _shard_problems(store: Store, file: File, wanted: Mapping[str, _Wanted]) -> list[str]:
    data, wrong = _read(store, file)
    if data is None or wrong:
        return wrong
    ids = pq.read_table(io.BytesIO(data), columns=["id"])["id"].to_pylist()
    mine = wanted.get(_unit(file.key), NOTHING)
    lost = mine.kept - set(ids)
    if lost:
        wrong.append(f"{file.key}: {len(lost)} kept images are not in it, {min(lost)} first")
    if wanted and len(mine.kept) != file.kept:
        wrong.append(f"{file.key}: {len(mine.kept)} images were kept instead of {file.kept}")
    misplaced = [sample for row, sample in zip(mine.rows, mine.ids, strict=True) if row >= len(ids) or ids[row] != sample]
    if misplaced:
        wrong.append(f"{file.key}: {len(misplaced)} images of the mix are not in their rows, {misplaced[0]} first")
    return wrong


def _real_problems(mix: pa.Table | None, split: pa.Table | None, version: Version) -> list[str]:
    """Whether the mix is as large as the version says, and takes real images from the training part alone."""
    if mix is None:
        return []
    real = mix.filter(pc.equal(mix["kind"], "real"))["id"].to_pylist()
    wrong = []
    if (len(real), len(mix) - len(real)) != (version.mix.n_real, version.mix.n_synthetic):
        wrong.append(f"the mix holds {len(real)} real and {len(mix) - len(real)} synthetic images instead of "
                     f"{version.mix.n_real} and {version.mix.n_synthetic}")
    strangers = _strangers(real, split)
    if strangers:
        wrong.append(f"the mix takes {len(strangers)} real images that are none of the training set's, {min(strangers)} first")
    return wrong


def _strangers(real: Iterable[str], split: pa.Table | None) -> set[str]:
    if split is None:
        return set()
    return set(real) - set(split.filter(pc.equal(split["part"], "train"))["id"].to_pylist())


def _unit(key: str) -> str:
    """Name of the unit in the key of its shard, ``…/<unit>-<sha256>.parquet``."""
    return key.rpartition("/")[2].rpartition("-")[0]
