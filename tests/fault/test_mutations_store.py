"""A store with one of its cares removed breaks a law: the laws can fail, so they say something."""

from collections.abc import Callable

import pytest

from job.errors import JobError
from job.ground import objects
from job.ground.store import Store
from tests.fault.conftest import Faulty
from tests.fault.storage_laws import check_damage_is_noticed, check_ended_and_repeatable, check_survived

pytestmark = pytest.mark.fault


class TrustsTheRefusal(Store):
    """Takes a 412 at its word, without reading back whose object is there."""

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._write(self._create, key, data)
        except FileExistsError:
            return False
        return True


class SwapsOnce(Store):
    """Takes the refusal of a swap at its word."""

    def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        there = self.stamped(key)
        return (there[0] if there else None) == expected and self.put_if(key, data, there[1] if there else None)


class LooksFirst(Store):
    """Creates where it has seen nothing, as fsspec does on a disk, without a condition."""

    def create(self, key: str, data: bytes) -> bool:
        if self.get(key) is not None:
            return self.get(key) == data
        self._write(self._replace, key, data)
        return True


class Impatient(Store):
    """Gives up at the first trouble, as a store without a budget would."""

    def __init__(self, url: str, retry_s: float = 0, *, part_bytes: int = objects.SHORT) -> None:
        super().__init__(url, 0, part_bytes=part_bytes)


class Credulous(Store):
    """Asks no digest."""

    def read(self, key: str, sha256: str = "") -> bytes:
        return super().read(key)


LAWS: dict[str, Callable[[type[Store], Faulty], None]] = {
    "a lost answer": lambda kind, faulty: check_survived(kind, faulty, "500 after", 1),
    "lost answers": lambda kind, faulty: check_survived(kind, faulty, "drop after", 4),
    "a storm": lambda kind, faulty: check_survived(kind, faulty, "slow", 4),
    "answers that stay lost": lambda kind, faulty: check_ended_and_repeatable(kind, faulty, "500 after", {75}, 1),
    "damage": lambda kind, faulty: check_damage_is_noticed(kind, faulty),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_store_keeps_the_law(faulty: Faulty, law: str) -> None:
    LAWS[law](Store, faulty)


@pytest.mark.parametrize(("mutant", "law"), [
    (TrustsTheRefusal, "a lost answer"), (TrustsTheRefusal, "lost answers"), (TrustsTheRefusal, "answers that stay lost"),
    (SwapsOnce, "lost answers"), (Impatient, "a storm"), (Credulous, "damage")])
def test_a_broken_store_is_seen_to_break_it(faulty: Faulty, mutant: type[Store], law: str) -> None:
    with pytest.raises((AssertionError, JobError)):
        LAWS[law](mutant, faulty)
