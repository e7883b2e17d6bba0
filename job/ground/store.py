"""Bytes at keys over fsspec: read, list, create once, replace, swap, delete. Knows no meaning.

What is promised, on a folder, on S3 and in memory alike: an object is there whole or not at all; ``create`` never
replaces one; ``swap`` replaces only what was expected. A lost response is resolved by reading back (S3 answers 412 for
our own object when it was stored and the answer lost). Trouble is waited out for ``retry_s`` seconds of wall clock
(retry.py); what lasts is a ``TemporaryError``, an ``AccessError`` or a ``DataError``, and the same call may be made again.
Of other buckets (gs, az) fsspec's own implementation is used: what they keep of it, ``python -m job doctor`` finds out.
"""

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from job.errors import ConflictError, DataError, JobError, TemporaryError, redact
from job.ground import files, objects
from job.ground.place import BUCKETS, SCHEMES, Place

WEB = ("http", "https")
POINTER_BYTES = 64 * 2**10   # the most that can be swapped
AGAIN = 3                    # further reads where the digest is wrong
ROUNDS = 10                  # tries of a swap that is refused although the object is the expected one
_MEMORY = threading.Lock()   # fsspec's memory looks first and writes then


class Store(Place):
    """A folder or bucket prefix. Cheap to make and to send: it holds the URL, never a credential or a client."""

    _reading: ClassVar[dict[str, int]] = {"max_concurrency": 1}   # one request for an object, not two

    def read(self, key: str, sha256: str = "", cure: str = "restore it, or delete its commit to redraw it") -> bytes:
        """The whole object. Raises ``KeyError`` if there is none.

        With a digest (hex), what was damaged on its way is read again; raises ``DataError`` with the cure if it lies there so.
        """
        options = self._reading if self.scheme == "s3" else {}
        for attempt in range(AGAIN + 1):
            try:
                data = self._persist(lambda: self._fs.cat_file(self._path(key), **options), key)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise KeyError(key) from None
            if not sha256 or files.stamp(data) == sha256:
                return data
            if attempt < AGAIN:
                time.sleep(0.05 * 2**attempt)
        raise DataError(f"{key} does not hold what was committed", cure)

    def get(self, key: str) -> bytes | None:
        """The whole object, or None."""
        try:
            return self.read(key)
        except KeyError:
            return None

    def ages(self, prefix: str, partial: bool = False) -> list[tuple[str, int, float]]:
        """Objects below a prefix: (key, bytes, seconds since they were last modified), sorted by key.

        The seconds are those of the store's clock, never of this machine's, and not below 0. With ``partial`` also what
        writers left behind that died on their way, which no listing shows else.
        """
        now = self.clock()
        return [(key, int(info["size"]), max(0.0, now - objects.modified(info)))
                for key, info in self._found(prefix) if partial or not _temporary(key)]

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """Objects below a prefix that ends in a slash (or is empty): (key, bytes), sorted. A hint, not the truth.

        Links to files count as files. Raises ``DataError`` for a link to a folder: what it holds would be missing silently.
        """
        def size(path: str, told: int | None) -> int:   # a web page of links tells none
            return int(self._persist(lambda: self._fs.size(path), prefix) or 0) if told is None else int(told)

        return [(key, size(info["name"], info["size"])) for key, info in self._found(prefix) if not _temporary(key)]

    def clock(self) -> float:
        """What the store's clock says, in seconds since 1970: when it dates an object that is written now, and removed."""
        probe = f"{files.TEMPORARY}clock-{uuid.uuid4().hex}"
        self.replace(probe, b"")
        try:
            return objects.modified(self._persist(lambda: self._fs.info(self._path(probe)), probe))
        finally:
            self.delete(probe)

    def create(self, key: str, data: bytes) -> bool:
        """Make an object that does not exist yet, whole or not at all.

        Returns True if the object now holds ``data`` (made by us, now or before), False if another one was there first.
        """
        try:
            self._write(self._create, key, data)
        except FileExistsError:
            there = self.get(key)
            if there is None:
                raise self._blocked(key) from None
            return there == data
        except TemporaryError:   # the budget is spent, but what is there by now can still be told
            there = self._glance(key)
            if there is None:
                raise
            return there == data
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Make or overwrite an object, whole or not at all. For what can be made again at any time, such as a report."""
        self._write(self._replace, key, data)

    def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        """Put ``data`` where ``expected`` is, or where nothing is if that is None: compare and swap, for small pointers.

        Returns True if the object now holds ``data`` (put by us, now or before), False if it held something else. Of
        writers that put different data exactly one wins: on S3 by If-Match, on a folder among all who write through this
        class on hosts that share its locks, in memory within the process. Elsewhere (gs, az) another writer may come in
        between. Raises ``DataError`` beyond ``POINTER_BYTES``, for S3 keeps that promise in a single request only.
        """
        if len(data) > POINTER_BYTES:
            raise DataError(f"{key} would hold {len(data)} bytes, and only {POINTER_BYTES} can be swapped", "let it name the data")
        for _ in range(ROUNDS):
            there = self.stamped(key)   # after a refusal, too: it may have been our own answer that was lost
            held = there[0] if there else None
            if held in (data, expected):
                if held == data or self.put_if(key, data, there[1] if there else None):
                    return True
                continue
            return False
        raise TemporaryError(f"{redact(f'{self.url}/{key}')} holds what is expected, and cannot be swapped", "run again to resume")

    def stamped(self, key: str) -> tuple[bytes, str] | None:
        """The object and the stamp of this content (on S3 its ETag), or None if there is no object."""
        if self.scheme == "s3":
            try:
                return self._persist(lambda: objects.read_stamped(self._fs, self._path(key)), key)
            except FileNotFoundError:
                return None
        data = self.get(key)
        return None if data is None else (data, files.stamp(data))

    def put_if(self, key: str, data: bytes, stamp: str | None) -> bool:
        """Put if the object bears this stamp, or, for None, if there is none. False if it was refused.

        An answer that gets lost may make a refusal of what was put: ``swap`` reads back.
        """
        try:
            self._write(lambda path, data: self._put_if(path, data, stamp), key, data)
        except FileExistsError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object. One that is not there is fine."""
        try:
            self._persist(lambda: files.delete(self._path(key)) if self.scheme == "file" else self._fs.rm_file(self._path(key)), key)
        except (FileNotFoundError, NotADirectoryError):
            return
        except IsADirectoryError:
            raise self._blocked(key) from None

    def _write(self, put: Callable[[str, bytes], None], key: str, data: bytes) -> None:
        try:
            self._persist(lambda: put(self._path(key), data), key)
        except (NotADirectoryError, IsADirectoryError):
            raise self._blocked(key) from None
        except FileNotFoundError:
            raise DataError(f"{self.shown} does not exist and cannot be made", "create the bucket, or check the URL") from None

    def _create(self, path: str, data: bytes) -> None:
        if self.scheme == "file":
            files.create(path, data)
        elif self.scheme == "s3":
            objects.create(self._fs, path, data, self.part_bytes)
        else:
            with _MEMORY:
                self._fs.pipe_file(path, data, mode="create")

    def _replace(self, path: str, data: bytes) -> None:
        if self.scheme == "file":
            files.replace(path, data)
        else:
            self._fs.pipe_file(path, data, **({"chunksize": self.part_bytes} if self.scheme == "s3" else {}))

    def _put_if(self, path: str, data: bytes, stamp: str | None) -> None:
        if self.scheme == "file":
            files.replace_if(path, data, stamp)
        elif self.scheme == "s3":
            objects.put_if(self._fs, path, data, stamp)
        elif stamp is None:
            self._create(path, data)
        else:
            with _MEMORY:
                if not self._fs.exists(path) or files.stamp(self._fs.cat_file(path)) != stamp:
                    raise FileExistsError(path)
                self._fs.pipe_file(path, data)

    def _glance(self, key: str) -> bytes | None:
        """What is there, asked once; None for nothing, and for an answer that does not come."""
        try:
            return Store(self.url, 0).get(key) if self.scheme in BUCKETS else None
        except JobError:
            return None

    def _blocked(self, key: str) -> ConflictError:
        return ConflictError(f"{self.shown}/{key}: a folder or file of that name is in the way", "remove it, or use another root")

    def _found(self, prefix: str) -> Sequence[tuple[str, dict[str, Any]]]:
        """Every file below the prefix, half-written ones too: (key, fsspec's info), sorted by key."""
        def find() -> tuple[str, dict[str, Any]]:
            folder = self._path(prefix).rstrip("/")
            self._fs.invalidate_cache()
            return folder, self._fs.find(folder, detail=True)

        def is_file(path: str, info: dict[str, Any]) -> bool:
            if info.get("islink") and self._fs.isdir(path):
                raise DataError(f"{path} is a link to a folder, and such links are not followed", "put the folder itself there")
            return info["type"] == "file" or (info.get("islink") and self._fs.isfile(path))

        try:
            folder, found = self._persist(find, prefix)
        except (FileNotFoundError, NotADirectoryError):
            return []
        below = f"{folder.lstrip('/')}/".lstrip("/")   # a file may be called as the prefix is
        top = len(f"{self._opened()[1].lstrip('/')}/".lstrip("/"))
        return sorted(((path.lstrip("/")[top:], {**info, "name": path}) for path, info in found.items()
                       if path.lstrip("/").startswith(below) and is_file(path, info)), key=lambda one: one[0])


