"""Credentials that expire are fetched anew from the chain of providers; whatever fails, none is ever told."""

import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs

from job.errors import AccessError, JobError, TemporaryError
from job.ground.store import ReadOnlyFolder, Store
from tests.fault.conftest import Faulty
from tests.fault.proxy import ERRORS, FOREVER, Fault
from tests.fault.storage_laws import ACTS

pytestmark = [pytest.mark.fault, pytest.mark.long]
OLD_KEY, NEW_KEY = "AKIAOLDOLDOLDOLDOLD1", "AKIANEWNEWNEWNEWNEW2"
SECRET, TOKEN = "canarySecret/+0123456789abcdefghijklmnop", "canaryToken//FwoGZXIvYXdzEBYaDH+0123456789=="


class Talkative(Store):
    """Says at once why it waits."""

    patient_s = 0


class Stubborn(Store):
    """Never throws its client away."""

    def _renew(self, failed: object) -> None:
        pass


def write_key(file: Path, key: str) -> None:
    """Rotate the credentials, whole or not at all, as an agent does."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n")
    os.replace(fresh, file)


@pytest.fixture
def key_file(faulty: Faulty, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Credentials come from a file and from nowhere else."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    s3fs.S3FileSystem.clear_instance_cache()
    write_key(tmp_path / "credentials", OLD_KEY)
    return tmp_path / "credentials"


def check_renewed(kind: type[Store], faulty: Faulty, key_file: Path, what: str) -> None:
    """A store whose key expires while it works goes on with the key that lies there now."""
    write_key(key_file, OLD_KEY)
    store = kind(faulty.url, 10)
    store.create(f"{what}/1", b"1")
    write_key(key_file, NEW_KEY)
    with faulty.proxy.breaking(Fault(what, signed_by=OLD_KEY, times=FOREVER)):
        for name, act in ACTS.items():
            key = f"{what}/{name.replace(' ', '-')}/key"
            if act.before is not None:
                store.replace(key, act.before)
            assert act.call(store, key) == act.returns
            assert store.get(key) == act.after
        assert store.read(f"{what}/1") == b"1"


@pytest.mark.parametrize("what", ["expired", "invalid"])
def test_an_expired_key_is_replaced_by_the_one_that_lies_there_now(faulty: Faulty, key_file: Path, what: str) -> None:
    check_renewed(Store, faulty, key_file, what)
    with pytest.raises(AccessError, match=r"credentials for .* are refused"):
        check_renewed(Stubborn, faulty, key_file, what)


def test_many_threads_whose_key_expired_build_one_new_client(faulty: Faulty, key_file: Path) -> None:
    store = Store(faulty.url, 30)
    for number in range(16):
        store.create(f"{number}", b"%d" % number)
    first = store._opened()
    write_key(key_file, NEW_KEY)
    with faulty.proxy.breaking(Fault("expired", signed_by=OLD_KEY, times=FOREVER)), ThreadPoolExecutor(16) as readers:
        clients = [id(client) for _, client in readers.map(lambda number: (store.read(f"{number}"), store._opened()), range(16))]
    assert len(set(clients)) == 1
    assert store._opened() is not first


def test_a_rotation_that_is_late_is_waited_for(faulty: Faulty, key_file: Path) -> None:
    store = Store(faulty.url, 30)
    store.create("1", b"1")
    late = threading.Timer(0.5, write_key, (key_file, NEW_KEY))
    with faulty.proxy.breaking(Fault("expired", signed_by=OLD_KEY, times=FOREVER)):
        late.start()
        assert store.create("2", b"2")
    late.join()
    assert store.read("2") == b"2"


def test_an_expired_key_that_nobody_renews_ends_in_77_soon(faulty: Faulty, key_file: Path) -> None:
    store = Store(faulty.url, retry_s=300)
    with faulty.proxy.breaking(Fault("expired", times=FOREVER)), pytest.raises(AccessError, match="credentials for s3://") as caught:
        store.create("key", b"x")
    assert caught.value.exit_code == 77
    assert store.create("key", b"x")


def test_a_clock_that_is_off_is_named(faulty: Faulty) -> None:
    with faulty.proxy.breaking(Fault("skewed", times=FOREVER)), pytest.raises(TemporaryError, match=r"clock of this machine.*NTP"):
        Store(faulty.url, retry_s=300).read("key")


def everything_told(error: BaseException) -> Iterator[str]:
    """All that a log, a worker's report or a traceback could hold of an error."""
    yield from (str(error), repr(error), repr(error.args), *traceback.format_exception(error))   # with its causes


@pytest.mark.parametrize("what", [*ERRORS, "drop", "echo", "echo after", "500 after"])
def test_no_secret_is_told_whatever_fails(
    faulty: Faulty, key_file: Path, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []
    with caplog.at_level(logging.DEBUG, "saltworks"), faulty.proxy.breaking(Fault(what, times=FOREVER)):
        with ThreadPoolExecutor(len(ACTS)) as acts:
            work = [acts.submit(act.call, Talkative(faulty.url, 0.5), "some/key") for act in ACTS.values()]
        told += [text for one in work if (error := one.exception()) for text in everything_told(error)]
    told += [record.getMessage() for record in caplog.records if record.name.startswith("saltworks")]
    assert told, "every act succeeded: nothing was tried"
    for secret in (OLD_KEY, SECRET, TOKEN, "hidden", "Signature=0", "Signature=1"):
        assert not [text for text in told if secret in text], secret


@pytest.mark.parametrize("make", [
    lambda: Store("s3://me:hidden@bucket/x"), lambda: Store("s3://bucket/x?X-Amz-Signature=hidden"), lambda: Store("ftp://me:hidden@host/"),
    lambda: ReadOnlyFolder("http://me:hidden@127.0.0.1:9/x?signature=hidden", 0.2).list(),
    lambda: ReadOnlyFolder("http://me:hidden@127.0.0.1:9/x", 0.2).read("y")])
def test_no_part_of_a_url_that_holds_a_secret_is_told(make: Callable[[], object]) -> None:
    with pytest.raises(JobError) as caught:
        make()
    assert not [text for text in (str(caught.value), repr(caught.value)) if "hidden" in text]


def test_waiting_is_told_once_with_place_and_reason(faulty: Faulty, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "saltworks.store"), faulty.proxy.breaking(Fault("slow", method="PUT", times=9)):
        Talkative(faulty.url, 60).create("some/key", b"x")
    (line,) = [record.getMessage() for record in caplog.records if record.name == "saltworks.store"]
    assert line.startswith(f"storage trouble at {faulty.url}/some/key, trying again for up to 60 s: Please reduce your request rate.")
    caplog.clear()
    with faulty.proxy.breaking(Fault("slow", method="PUT", times=4)):
        Store(faulty.url, 60).create("another/key", b"x")   # short trouble is nobody's business
    assert not [record for record in caplog.records if record.name == "saltworks.store"]
