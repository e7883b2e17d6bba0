"""HOT tool. What PyTorch compiled, kept below the run's root, so that a new or replaced pod starts warm.

Such an artifact is code that runs in the process that reads it. So it is looked for in one place, below the run's own
root; a create-only record says how many bytes it has and which digest; and it is checked against both before it is read.
The record is named by what the code is good for: recipe, versions, device, batch and size.
"""

import json
from contextlib import suppress

from job.errors import DataError, TemporaryError
from job.ground import lineage
from job.ground.layout import Run
from job.ground.store import Store

CURE = ("somebody else writes below the root, or a file is damaged: find out which; then remove this record and its data, or set "
        "SALTWORKS_GENERATOR__OPTIONS__COMPILE_CACHE=false")


class Kept:
    """The compiled code of one kind of process. ``good_for``: what names that kind; empty: nothing is read or written."""

    def __init__(self, store: Store, run: Run, recipe: str, good_for: str) -> None:
        self._store, self._run = store, run
        self._name = lineage.content_id("compiled", recipe, good_for) if good_for else ""
        self._data = b""
        self._over = not good_for

    def take(self) -> bool:
        """Load what an earlier process kept. Returns whether there was any; storage trouble is as none.

        Raises ``DataError`` for data that are not those of the record: they would be run.
        """
        if self._over:
            return False
        with suppress(TemporaryError):
            record = self._store.get(self._run.compiled(self._name))
            data = self._checked(record) if record else None
            if data:
                import torch

                self._over = torch.compiler.load_cache_artifacts(data) is not None
                return self._over
        return False

    def collect(self) -> None:
        """Take hold of what this process has compiled, once. To be called while it compiles nothing."""
        if not self._over and not self._data:
            import torch

            made = torch.compiler.save_cache_artifacts()
            self._data = made[0] if made else b""
            self._over = not self._data   # nothing was compiled, or nothing that can be kept

    def keep(self) -> None:
        """Write down what was collected, unless another process did it before. Storage trouble stops no work."""
        data, self._data = self._data, b""   # the other unit of this process may end meanwhile
        if data and not self._over:
            self._over = True
            sha256 = lineage.sha256(data)
            record = lineage.canonical({"sha256": sha256, "bytes": len(data)})
            with suppress(TemporaryError):
                if self._store.get(self._run.compiled(self._name)) is None:
                    self._store.create(self._run.compiled_data(self._name, sha256), data)
                    self._store.create(self._run.compiled(self._name), record.encode())

    def _checked(self, record: bytes) -> bytes | None:
        """The data that the record names, if they are those. None where they are gone."""
        key = self._run.compiled(self._name)
        try:
            told = json.loads(record)
            sha256, size = str(told["sha256"]), int(told["bytes"])
        except (ValueError, KeyError, TypeError):
            raise DataError(f"{key} is no record of compiled code", CURE) from None
        data = self._store.get(self._run.compiled_data(self._name, sha256))   # where it lies is not for the record to say
        if data is not None and (len(data) != size or lineage.sha256(data) != sha256):
            raise DataError(f"the compiled code below {key.rpartition('/')[0]} is not what was kept, and it is not run", CURE)
        return data
