"""The laws of storage under faults, as functions of the store's class, so that a broken class can be seen to break them."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from job.errors import JobError
from job.ground.store import Store
from tests.fault.conftest import Faulty
from tests.fault.proxy import FOREVER, Fault

PART_BYTES = 5 * 2**20   # the least that S3 takes
LARGE = b"large" * (2 * PART_BYTES // 5 + 1)
OURS, OLD, THEIRS = b"ours", b"old", b"theirs"


@dataclass(frozen=True, slots=True)
class Act:
    """One call of the store, what is there before, what it returns, what is there afterwards, and how many requests it takes."""

    call: Callable[[Store, str], Any]
    returns: Any
    before: bytes | None
    after: bytes | None
    requests: int = 1


ACTS = {
    "create": Act(lambda store, key: store.create(key, OURS), True, None, OURS),
    "create in parts": Act(lambda store, key: store.create(key, LARGE), True, None, LARGE, 2),
    "create again": Act(lambda store, key: store.create(key, OURS), True, OURS, OURS, 2),
    "create too late": Act(lambda store, key: store.create(key, OURS), False, THEIRS, THEIRS, 2),
    "replace": Act(lambda store, key: store.replace(key, OURS), None, OLD, OURS),
    "swap the first": Act(lambda store, key: store.swap(key, None, OURS), True, None, OURS, 2),
    "swap": Act(lambda store, key: store.swap(key, OLD, OURS), True, OLD, OURS, 2),
    "swap too late": Act(lambda store, key: store.swap(key, OLD, OURS), False, THEIRS, THEIRS),
    "read": Act(lambda store, key: store.read(key, hashlib.sha256(OURS).hexdigest()), OURS, OURS, OURS),
    "get nothing": Act(lambda store, key: store.get(key), None, None, None),
    "list": Act(lambda store, key: [size for _, size in store.list(f"{key.rpartition('/')[0]}/")], [4], OURS, OURS),
    "delete": Act(lambda store, key: store.delete(key), None, OLD, None),
}


def check_survived(kind: type[Store], faulty: Faulty, what: str, times: int, retry_s: float = 60) -> None:
    """Under a fault that passes every act returns what it returns without, and leaves what it leaves without."""
    def check(name: str, act: Act, first: int) -> None:
        _survive(kind, faulty, f"{name}-{first}-{times}/{what}", act, Fault(what, first=first, times=times), retry_s)

    _each(check)


def check_ended_and_repeatable(kind: type[Store], faulty: Faulty, what: str, exits: set[int], retry_s: float) -> None:
    """Under a fault that lasts every act ends with one of these exit codes, and succeeds afterwards: no false conflict."""
    def check(name: str, act: Act, first: int) -> None:
        _outlast(kind, faulty, f"{name}-{first}/{what}", act, Fault(what, first=first, times=FOREVER), exits, retry_s)

    _each(check)


def _each(check: Callable[[str, Act, int], None]) -> None:
    """All acts at once, for they mostly wait; with the first and, if there is one, the second request of each as the first that fails."""
    with ThreadPoolExecutor(2 * len(ACTS)) as acts:
        work = [acts.submit(check, name, act, first) for name, act in ACTS.items() for first in range(1, act.requests + 1)]
    for one in work:
        one.result()


def _survive(kind: type[Store], faulty: Faulty, place: str, act: Act, fault: Fault, retry_s: float) -> None:
    store, key = _prepared(kind, faulty, place, act, retry_s)
    fault.key = key
    with faulty.proxy.breaking(fault):
        returned = act.call(store, key)
    assert returned == act.returns, f"{place}: {returned}"
    assert store.get(key) == act.after, place


def _outlast(kind: type[Store], faulty: Faulty, place: str, act: Act, fault: Fault, exits: set[int], retry_s: float) -> None:
    store, key = _prepared(kind, faulty, place, act, retry_s)
    fault.key = key
    with faulty.proxy.breaking(fault):
        try:
            ended: Any = act.call(store, key)
        except JobError as error:
            ended = error
    assert ended.exit_code in exits if isinstance(ended, JobError) else ended == act.returns, f"{place}: {ended}"
    assert store.get(key) in (act.before, act.after), f"{place}: neither as before nor as after"
    assert act.call(store, key) == act.returns, f"{place}: not again"
    assert store.get(key) == act.after, place


def _prepared(kind: type[Store], faulty: Faulty, place: str, act: Act, retry_s: float) -> tuple[Store, str]:
    store, key = kind(faulty.url, retry_s, part_bytes=PART_BYTES), f"{place.replace(' ', '-')}/key"
    if act.before is not None:
        store.replace(key, act.before)
    return store, key


def check_damage_is_noticed(kind: type[Store], faulty: Faulty) -> None:
    """Damage that no length betrays is read again; what lies there damaged is never handed out."""
    store, data = kind(faulty.url, 10), b"0123456789" * 100
    digest = hashlib.sha256(data).hexdigest()
    store.create("damaged/key", data)
    for what in ("shorten", "flip", "flip-summed", "truncate"):
        for times in (1, 3):
            with faulty.proxy.breaking(Fault(what, key="damaged", method="GET", times=times)):
                assert store.read("damaged/key", digest) == data, f"{what} {times}"
    for what in ("flip", "flip-summed"):
        with faulty.proxy.breaking(Fault(what, key="damaged", method="GET", times=FOREVER)):
            try:
                ended: Any = store.read("damaged/key", digest)
            except JobError as error:
                ended = error
        assert isinstance(ended, JobError), f"{what}: damaged bytes were handed out"
        assert ended.exit_code == 65, f"{what}: {ended}"
    assert store.read("damaged/key", digest) == data
