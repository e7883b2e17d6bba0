"""Marks of what was begun, so that work which ends its own process is found, cut down to one sample, and given up.

A unit's every start is marked before it draws. Two ends may be anybody's fault (a spot node, an evicted pod); from the
third start on the unit is drawn in sub-ranges, each marked. The range that was last marked before the process ended is
cut again, and drawn first, at the next start: if it is to blame it shows at once, and if the end was chance it will
hardly strike there again. A single sample that ends its process three times in a row, alone, is given up.

::

    starts/<unit>/001.json                          the first start
    starts/<unit>/003-0000-000000032-000000064.json of the third, the first range: about to draw [32, 64)
    starts/<unit>/003-9999-drawn.json               of the third, all drawn: what ends it now is no sample
"""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from job.errors import DataError
from job.ground.layout import Run
from job.ground.store import Store
from job.records import Unit

TRUSTED = 2       # starts that draw the unit in one piece
PIECES = 8        # a suspect range is cut into so many
ALONE = 3         # ends in a row of a single sample's process that give it up
MOST = 40         # starts of one unit, after which nothing in it is believed to work
_MARK = re.compile(r"/(\d{3})(?:-(\d{4})-(?:(\d{9})-(\d{9})|drawn))?\.json$")


@dataclass(frozen=True, slots=True)
class Start:
    """One start of a unit: its number, the ranges to draw one after the other, and the indices that are given up."""

    number: int
    ranges: tuple[tuple[int, int], ...]
    given_up: tuple[int, ...]


class Starts:
    """The marks of one run, or of one room of it."""

    def __init__(self, store: Store, run: Run, room: str = "", most: int = MOST, session: str = "") -> None:
        """``session``: the one call that works units off; only its own starts count towards ``most``.

        So neither an outage that ended earlier ones nor what was repaired since stands in a unit's way.
        """
        self._store, self._run, self._room, self._most = store, run, room, most
        self._session = session or "-"

    def begin(self, unit: Unit) -> Start:
        """Mark a start. Raises ``DataError`` for a unit that was begun more than ``most`` times and never finished."""
        number = 1
        while not self._mark(unit, f"{number:03d}"):
            number += 1
        if number > self._most and self._own(unit) > self._most:
            raise DataError(f"{unit.name} was begun {self._most} times and its process ended every time",
                            "look at the last lines of the workers' logs; it is likely memory, a deadline too short "
                            "(SALTWORKS_GENERATOR__UNIT_DEADLINE_S), or broken weights")
        if number <= TRUSTED:
            return Start(number, ((unit.lo, unit.hi),), ())
        marks = [key for key, _ in self._store.list(self._run.starts(self._name(unit)))]
        return _replay(unit, number, marks)

    def about_to_draw(self, unit: Unit, start: Start, at: int) -> None:
        """Mark the range ``start.ranges[at]``; only starts that no longer trust the unit need it."""
        if start.number > TRUSTED:
            self._mark(unit, "{:03d}-{:04d}-{:09d}-{:09d}".format(start.number, at, *start.ranges[at]))

    def drawn(self, unit: Unit, start: Start) -> None:
        """Mark that what follows is no sample's fault."""
        if start.number > TRUSTED:
            self._mark(unit, f"{start.number:03d}-9999-drawn")

    def _mark(self, unit: Unit, what: str) -> bool:
        return self._store.create(self._run.start(self._name(unit), what), f"{self._session} {uuid.uuid4().hex}".encode())

    def _own(self, unit: Unit) -> int:
        """Starts of this session, the one just marked included."""
        keys = [key for key, _ in self._store.list(self._run.starts(self._name(unit))) if re.search(r"/\d{3}\.json$", key)]
        return sum(self._store.read(key).decode().startswith(f"{self._session} ") for key in keys)

    def _name(self, unit: Unit) -> str:
        return f"{self._room}-{unit.name}" if self._room else unit.name


def _replay(unit: Unit, number: int, keys: Sequence[str]) -> Start:
    """What the marks of all earlier starts say about where the trouble is."""
    last: dict[str, tuple[int, int] | None] = {}
    for start, _, lo, hi in sorted(match.groups("") for match in map(_MARK.search, keys) if match):   # as they were written
        last[start] = (int(lo), int(hi)) if lo else None
    ranges = _cut((unit.lo, unit.hi))
    given_up: set[int] = set()
    row: list[tuple[int, int]] = []   # the same culprit in a row
    for earlier in range(TRUSTED + 1, number):
        culprit = last.get(f"{earlier:03d}")
        if culprit is None or culprit not in ranges:
            row = []
            continue
        row = [*row, culprit] if culprit in row else [culprit]
        ranges.remove(culprit)
        if culprit[1] - culprit[0] > 1:
            ranges = [*_cut(culprit), *ranges]
        elif len(row) < ALONE:
            ranges = [culprit, *ranges]
        else:
            given_up.add(culprit[0])
    return Start(number, tuple(ranges), tuple(sorted(given_up)))


def _cut(whole: tuple[int, int]) -> list[tuple[int, int]]:
    """``PIECES`` ranges as even as can be, none empty."""
    lo, hi = whole
    size = max(1, -(-(hi - lo) // PIECES))
    return [(at, min(at + size, hi)) for at in range(lo, hi, size)]
