"""A disk that is full or read-only, a writer that is killed: nothing half is ever seen, and what was there stays."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.fault

FULL = """
    import os, sys
    from job.errors import JobError
    from job.ground.store import Store

    def exit_code(act):
        try:
            act()
        except JobError as error:
            print(error, file=sys.stderr)
            return error.exit_code

    store, made = Store(sys.argv[1], retry_s=60), 0
    store.create("report", b"old")
    store.create("pointer", b"old")
    while (code := exit_code(lambda: store.create(f"data/{made:03d}", b"%03d" % made * 20_000))) is None:
        made += 1
    assert (code, made > 5) == (75, True), (code, made)
    assert exit_code(lambda: store.replace("report", b"new" * 100_000)) == 75
    assert exit_code(lambda: store.create("data/more", b"x" * 100_000)) == 75
    assert store.read("report") == store.read("pointer") == b"old"
    assert [key for key, _ in store.list("data/")] == [f"data/{number:03d}" for number in range(made)]
    assert all(store.read(f"data/{number:03d}") == b"%03d" % number * 20_000 for number in range(made))
    assert not [name for _, _, names in os.walk(sys.argv[1]) for name in names if name.startswith(".tmp-")]
    store.delete("data/000")
    assert store.create(f"data/{made:03d}", b"%03d" % made * 20_000)
"""

READ_ONLY = """
    import subprocess, sys
    from job.errors import AccessError
    from job.ground.store import Store

    store = Store(sys.argv[1], retry_s=60)
    store.create("key", b"x")
    subprocess.run(["mount", "-o", "remount,ro", sys.argv[1]], check=True)
    assert store.read("key") == b"x" and store.list("") == [("key", 1)]
    for act in (lambda: store.create("a/b", b""), lambda: store.replace("key", b""), lambda: store.swap("key", b"x", b"y"),
                lambda: store.delete("key")):
        try:
            act()
        except AccessError as error:
            assert "read-only" in str(error), error
        else:
            raise AssertionError("written")
    assert store.create("key", b"x")   # nothing has to be written for that
"""

KILLED = """
    import hashlib, os, random, signal, sys, time
    from job.ground.store import Store

    store, chance = Store(sys.argv[1], retry_s=20), random.Random(7)
    store.create("pointer", b"0")
    for turn in range(40):
        child = os.fork()
        if not child:
            while True:
                data = os.urandom(chance.randrange(1, 200_000))
                store.create(f"data/{turn}/{hashlib.sha256(data).hexdigest()}", data)
                store.replace("report", data + hashlib.sha256(data).digest())
                held = store.read("pointer")
                assert store.swap("pointer", held, b"%d" % (int(held) + 1))
        time.sleep(chance.random() * 0.05)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for key, size in store.list("data/"):
            data = store.read(key)
            assert hashlib.sha256(data).hexdigest() == key.rpartition("/")[2] and len(data) == size, key
        report = store.get("report") or hashlib.sha256(b"").digest()
        assert hashlib.sha256(report[:-32]).digest() == report[-32:]
        held = store.read("pointer")
        assert store.swap("pointer", held, b"%d" % (int(held) + 1))   # no lock outlives its holder
    assert len(store.list("data/")) > 20
    left = [key for key, _, _ in store.ages("", partial=True) if "/.tmp-" in f"/{key}"]
    print(len(left), "left behind")
    for key in left:
        store.delete(key)
    assert int(store.read("pointer")) >= 40
"""


def run(script: str, folder: str, *inside: str) -> None:
    """Run a script in a process of its own; it ends well or says why."""
    ran = subprocess.run([*inside, sys.executable, "-c", textwrap.dedent(script), folder], cwd=Path(__file__).parents[2],
                         env={"PATH": os.environ["PATH"], "PYTHONPATH": "."}, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


@pytest.fixture
def small_disk() -> tuple[str, ...]:
    """How to run a command on a disk of 1 MiB at /mnt that only this command sees."""
    inside = ("unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=1m none /mnt && exec "$0" "$@"')
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("this kernel grants no mount namespace")
    return inside


def test_a_full_disk_ends_in_75_and_nothing_half_is_left(small_disk: tuple[str, ...]) -> None:
    run(FULL, "/mnt", *small_disk)


def test_a_read_only_disk_is_read_and_writing_ends_in_77(small_disk: tuple[str, ...]) -> None:
    run(READ_ONLY, "/mnt", *small_disk)


def test_after_any_kill_of_a_writer_every_object_is_whole_and_no_lock_is_held(tmp_path: Path) -> None:
    run(KILLED, str(tmp_path))
