"""Stores, policies and crashes that the tests of versions share."""

import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from job.ground.store import Store
from job.publish.model import Version
from job.publish.versions import publish
from job.runplan import PublishPolicy
from tests.unit.made_run import Made

ALLOWED = ("CC0-1.0", "MIT")


def policy(move_latest: str = "helped", licences: tuple[str, ...] = ALLOWED, privacy: bool = False) -> PublishPolicy:
    """The settings' defaults, for licences of tests."""
    return PublishPolicy(move_latest, licences, privacy)


def publish_it(made: Made, store: Store | None = None, **policies: Any) -> tuple[Version, bool]:
    """Publish a made run, through another store object if one is given."""
    assert made.report
    return publish(store or made.store, made.planned, made.split, made.report, made.spent, policy(**policies), "sha256:img", "abc")


def memory() -> Store:
    """An empty store of this process."""
    return Store(f"memory://{uuid.uuid4().hex}", retry_s=0)


def folder(path: Path) -> Store:
    """An empty store on this disk."""
    return Store(str(path), retry_s=0)


class Crash(BaseException):
    """The process is gone: nothing catches it."""


class Dying(Store):
    """A store whose process dies before, or after, its n-th change; no thread of it changes anything afterwards."""

    def __init__(self, url: str, after: int, done: bool) -> None:
        super().__init__(url, retry_s=0)
        self.left, self.done = after + done, done
        self.lock = threading.RLock()

    def _change(self, change: Callable[[], Any]) -> Any:
        with self.lock:
            self.left -= 1
            if self.left < 0:
                raise Crash
            result = change()
            if self.left == 0 and self.done:
                raise Crash
            return result

    def create(self, key: str, data: bytes) -> bool:
        return bool(self._change(lambda: super(Dying, self).create(key, data)))

    def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        return bool(self._change(lambda: super(Dying, self).swap(key, expected, data)))

    def delete(self, key: str) -> None:
        _ = self._change(lambda: super(Dying, self).delete(key)) if "/" in key else super().delete(key)   # the clock's probe


def contents(store: Store) -> dict[str, bytes]:
    """Every object."""
    return {key: store.read(key) for key, _ in store.list("")}
