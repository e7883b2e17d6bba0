"""Bytes at keys over fsspec: read, list, create only. Knows no meaning.

What is promised, on a folder and on S3 alike: ``create`` makes an object whole or not at all, and never replaces one.
A lost response is resolved by reading back (S3 answers 412 for our own object when it was stored and the answer
lost). fsspec's local files are not atomic, so folders are written here: temporary name, fsync, link.
Storage trouble is waited out with jitter, for ``retry_s`` seconds of wall clock.
"""

import errno
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.registry import known_implementations, registry
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from job.errors import AccessError, ConflictError, DataError, JobError, SettingsError, TemporaryError, redact

SCHEMES = ("file", "s3", "gs", "gcs", "abfs", "az", "memory")
BUCKETS = ("s3", "gs", "gcs", "abfs", "az")
NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
MISCONFIGURED = {"ParamValidationError", "ProfileNotFound", "NoRegionError", "InvalidRegionError", "ConfigParseError"}
LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
T = TypeVar("T")


class Store:
    """A folder or bucket prefix. Cheap to make and to send: it holds the URL, never a credential or a client."""

    def __init__(self, url: str, retry_s: float = 300) -> None:
        """Raise ``SettingsError`` for a scheme that is not on the list, a chained URL, or one without its bucket."""
        scheme, separator, place = url.partition("://")
        scheme = scheme if separator else "file"
        if "::" in url or scheme not in SCHEMES:
            raise SettingsError(f"cannot store at {redact(url)!r}", f"use a folder or one of {', '.join(SCHEMES)}://")
        if scheme in BUCKETS and not place.partition("/")[0]:
            raise SettingsError(f"{redact(url)!r} names no bucket", f"write {scheme}://bucket/prefix")
        self.url = url if separator else str(Path(url).absolute())
        self.scheme = scheme
        self.retry_s = retry_s
        self._open: tuple[Any, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url, "scheme": self.scheme, "retry_s": self.retry_s, "_open": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def shown(self) -> str:
        """The URL, fit to be printed."""
        return redact(self.url)

    @property
    def _fs(self) -> Any:
        return self._opened()[0]

    def _opened(self) -> tuple[Any, str]:
        if self._open is None:
            try:
                options = {"use_listings_cache": False} if self.scheme in ("file", *BUCKETS) else {}
                fs, path = fsspec.core.url_to_fs(self.url, **options)
            except ImportError as error:
                raise SettingsError(f"cannot open {redact(self.url)}: {error}", "install the package that it names") from None
            self._open = (fs, path.rstrip("/"))
        return self._open

    def _path(self, key: str) -> str:
        if key.startswith("/") or ".." in key.split("/"):
            raise DataError(f"{key!r} is no key below the root", "use names without .. and leading slashes")
        return f"{self._opened()[1]}/{key}"

    def read(self, key: str) -> bytes:
        """The whole object. Raises ``KeyError`` if there is none."""
        try:
            return self._persist(lambda: self._fs.cat_file(self._path(key)), key)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise KeyError(key) from None

    def get(self, key: str) -> bytes | None:
        """The whole object, or None."""
        try:
            return self.read(key)
        except KeyError:
            return None

    def list(self, prefix: str) -> list[tuple[str, int]]:
        """Objects below a prefix that ends in a slash (or is empty): (key, bytes), sorted. A hint, not the truth.

        Links to files count as files. Raises ``DataError`` for a link to a folder: what it holds would be missing silently.
        """
        folder = self._path(prefix).rstrip("/")
        below = f"{folder.lstrip('/')}/".lstrip("/")   # a file may be called as the prefix is; an archive's names have no slash in front

        def find() -> dict[str, Any]:
            self._fs.invalidate_cache()
            return self._fs.find(folder, detail=True)

        def size(path: str, told: int | None) -> int:   # a web page of links tells none
            return int(self._persist(lambda: self._fs.size(path), prefix) or 0) if told is None else int(told)

        def is_file(path: str, info: dict[str, Any]) -> bool:
            if info.get("islink") and self._fs.isdir(path):
                raise DataError(f"{path} is a link to a folder, and such links are not followed", "put the folder itself there")
            return info["type"] == "file" or (info.get("islink") and self._fs.isfile(path))

        try:
            found = self._persist(find, prefix)
        except (FileNotFoundError, NotADirectoryError):
            return []
        top = len(f"{self._opened()[1].lstrip('/')}/".lstrip("/"))
        return sorted(
            (path.lstrip("/")[top:], size(path, info["size"])) for path, info in found.items()
            if path.lstrip("/").startswith(below) and is_file(path, info) and not path.rpartition("/")[2].startswith(".tmp-")
        )

    def create(self, key: str, data: bytes) -> bool:
        """Make an object that does not exist yet, whole or not at all.

        Returns True if the object now holds ``data`` (made by us, now or before), False if another one was there first.
        """
        make = self._create_file if self.scheme == "file" else self._create_object
        try:
            self._write(make, key, data)
        except FileExistsError:
            there = self.get(key)
            if there is None:
                raise self._blocked(key) from None
            return there == data
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Make or overwrite an object, whole or not at all. For what can be made again at any time, such as a report."""
        self._write(self._replace_file if self.scheme == "file" else self._fs.pipe_file, key, data)

    def _write(self, put: Callable[[str, bytes], None], key: str, data: bytes) -> None:
        path = self._path(key)
        try:
            self._persist(lambda: put(path, data), key)
        except (NotADirectoryError, IsADirectoryError):
            raise self._blocked(key) from None
        except FileNotFoundError:
            raise DataError(f"{redact(self.url)} does not exist and cannot be made", "create the bucket, or check the URL") from None

    def _blocked(self, key: str) -> ConflictError:
        return ConflictError(f"{redact(self.url)}/{key}: a folder or file of that name is in the way", "remove it, or use another root")

    def _create_object(self, path: str, data: bytes) -> None:
        self._fs.pipe_file(path, data, mode="create")

    def _create_file(self, path: str, data: bytes) -> None:
        with _temporary(path, data) as temporary:
            os.link(temporary, path)

    def _replace_file(self, path: str, data: bytes) -> None:
        with _temporary(path, data) as temporary:
            os.replace(temporary, path)

    def _persist(self, action: Callable[[], T], key: str) -> T:
        """Do it, waiting out passing trouble; translate what lasts into our own errors."""
        attempts = Retrying(
            retry=retry_if_exception(_passing), stop=stop_after_delay(self.retry_s),
            wait=wait_random_exponential(multiplier=0.2, max=20), reraise=True,
        )
        where = redact(f"{self.url}/{key}")
        try:
            return attempts(action)
        except JobError:
            raise
        except LASTING as error:
            if not isinstance(error, PermissionError):
                raise
            raise AccessError(f"no permission at {where}: {_told(error)}", "check credentials and policy") from None
        except Exception as error:
            if type(error).__name__ in NO_CREDENTIALS:
                raise AccessError(f"no credentials for {where}: {_told(error)}", "give the process credentials") from None
            if type(error).__name__ in MISCONFIGURED:
                raise SettingsError(f"cannot use {where}: {_told(error)}", "correct the URL or the storage settings") from None
            number = getattr(error, "errno", None)
            if number == errno.ENOSPC:
                raise TemporaryError(f"the disk is full at {where}", "free space and run again") from None
            if number == errno.EROFS:
                raise AccessError(f"{where} is read-only", "mount it to be written to, or use another root") from None
            if _passing(error):
                raise TemporaryError(f"storage trouble at {where}: {_told(error)}", "run again to resume") from error
            if isinstance(error, OSError):
                raise DataError(f"{where} cannot be used: {_told(error)}", "use another place") from None
            raise


def _told(error: BaseException) -> str:
    """What the error says, in one line."""
    return redact(" ".join(str(error).split()))


@contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """A whole, synced file beside ``path``, gone afterwards unless it was renamed."""
    folder, _, name = path.rpartition("/")
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(folder) from error
    temporary = f"{folder}/.tmp-{uuid.uuid4().hex}-{name[:40]}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)


def _passing(error: BaseException) -> bool:
    """Whether waiting may help: network and server trouble, not absence, permission or a full disk."""
    if isinstance(error, (JobError, *LASTING)) or type(error).__name__ in NO_CREDENTIALS | MISCONFIGURED:
        return False
    if isinstance(error, OSError):
        return error.errno not in (errno.ENOSPC, errno.EINVAL, errno.EROFS, errno.ENAMETOOLONG)
    return isinstance(error, TimeoutError) or type(error).__module__.split(".")[0] in {"botocore", "aiobotocore", "aiohttp"}


class _Readable(Store):
    """Any place that fsspec can read. Only ``ReadOnlyFolder`` holds one, so that nothing is ever written there."""

    def __init__(self, url: str, retry_s: float) -> None:
        scheme, separator, _ = url.partition("://")
        if "::" not in url and (not separator or scheme in SCHEMES):
            super().__init__(url, retry_s)
            return
        *links, last = url.split("::")
        for protocol in [link.partition("://")[0] for link in (*links, *([last] if "://" in last else []))]:
            if protocol not in known_implementations and protocol not in registry:
                raise SettingsError(f"cannot read from {redact(url)!r}: unknown protocol {protocol!r}",
                                    "use a folder, a bucket, or a protocol that fsspec knows")
        self.url = "::".join((*links, last if "://" in last else str(Path(last).absolute())))
        self.scheme, self.retry_s, self._open = "chain" if links else scheme, retry_s, None

    def _opened(self) -> tuple[Any, str]:
        if self._open is None:   # an archive is read to be opened, so trouble comes here already
            try:
                self._persist(super()._opened, "")
            except JobError:
                raise
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
                raise DataError(f"cannot read from {self.shown}: no such file: {_told(error)}", "check the URL") from None
            except (TypeError, ValueError) as error:
                raise SettingsError(f"cannot read from {self.shown}: {_told(error)}", "correct the URL") from None
            except Exception as error:   # each kind of archive has exceptions of its own
                raise DataError(f"cannot read from {self.shown}: {_told(error)}", "check the file, and its kind in the URL") from None
        assert self._open is not None
        return self._open


class ReadOnlyFolder:
    """The ``Folder`` that real sources and weights are read through: whatever fsspec knows, ``zip://sub::s3://…`` too.

    Secrets in such URLs are redacted wherever they are told.
    """

    def __init__(self, url: str, retry_s: float = 60) -> None:
        """Raise ``SettingsError`` for a protocol that fsspec does not know."""
        self._store = _Readable(url, retry_s)

    def list(self) -> list[tuple[str, int]]:
        """Every file below, as (relative path, bytes), sorted. Raises ``DataError`` if there is nothing."""
        found = self._store.list("")
        if not found:
            web = self._store.scheme in ("http", "https")
            raise DataError(f"nothing to read at {self._store.shown}", "check the URL; a web server must list the folder as a page of "
                            "links, so else download it" if web else "check the URL and the permission to list it")
        return found

    def read(self, path: str) -> bytes:
        """The whole file. Raises ``DataError`` or ``AccessError`` naming the path."""
        try:
            return self._store.read(path)
        except KeyError:
            raise DataError(f"{self._store.shown}/{path} does not exist", "check the URL") from None
