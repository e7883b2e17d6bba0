"""``latest.json``: which version readers should take. Advisory, compare-and-swap, rebuildable.

Every move is a record of its own, ``moves/<n>.json``, create-only and numbered without gaps: the last of them is what
``latest.json`` says, or should. A publish moves only forward, to a version later than any that was ever pointed to, so
what was rolled back stays back; only ``rollback`` goes where it is told. Whether a version may move is told when it is
published; who publishes it again with ``always`` or ``never`` is heard, too.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import takewhile
from typing import Any, Literal

from job.errors import AccessError, DataError, TemporaryError
from job.ground import layout, lineage
from job.ground.store import Store
from job.publish.model import Version
from job.publish.records import READERS, every, read

ROUNDS = 100   # attempts against others who move the same pointer


@dataclass(frozen=True, slots=True)
class Pointer:
    """What ``latest.json`` holds. ``move``: number of the record it follows from."""

    version: int
    run: str
    verdict: str
    move: int


@dataclass(frozen=True, slots=True)
class Move:
    """One record of ``moves/``; ``before`` is the version that was pointed to, None at first."""

    number: int
    kind: Literal["publish", "rollback"]
    version: int
    run: str
    verdict: str
    before: int | None


def latest(store: Store, dataset: str) -> Pointer | None:
    """The version to take, or None while no version has been worth moving to.

    A pointer that is lost, broken or behind its records is made again from ``moves/``, or, where these are lost too,
    from the versions; who may not write is told all the same.
    """
    pointer = _parse(store.get(layout.latest(dataset)))
    if pointer and store.get(_move_key(dataset, pointer.move + 1)) is None:
        return pointer
    known = _moves(store, dataset)
    moves = known or _from_versions(store, dataset)
    if not moves:
        return None
    with suppress(AccessError):
        for move in moves[len(known) :]:
            store.create(_move_key(dataset, move.number), lineage.canonical(asdict(move)).encode())
        _point(store, dataset, moves[-1])
    return _pointer(moves[-1])


def advance(store: Store, version: Version, asked: str = "helped") -> bool:
    """Move forward to a version, once, if it was to move when it was published and ``asked`` is not ``never``, or if
    ``asked`` is ``always``. Returns whether latest now points to it.
    """
    moves_on = asked == "always" or (version.moves_latest and asked != "never")
    for _ in range(ROUNDS):
        moves = _moves(store, version.dataset)
        reached = max((one.version for one in moves), default=0)
        if not moves_on or version.number <= reached:
            if moves:
                _point(store, version.dataset, moves[-1])   # a mover may have died between record and pointer
            return bool(moves) and moves[-1].version == version.number
        if _record(store, version, "publish", moves):
            return True
    raise TemporaryError(f"{layout.moves(version.dataset)} is moved by others all the time", "run again")


def rollback(store: Store, dataset: str, number: int) -> Pointer:
    """Point to an existing version, earlier or later, whatever its verdict; recorded. Nothing if it is pointed to already.

    Raises ``DataError`` if there is no such version.
    """
    version = read(store, dataset, number)
    for _ in range(ROUNDS):
        moves = _moves(store, dataset)
        if moves and moves[-1].version == number:
            _point(store, dataset, moves[-1])
            return _pointer(moves[-1])
        if _record(store, version, "rollback", moves):
            return Pointer(number, version.run, version.judged.word, len(moves) + 1)
    raise TemporaryError(f"{layout.moves(dataset)} is moved by others all the time", "run again")


def reached(store: Store, dataset: str) -> int:
    """The latest version that was ever pointed to, whether it is still there or not; 0 without any."""
    return max((one.version for one in _moves(store, dataset)), default=0)


def _record(store: Store, version: Version, kind: Literal["publish", "rollback"], moves: list[Move]) -> bool:
    """The next record, then the pointer. False if somebody else recorded a move meanwhile."""
    before = moves[-1].version if moves else None
    move = Move(len(moves) + 1, kind, version.number, version.run, version.judged.word, before)
    if not store.create(_move_key(version.dataset, move.number), lineage.canonical(asdict(move)).encode()):
        return False
    _point(store, version.dataset, move)
    return True


def _point(store: Store, dataset: str, move: Move) -> None:
    """Let ``latest.json`` say what the record says, unless it already follows a later one."""
    key = layout.latest(dataset)
    for _ in range(ROUNDS):
        held = store.get(key)
        there = _parse(held)
        if there == _pointer(move):
            return
        if there and there.move > move.number and store.get(_move_key(dataset, there.move)) is not None:
            return   # it follows a later record; a number without one is no more than a broken pointer
        if store.swap(key, held, lineage.canonical(asdict(_pointer(move))).encode()):
            return
    raise TemporaryError(f"{key} is moved by others all the time", "run again")


def _pointer(move: Move) -> Pointer:
    return Pointer(move.version, move.run, move.verdict, move.number)


def _moves(store: Store, dataset: str) -> list[Move]:
    """All records in order. The listing saves time; what it does not show yet is asked for by its exact key."""
    listed = len(store.list(layout.moves(dataset)))
    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(lambda number: _move(store, dataset, number), range(1, listed + 1)))
    moves = list(takewhile(lambda move: move is not None, found))
    while (move := _move(store, dataset, len(moves) + 1)) is not None:
        moves.append(move)
    return moves


def _move(store: Store, dataset: str, number: int) -> Move | None:
    data = store.get(_move_key(dataset, number))
    try:
        return None if data is None else Move(**json.loads(data))
    except (ValueError, TypeError):
        raise DataError(f"{_move_key(dataset, number)} is no record of a move", "restore it; it is never written twice") from None


def _from_versions(store: Store, dataset: str) -> list[Move]:
    """What the records would say if nobody had ever rolled back."""
    moves: list[Move] = []
    for version in every(store, dataset):
        if version.moves_latest:
            before = moves[-1].version if moves else None
            moves.append(Move(len(moves) + 1, "publish", version.number, version.run, version.judged.word, before))
    return moves


def _move_key(dataset: str, number: int) -> str:
    return f"{layout.moves(dataset)}{number:06d}.json"


def _parse(data: bytes | None) -> Pointer | None:
    """None for what is no pointer."""
    try:
        told: Any = json.loads(data or b"")
        pointer = Pointer(**told)
    except (ValueError, TypeError):
        return None
    whole = type(pointer.version) is int and type(pointer.move) is int and pointer.version > 0 and pointer.move > 0
    return pointer if whole else None
