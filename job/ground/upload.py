"""A local file that becomes an object: whole or not at all, never over another one, and never held in memory.

A friend of the store: what ``Store.create`` does with bytes, in the same words and with the same retries, is done here
with files that are too large to be held.
"""

import hashlib
from pathlib import Path

from job.errors import DataError, TemporaryError
from job.ground import files
from job.ground.retry import code
from job.ground.store import Store


def sha256_of(path: Path) -> str:
    """64 hex digits of a local file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_file(store: Store, key: str, path: Path) -> bool:
    """Make an object that does not exist yet from the file at ``path``; on S3 by a conditional upload in parts.

    Returns True if the object now holds the bytes of the file (made by us, now or before), False if another one was
    there first. Raises ``TemporaryError`` if what arrived is of another size, and what ``Store.create`` raises.
    """
    try:
        store._persist(lambda: _put(store, key, path), key)
    except FileExistsError:   # another's, or our own whose answer was lost
        return _size(store, key) == path.stat().st_size and _stored_sha256(store, key) == sha256_of(path)
    except (NotADirectoryError, IsADirectoryError):
        raise store._blocked(key) from None
    except FileNotFoundError:
        raise DataError(f"{store.shown} does not exist and cannot be made", "create the bucket, or check the URL") from None
    arrived = _size(store, key)
    if arrived != path.stat().st_size:
        raise TemporaryError(f"{store.shown}/{key} has {arrived} bytes instead of {path.stat().st_size}", "remove it and run again")
    return True


def _put(store: Store, key: str, path: Path) -> None:
    """Raise ``FileExistsError`` if there is an object."""
    if store.scheme == "file":
        return files.create(store._path(key), path)
    parts = {"chunksize": store.part_bytes} if store.scheme == "s3" else {}
    try:
        store._fs.put_file(str(path), store._path(key), mode="create", **parts)
    except OSError as error:
        if code(error)[0] in ("PreconditionFailed", "412"):   # not every store says which condition failed
            raise FileExistsError(key) from error
        raise


def _size(store: Store, key: str) -> int:
    def ask() -> int:
        store._fs.invalidate_cache()
        return int(store._fs.size(store._path(key)))

    return store._persist(ask, key)


def _stored_sha256(store: Store, key: str) -> str:
    def read() -> str:
        digest = hashlib.sha256()
        with store._fs.open(store._path(key), "rb", block_size=files.BLOCK) as file:
            while block := file.read(files.BLOCK):
                digest.update(block)
        return digest.hexdigest()

    return store._persist(read, key)
