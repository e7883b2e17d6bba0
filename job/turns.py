"""HOT tool. Two units in one process: one has the device, the other is packed, stored and committed meanwhile.

A call has the device from its beginning until it says ``done``, so a unit is begun only when the device is free for it,
and what a process loses when it is killed is at most one unit that was drawn and one that was being written.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

AT_ONCE = 2   # one that draws, one that writes


class Turns:
    """Who has the device of this process."""

    def __init__(self) -> None:
        self._device = threading.Lock()
        self._mine = threading.local()
        self._changed = threading.Condition()
        self._at_work = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A call at work. It waits until the device is free, and has it until ``done``, or to the end."""
        self._device.acquire()
        self._mine.has_device = True
        self._count(+1)
        try:
            yield
        finally:
            self.done()
            self._count(-1)

    def done(self) -> None:
        """The calling thread needs the device no more. Called twice, or by one that has no turn, it does nothing."""
        if getattr(self._mine, "has_device", False):
            self._mine.has_device = False
            self._device.release()

    def others_end(self) -> None:
        """Wait until the caller is the only one at work. It has the device, so nobody begins meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: self._at_work <= 1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._at_work += change
            self._changed.notify_all()
