"""Buckets that keep less than S3 does are found out, through requests alone."""

import pytest

from job import doctor
from job.errors import AccessError, TemporaryError
from job.ground.store import Store
from tests.fault.conftest import Faulty
from tests.fault.proxy import FOREVER, Fault

pytestmark = pytest.mark.fault


def test_a_bucket_that_ignores_conditions_is_unsafe_for_several_writers(faulty: Faulty) -> None:
    with faulty.proxy.breaking(Fault("strip", times=FOREVER)):
        found = doctor.storage(Store(faulty.url, 10))
    failed = {probe.name for probe in found.probes if probe.found == "FAILED"}
    assert {"create once", "create in parts", "compare and swap"} <= failed, found.lines
    assert (found.several_writers_safe, found.one_writer_safe) == (False, True)
    assert Store(faulty.url).list("") == []


def test_a_bucket_that_does_not_check_the_end_of_an_upload_in_parts_is_found_out(faulty: Faulty) -> None:
    with faulty.proxy.breaking(Fault("strip", method="POST", times=FOREVER)):
        found = doctor.storage(Store(faulty.url, 10))
    assert {probe.name for probe in found.probes if probe.found == "FAILED"} == {"create in parts"}, found.lines
    assert not found.several_writers_safe


def test_a_bucket_with_bad_days_is_still_judged_by_its_promises(faulty: Faulty) -> None:
    with faulty.proxy.breaking(Fault("500 after", method="PUT", first=2, times=2), Fault("drop", method="GET", first=3, times=2),
                               Fault("409", method="PUT", first=9, times=2)):
        found = doctor.storage(Store(faulty.url, 30))
    assert found.several_writers_safe, "\n".join(found.lines)


@pytest.mark.parametrize(("what", "kind"), [("denied", AccessError), ("slow", TemporaryError)])
def test_a_bucket_that_takes_nothing_is_an_error_and_no_finding(faulty: Faulty, what: str, kind: type[Exception]) -> None:
    with faulty.proxy.breaking(Fault(what, method="PUT", times=FOREVER)), pytest.raises(kind):
        doctor.storage(Store(faulty.url, 1))
