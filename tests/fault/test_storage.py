"""Storage that fails, over every call: nothing lost, nothing twice, no false conflict; what lasts ends in 75 or 77 and can be repeated."""

import pytest

from job.ground.store import Store
from tests.fault.conftest import Faulty
from tests.fault.storage_laws import check_ended_and_repeatable, check_survived

pytestmark = [pytest.mark.fault, pytest.mark.long]
ONCE = ["500", "503", "slow", "drop", "409", "500 after", "503 after", "drop after", "409 after", "truncate", "expired", "invalid"]
STORM = ["500", "slow", "drop", "409", "500 after", "drop after", "truncate"]


@pytest.mark.parametrize(("what", "times"), [*((what, 1) for what in ONCE), *((what, 4) for what in STORM)])
def test_what_passes_is_waited_out_and_changes_nothing(faulty: Faulty, what: str, times: int) -> None:
    check_survived(Store, faulty, what, times)


@pytest.mark.parametrize(("what", "exits"), [
    ("500", {75}), ("slow", {75}), ("drop", {75}), ("409", {75}), ("500 after", {75}), ("drop after", {75}), ("expired", {75, 77}),
    ("skewed", {75, 77}), ("denied", {77}), ("invalid", {75, 77}),
])
def test_what_lasts_ends_in_75_or_77_and_the_same_call_succeeds_afterwards(faulty: Faulty, what: str, exits: set[int]) -> None:
    check_ended_and_repeatable(Store, faulty, what, exits, retry_s=1)
