"""The pod is about to end: nothing new begins on this machine, and what is in flight may finish.

Whoever ends a pod tells its processes too late or not at all, so its ``preStop`` runs ``python -m job drain``: a flag in a
folder of the machine. Workers look for it before each unit, the driver every half second. Whoever is in the middle of
something has a file beside it that bears the name of its process, and ``drain`` waits for those.

The folder lies below the temporary directory, which every container has of its own. The flag outlasts the pod: after
``preStop`` Ray waits half a minute for its actors, and what waits among them must not begin anew. It expires later, so
that it cannot stand in the way of a later run where the machine lives on.
"""

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

EVERY_S = 0.5       # how often the flag is looked for, and the busy are counted
OUTLASTS_S = 90.0   # by which the flag outlasts the grace; seen: a pod that went 30 s after its preStop had ended
SLACK_S = 1.0       # by which two readings of when a process began may differ
_mine: list[str] = []   # what this process is in the middle of: a unit may be drawn while another is written
_telling = threading.Lock()


def folder() -> Path:
    """Where flag and busy files of this user lie on this machine."""
    return Path(tempfile.gettempdir()) / f"saltworks-drain-{os.getuid()}"


def asked() -> bool:
    """Whether this machine is to begin nothing more."""
    try:
        return json.loads((folder() / "flag").read_text())["until"] > time.time()
    except (OSError, ValueError, KeyError):   # there is none, or it is being written
        return False


def forget_older() -> None:
    """Remove a flag from before this process: a driver that was started since then is meant to work."""
    flag = folder() / "flag"
    with contextlib.suppress(OSError):
        if flag.stat().st_mtime < psutil.Process().create_time() - SLACK_S:
            flag.unlink()


@contextmanager
def busy(what: str) -> Iterator[None]:
    """This process is in the middle of something. Entered before ``asked`` is called, or a drain could miss it."""
    _tell(_mine.append, what)
    try:
        yield
    finally:
        _tell(_mine.remove, what)


def _tell(change: Callable[[str], None], what: str) -> None:
    """Write down what this process is in the middle of now. A reader sees the old words or the new ones, never none."""
    file = folder() / f"busy-{os.getpid()}.json"
    with _telling:
        change(what)
        with contextlib.suppress(OSError):   # a full disk is no reason to stop: then a drain waits for one less
            if not _mine:
                return file.unlink()
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = file.with_name(f"new-{os.getpid()}")
            fresh.write_text(json.dumps({"what": " and ".join(_mine), "born": psutil.Process().create_time()}))
            fresh.replace(file)


def at_work() -> dict[int, str]:
    """What the living processes of this machine are in the middle of."""
    found = {}
    for path in folder().glob("busy-*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):   # it has just ended, or just begun: then it sees the flag
            told, pid = json.loads(path.read_text()), int(path.stem.removeprefix("busy-"))
            try:
                alive = abs(psutil.Process(pid).create_time() - told["born"]) < SLACK_S   # else a later process has the number
            except psutil.NoSuchProcess:
                alive = False
            if alive:
                found[pid] = told["what"]
            else:
                path.unlink(missing_ok=True)   # it was killed
    return found


def drain(grace_s: float, tell: Callable[[str], None]) -> dict[int, str]:
    """Raise the flag and wait until nobody is busy, at most ``grace_s``. Returns who still is."""
    flag, end = folder() / "flag", time.time() + grace_s
    flag.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = flag.with_name(f"flag-{os.getpid()}")
    fresh.write_text(json.dumps({"until": end + OUTLASTS_S}))
    fresh.replace(flag)
    last: dict[int, str] = {}
    while (now := at_work()) and (left := end - time.time()) > 0:
        for pid, what in now.items():
            if last.get(pid) != what:
                tell(f"waiting for process {pid}: {what}")
        last = now
        time.sleep(min(EVERY_S, left))
    return now