def _temporary(key: str) -> bool:
    return key.rpartition("/")[2].startswith(files.TEMPORARY)


class _Readable(Store):
    """A place of the web, too. Only ``ReadOnlyFolder`` holds one, so that nothing is ever written there."""

    schemes = (*SCHEMES, *WEB)
    _use, _reading = "read from", {}   # files may be large: several ranges at once


class ReadOnlyFolder:
    """The ``Folder`` that real sources and weights are read through: a folder, a bucket, or a web server that lists its folders.

    Secrets in such URLs are redacted wherever they are told.
    """

    def __init__(self, url: str, retry_s: float = 60) -> None:
        """Raise ``SettingsError`` for a scheme that is not on the list, and for a chained URL."""
        self._store = _Readable(url, retry_s)

    def list(self) -> list[tuple[str, int]]:
        """Every file below, as (relative path, bytes), sorted. Raises ``DataError`` if there is nothing."""
        found = self._store.list("")
        if not found:
            web = self._store.scheme in WEB
            raise DataError(f"nothing to read at {self._store.shown}", "check the URL; a web server must list the folder as a page of "
                            "links, so else download it" if web else "check the URL and the permission to list it")
        return found

    def read(self, path: str) -> bytes:
        """The whole file. Raises ``DataError`` or ``AccessError`` naming the path."""
        try:
            return self._store.read(path)
        except KeyError:
            raise DataError(f"{self._store.shown}/{path} does not exist", "check the URL") from None
