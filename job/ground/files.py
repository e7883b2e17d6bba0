"""Objects on a local disk or a mounted volume: whole or not at all, and there to stay once they are told.

fsspec's local files are written in place, so they are written here: temporary name, fsync, link or rename, and fsync of
the folder, without which a name may be lost when the machine fails. Needs hard links, which all common file systems of
Linux and NFS have.
"""

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BLOCK = 1 << 24        # bytes of a file that are copied at once
TEMPORARY = ".tmp-"   # begins the names of what is nobody's object (yet): half-written files, locks, probes


def create(path: str, data: bytes | Path) -> None:
    """Make a file that is not there yet, from bytes or, block by block, from another file.

    Raises ``FileExistsError``, and ``NotADirectoryError`` for a file as a folder.
    """
    if os.path.lexists(path):   # spares the writing, and a disk that is read-only by now is no trouble then
        raise FileExistsError(path)
    with _temporary(path, data) as temporary:
        os.link(temporary, path)
    _sync(os.path.dirname(path))


def replace(path: str, data: bytes) -> None:
    """Make or overwrite a file. Raises as ``create`` does."""
    with _temporary(path, data) as temporary:
        os.replace(temporary, path)
    _sync(os.path.dirname(path))


def delete(path: str) -> None:
    """Remove a file. Raises ``FileNotFoundError`` if there is none."""
    os.unlink(path)
    _sync(os.path.dirname(path))


def stamp(data: bytes) -> str:
    """What a file's content is recognised by."""
    return hashlib.sha256(data).hexdigest()


def replace_if(path: str, data: bytes, expected: str | None) -> None:
    """Overwrite the file that bears the stamp ``expected``, or make one where none is if that is None.

    Raises ``FileExistsError`` if it is another one, ``BlockingIOError`` while another process does the same. Holds among
    all who write through here: the lock is advisory.
    """
    if expected is None:
        return create(path, data)
    with _locked(path):
        try:
            there = Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise FileExistsError(path) from None
        if stamp(there) != expected:
            raise FileExistsError(path)
        replace(path, data)


@contextmanager
def _temporary(path: str, data: bytes | Path) -> Iterator[str]:
    """A whole, synced file beside ``path``, gone afterwards unless it was renamed."""
    folder, _, name = path.rpartition("/")
    _make(folder)
    temporary = f"{folder}/{TEMPORARY}{uuid.uuid4().hex}-{name[:40]}"
    try:
        with open(temporary, "xb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                with open(data, "rb") as source:
                    shutil.copyfileobj(source, file, BLOCK)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """The lock of one file. Its own file goes with it, so a lock counts only while its name still leads to it."""
    folder, _, name = path.rpartition("/")
    _make(folder)
    lock = f"{folder}/{TEMPORARY}lock-{name}"
    with open(lock, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            mine = os.path.samestat(os.fstat(file.fileno()), os.stat(lock))
        except FileNotFoundError:
            mine = False
        if not mine:
            raise BlockingIOError(f"{lock} was released just now")
        try:
            yield
        finally:
            Path(lock).unlink(missing_ok=True)


def _make(folder: str) -> None:
    """Make a folder and those above it, to stay."""
    if os.path.isdir(folder):
        return
    missing = [folder]
    while not os.path.lexists(parent := os.path.dirname(missing[-1])):
        missing.append(parent)
    try:
        os.makedirs(folder, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(folder) from error
    for one in missing:
        _sync(os.path.dirname(one))


def _sync(folder: str) -> None:
    handle = os.open(folder or "/", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
