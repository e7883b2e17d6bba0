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
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from job.errors import AccessError, DataError, JobError, SettingsError, TemporaryError, redact

SCHEMES = ("file", "s3", "gs", "gcs", "abfs", "az", "memory")
LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
T = TypeVar("T")


class Store:
    """A folder or bucket prefix. Cheap to make and to send: it holds the URL, never a credential or a client."""

    def __init__(self, url: str, retry_s: float = 300) -> None:
        """Raise ``SettingsError`` for a scheme that is not on the list, or a chained URL."""
        scheme, separator, _ = url.partition("://")
        scheme = scheme if separator else "file"
        if "::" in url or scheme not in SCHEMES:
            raise SettingsError(f"cannot store at {redact(url)!r}", f"use a folder or one of {', '.join(SCHEMES)}://")
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
                options = {"use_listings_cache": False} if self.scheme != "memory" else {}
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
        """Objects below a prefix that ends in a slash (or is empty): (key, bytes), sorted. A hint, not the truth."""
        def find() -> dict[str, Any]:
            self._fs.invalidate_cache()
            return self._fs.find(self._path(prefix).rstrip("/"), detail=True)

        try:
            found = self._persist(find, prefix)
        except (FileNotFoundError, NotADirectoryError):
            return []
        top = len(self._opened()[1]) + 1
        return sorted(
            (path[top:], int(info["size"] or 0)) for path, info in found.items()
            if info["type"] == "file" and not path.rpartition("/")[2].startswith(".tmp-")
        )

    def create(self, key: str, data: bytes) -> bool:
        """Make an object that does not exist yet, whole or not at all.

        Returns True if the object now holds ``data`` (made by us, now or before), False if another one was there first.
        """
        path = self._path(key)
        make = self._create_file if self.scheme == "file" else self._create_object
        try:
            self._persist(lambda: make(path, data), key)
        except FileExistsError:
            return self.read(key) == data
        return True

    def replace(self, key: str, data: bytes) -> None:
        """Make or overwrite an object, whole or not at all. For what can be made again at any time, such as a report."""
        path = self._path(key)
        put = self._replace_file if self.scheme == "file" else self._fs.pipe_file
        self._persist(lambda: put(path, data), key)

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
        except PermissionError as error:
            raise AccessError(f"no permission at {where}: {error}", "check credentials and policy") from None
        except (FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError):
            raise
        except Exception as error:
            if _credentials(error):
                raise AccessError(f"no credentials for {where}: {error}", "give the process credentials") from None
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise TemporaryError(f"the disk is full at {where}", "free space and run again") from None
            if _passing(error):
                raise TemporaryError(f"storage trouble at {where}: {redact(str(error))}", "run again to resume") from error
            raise


@contextmanager
def _temporary(path: str, data: bytes) -> Iterator[str]:
    """A whole, synced file beside ``path``, gone afterwards unless it was renamed."""
    folder, _, name = path.rpartition("/")
    os.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/.tmp-{uuid.uuid4().hex}-{name[:40]}"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)


def _credentials(error: BaseException) -> bool:
    return type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}


def _passing(error: BaseException) -> bool:
    """Whether waiting may help: network and server trouble, not absence, permission or a full disk."""
    if isinstance(error, (JobError, *LASTING)) or _credentials(error):
        return False
    if isinstance(error, OSError):
        return error.errno not in (errno.ENOSPC, errno.EINVAL, errno.EROFS, errno.ENAMETOOLONG)
    return isinstance(error, TimeoutError) or type(error).__module__.split(".")[0] in {"botocore", "aiobotocore", "aiohttp"}


class ReadOnlyFolder:
    """The ``Folder`` that real sources and weights are read through."""

    def __init__(self, url: str, retry_s: float = 60) -> None:
        self._store = Store(url, retry_s)

    def list(self) -> list[tuple[str, int]]:
        """Every file below, as (relative path, bytes), sorted. Raises ``DataError`` if there is nothing."""
        found = self._store.list("")
        if not found:
            raise DataError(f"nothing to read at {redact(self._store.url)}", "check the URL and the permission to list it")
        return found

    def read(self, path: str) -> bytes:
        """The whole file. Raises ``DataError`` or ``AccessError`` naming the path."""
        try:
            return self._store.read(path)
        except KeyError:
            raise DataError(f"{redact(self._store.url)}/{path} does not exist", "check the URL") from None
