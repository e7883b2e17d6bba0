"""Versions as they are stored: found, read, and numbered without gaps."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from pydantic import ValidationError

from job.errors import DataError
from job.ground import layout
from job.ground.store import Store
from job.publish.model import Version

READERS = 16


def numbers(store: Store, dataset: str) -> list[int]:
    """Numbers of all versions, ascending."""
    prefix = layout.versions(dataset)
    names = (key.removeprefix(prefix).removesuffix(".json") for key, _ in store.list(prefix))
    return sorted(int(name) for name in names if name.isdigit())


def read(store: Store, dataset: str, number: int) -> Version:
    """One version. Raises ``DataError`` if there is none of this number, or it is none that this release can read."""
    data = store.get(layout.version(dataset, number))
    if data is None:
        there = numbers(store, dataset)
        told = f"there are {there[0]} to {there[-1]}" if there else "there is none yet: publish one with python -m job publish"
        raise DataError(f"{layout.version(dataset, number)} does not exist", told)
    return _parse(layout.version(dataset, number), data)


def every(store: Store, dataset: str) -> Iterator[Version]:
    """All versions, by number."""
    found = numbers(store, dataset)
    with ThreadPoolExecutor(READERS) as readers:   # a few at a time: a version of a million images is a megabyte of JSON
        for at in range(0, len(found), READERS):
            yield from readers.map(lambda number: read(store, dataset, number), found[at : at + READERS])


def own(store: Store, dataset: str, run: str) -> tuple[Version | None, int]:
    """The version of this run, if there is one, and the number of the last version of all (0 without any)."""
    found = numbers(store, dataset)
    with ThreadPoolExecutor(READERS) as readers:
        for at in range(len(found), 0, -READERS):   # the latest first: it is asked for most
            for version in readers.map(lambda number: read(store, dataset, number), reversed(found[max(0, at - READERS) : at])):
                if version.run == run:
                    return version, found[-1]
    return None, found[-1] if found else 0


def _parse(key: str, data: bytes) -> Version:
    try:
        return Version.model_validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{key} is no version that this release can read: {'.'.join(map(str, first['loc']))}: {first['msg']}",
                        "use the release that wrote it, or restore the file") from None
