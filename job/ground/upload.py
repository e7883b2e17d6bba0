"""A local file that becomes an object: whole or not at all, never over another one, and never held in memory."""

import hashlib
import os
import shutil
import uuid
from pathlib import Path

from job.errors import TemporaryError
from job.ground.store import Store

BLOCK = 1 << 24   # bytes read at once


def sha256_of(path: Path) -> str:
    """64 hex digits of a local file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_file(store: Store, key: str, path: Path) -> bool:
    """Make an object that does not exist yet from the file at ``path``, by multipart upload where the store has one.

    Returns True if the object now holds the bytes of the file (made by us, now or before), False if another one was
    there first. Raises ``TemporaryError`` if what arrived is of another size, and what ``Store.create`` raises.
    """
    target, size = store._path(key), path.stat().st_size
    put = _link if store.scheme == "file" else store._fs.put_file

    def create() -> None:
        put(str(path), target, **({} if store.scheme == "file" else {"mode": "create"}))

    try:
        store._persist(create, key)
    except FileExistsError:   # another's, or our own whose answer was lost
        return _size(store, key, target) == size and _stored_sha256(store, key, target) == sha256_of(path)
    arrived = _size(store, key, target)
    if arrived != size:
        raise TemporaryError(f"{store.shown}/{key} has {arrived} bytes instead of {size}", "remove it and run again")
    return True


def _link(path: str, target: str) -> None:
    """As ``Store.create`` does on a folder: temporary name, fsync, link."""
    folder, _, name = target.rpartition("/")
    os.makedirs(folder, exist_ok=True)
    temporary = f"{folder}/.tmp-{uuid.uuid4().hex}-{name[:40]}"
    try:
        with open(path, "rb") as source, open(temporary, "xb") as copy:
            shutil.copyfileobj(source, copy, BLOCK)
            copy.flush()
            os.fsync(copy.fileno())
        os.link(temporary, target)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _size(store: Store, key: str, target: str) -> int:
    def ask() -> int:
        store._fs.invalidate_cache()
        return int(store._fs.size(target))

    return store._persist(ask, key)


def _stored_sha256(store: Store, key: str, target: str) -> str:
    def read() -> str:
        digest = hashlib.sha256()
        with store._fs.open(target, "rb", block_size=BLOCK) as file:
            while block := file.read(BLOCK):
                digest.update(block)
        return digest.hexdigest()

    return store._persist(read, key)
