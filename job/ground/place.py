"""A place that bytes lie at: which URLs are taken, how it is opened, and how trouble there is waited out and told."""

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import fsspec

from job.errors import DataError, SettingsError, redact
from job.ground import objects, retry

SCHEMES = ("file", "s3", "gs", "gcs", "abfs", "az", "memory")
BUCKETS = ("s3", "gs", "gcs", "abfs", "az")
PART_BYTES = 50 * 2**20   # an object of two parts or more is uploaded in parts
T = TypeVar("T")
_OPENING = threading.Lock()   # many threads share a store, and one client is enough


class Place:
    """A folder or bucket prefix. Cheap to make and to send: it holds the URL, never a credential or a client."""

    schemes: ClassVar[tuple[str, ...]] = SCHEMES
    patient_s: ClassVar[float] = 10   # of waiting, after which a person is told why nothing moves
    _use: ClassVar[str] = "store at"

    def __init__(self, url: str, retry_s: float = 300, *, part_bytes: int = PART_BYTES) -> None:
        """Raise ``SettingsError`` for a scheme that is not on the list, a chained URL, or one without its bucket."""
        scheme, separator, place = url.partition("://")
        scheme = scheme if separator else "file"
        bucket = place.partition("/")[0]
        if "::" in url:
            raise SettingsError(f"cannot {self._use} {redact(url)!r}: it is a URL inside another, which could lead anywhere",
                                "unpack archives, and name the folder or bucket itself")
        if scheme not in self.schemes:
            raise SettingsError(f"cannot {self._use} {redact(url)!r}", f"use a folder or one of {', '.join(self.schemes)}://")
        if scheme in BUCKETS and not bucket:
            raise SettingsError(f"{redact(url)!r} names no bucket", f"write {scheme}://bucket/prefix")
        if scheme in BUCKETS and ("?" in place or ("@" in bucket and scheme not in ("abfs", "az"))):
            raise SettingsError(f"{redact(url)!r} is more than a bucket and a prefix", "give credentials to the process, not in a URL")
        self.url = url if separator else str(Path(url).absolute())
        self.scheme, self.retry_s, self.part_bytes = scheme, retry_s, part_bytes
        self._open: tuple[Any, str] | None = None
        self._renewed = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": None, "_renewed": False}

    @property
    def shown(self) -> str:
        """The URL, fit to be printed."""
        return redact(self.url)

    @property
    def _fs(self) -> Any:
        return self._opened()[0]

    def _path(self, key: str) -> str:
        if key.startswith("/") or ".." in key.split("/"):
            raise DataError(f"{key!r} is no key below the root", "use names without .. and leading slashes")
        return f"{self._opened()[1]}/{key}"

    def _opened(self) -> tuple[Any, str]:
        """The file system, and the path of the root in it. Raises ``SettingsError`` if the environment does not let it be built."""
        with _OPENING:
            if self._open is None:
                self._open = self._build()
            return self._open

    def _build(self) -> tuple[Any, str]:
        options = objects.OPTIONS if self.scheme == "s3" else {"use_listings_cache": False} if self.scheme in ("file", *BUCKETS) else {}
        try:
            fs, path = fsspec.core.url_to_fs(self.url, **options, **({"skip_instance_cache": True} if self._renewed else {}))
            if self.scheme == "s3":
                objects.connect(fs)
        except ImportError as error:
            raise SettingsError(f"cannot open {self.shown}: {error}", "install the package that it names") from None
        except Exception as error:
            if retry.kind(error) in ("passing", "credentials"):
                raise
            raise SettingsError(f"cannot open {self.shown}: {self._told(error)}",
                                "correct the URL, or the environment's storage settings (endpoint, region, profile)") from None
        return fs, path.rstrip("/")

    def _renew(self, failed: tuple[Any, str] | None) -> None:
        """Throw a client away: the next one asks the chain of providers for fresh credentials. Not if another thread just did."""
        with _OPENING:
            if self._open is failed:
                self._open, self._renewed = None, True

    def _told(self, error: BaseException) -> str:
        """What the error says, in one line, without secrets."""
        number = isinstance(error, OSError) and error.strerror and not error.filename   # an errno that only stands for the store's code
        text = " ".join(str(error.strerror if number else error).split())
        current = self._open
        for secret in objects.secrets(current[0]) if current else ():
            text = text.replace(secret, "***")
        return redact(re.sub(r"(?i)(signature|security-token)(\W+)[\w+/=%-]{8,}", r"\1\2***", text))

    def _persist(self, action: Callable[[], T], key: str) -> T:
        used: tuple[Any, str] | None = None

        def asked() -> T:
            nonlocal used
            try:
                used = self._opened()
                return action()
            except OSError as error:   # of a local file, such as a token: no answer of the store, least of all that an object is absent
                if self.scheme == "s3" and error.filename:
                    raise retry.CredentialsFileError(f"{error.strerror}: {error.filename}") from None
                raise

        return retry.persist(asked, redact(f"{self.url}/{key}"), self.retry_s, self.patient_s,
                             renew=lambda: self._renew(used), told=self._told)
