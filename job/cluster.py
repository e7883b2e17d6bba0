"""HOT. The Ray cluster that the rooms stand in: joined, or started on this machine, and what it has room for."""

import _thread
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from job.errors import SettingsError, TemporaryError
from job.ground.events import Events
from job.ground.stop import PREEMPTED, Stop
from job.runplan import Pool
from job.settings import Settings, calm_ray, cluster_address, env_name

ANSWER_S = 20   # in which a cluster that was named has to answer


@contextmanager
def cluster(settings: Settings) -> Iterator[dict[str, Pool]]:
    """Ray, joined or started on this machine, and the pools that it has room for."""
    calm_ray()
    import ray

    ours, address = not ray.is_initialized(), cluster_address()
    if ours:
        _refuse_silence(address)
        start = {} if address else {"include_dashboard": False}
        with _muted():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **start)
        _end_as_by_ctrl_c()
    have, gen, arms = ray.cluster_resources(), settings.generator, settings.sweep
    yield {
        "generate": _pool(gen.actors, gen.cpus_per_actor, gen.gpus_per_actor, have, bool(address), ("generator", "_per_actor")),
        "sweep": _pool(arms.parallel_trials, arms.cpus_per_trial, arms.gpus_per_trial, have, bool(address), ("sweep", "_per_trial")),
    }
    if ours:   # not after an error: it is told first, and then comes ``leave``, for Ray's end might take the process along
        ray.shutdown()
        _end_as_by_ctrl_c()


def _end_as_by_ctrl_c() -> None:
    """What SIGTERM does outside the rooms. Ray sets a handler of its own when it starts, and none when it ends."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def leave() -> None:
    """End a Ray that was started here and still runs, as it does after an error. A joined cluster sees its driver go."""
    ray = sys.modules.get("ray")
    if ray and ray.is_initialized() and not cluster_address():
        ray.shutdown()   # else two of its agents would stay


@contextmanager
def listening(stop: Stop, grace_s: float, events: Events) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a stop: what is in flight may finish within ``grace_s``; a second signal ends at once.

    Raises the stop's own error (75) where the grace was too short: what is not committed will be done again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()

    def asked(*_: Any) -> None:
        if over.is_set() or (stop.requested and stop.why == PREEMPTED):
            raise KeyboardInterrupt
        stop.request(PREEMPTED)
        threading.Thread(target=wait, daemon=True, name="saltworks-grace").start()

    def wait() -> None:
        events.event("stopping", seconds=grace_s, why=stop.why)
        time.sleep(grace_s)
        over.set()
        if not left.is_set():
            _thread.interrupt_main()   # as SIGINT does: the handler above runs in the main thread

    left = threading.Event()
    before = {one: signal.signal(one, asked) for one in (signal.SIGTERM, signal.SIGINT)}   # Ray's own would end in 134
    try:
        yield
    except KeyboardInterrupt:
        if stop.requested:
            raise stop.error() from None
        raise
    finally:
        left.set()
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def _muted() -> Iterator[None]:
    """Nothing reaches stderr: Ray's native code announces the log level that it was told to keep quiet with."""
    kept = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _refuse_silence(address: str | None) -> None:
    """Raise ``TemporaryError`` if nobody answers at ``host:port``: Ray would wait for minutes without a word."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=ANSWER_S).close()
        except OSError as error:
            raise TemporaryError(f"no Ray cluster answers at RAY_ADDRESS={address}: {error}", "start it, or unset RAY_ADDRESS") from None


def _pool(
    wanted: int | str, cpus: float, gpus: float, have: Mapping[str, float], joined: bool, names: tuple[str, str]
) -> Pool:
    """As many workers as were asked for, or as the cluster holds: at least one.

    Raises ``SettingsError`` if this machine can never hold one; a joined cluster may still grow.
    """
    for kind, each in (("CPU", cpus), ("GPU", gpus)):
        if each > have.get(kind, 0.0) and not joined:
            name = env_name((names[0], f"{kind.lower()}s{names[1]}"))
            raise SettingsError(f"{name}={each:g} is more than this machine's {have.get(kind, 0.0):g} {kind}s",
                                "lower it, or name a Ray cluster by RAY_ADDRESS")
    room = have.get("CPU", 1.0) / cpus
    fitting = int(min(room, have.get("GPU", 0.0) / gpus) if gpus else room)
    return Pool(int(wanted) if wanted != "auto" else max(1, fitting), cpus, gpus)
