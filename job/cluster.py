"""HOT. The Ray cluster that the rooms stand in: joined, or started on this machine, and what it has room for."""

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from job.errors import SettingsError, TemporaryError
from job.ground import drain
from job.ground.events import Events
from job.ground.stop import DRAINED, PREEMPTED, Stop, interrupt
from job.runplan import Pool
from job.settings import Settings, calm_ray, cluster_address, env_name

ANSWER_S = 20   # in which a cluster that was named has to answer


@contextmanager
def cluster(settings: Settings, stay: bool = False) -> Iterator[dict[str, Pool]]:
    """Ray, joined or started on this machine, and the pools that it has room for. ``stay``: another run is to find it (``leave``)."""
    calm_ray()
    import ray

    ours, address = not ray.is_initialized(), cluster_address()
    if ours:
        _refuse_silence(address)
        start = {} if address else {"include_dashboard": False}
        with _muted():
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **start)
        _end_as_by_ctrl_c()
    have, gen, arms, wait_s = ray.cluster_resources(), settings.generator, settings.sweep, settings.gpu_wait_s if address else None
    drawing = "cuda" if gen.gpus_per_actor and gen.device == "auto" else "cpu"
    training = "cuda" if arms.gpus_per_trial else "cpu"
    yield {
        "generate": _pool(gen.actors, Pool(1, gen.cpus_per_actor, gen.gpus_per_actor, drawing, gen.resource, wait_s), have,
                          ("generator", "_per_actor")),
        "sweep": _pool(arms.parallel_trials, Pool(1, arms.cpus_per_trial, arms.gpus_per_trial, training, arms.resource, wait_s), have,
                       ("sweep", "_per_trial")),
    }
    if ours and not stay:   # not after an error: it is told first, and then comes ``leave``, for Ray's end might take the process along
        ray.shutdown()
        _end_as_by_ctrl_c()


def _end_as_by_ctrl_c() -> None:
    """What SIGTERM does outside the rooms. Ray sets a handler of its own when it starts, and none when it ends."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def standing() -> bool:
    """Whether a Ray is there already."""
    ray = sys.modules.get("ray")
    return bool(ray and ray.is_initialized())


def leave() -> None:
    """End a Ray that was started here and still runs, as it does after an error. A joined cluster sees its driver go."""
    ray = sys.modules.get("ray")
    if ray and ray.is_initialized() and not cluster_address():
        ray.shutdown()   # else two of its agents would stay


@contextmanager
def listening(stop: Stop, grace_s: float, events: Events) -> Iterator[None]:
    """SIGTERM, SIGINT and a drain ask for a stop: what is in flight may finish within ``grace_s``; a second signal ends at once.

    Raises the stop's own error (75) where the grace was too short: what is not committed will be done again.
    """
    drain.forget_older()
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    over, left = threading.Event(), threading.Event()

    def end(why: str) -> None:
        stop.request(why)
        threading.Thread(target=wait, daemon=True, name="saltworks-grace").start()

    def asked(*_: Any) -> None:
        if over.is_set() or stop.ends_soon:
            raise KeyboardInterrupt
        end(PREEMPTED)

    def watch() -> None:
        while not left.wait(drain.EVERY_S) and not stop.ends_soon:
            if drain.asked():
                end(DRAINED)

    def wait() -> None:
        events.event("stopping", seconds=grace_s, why=stop.why)
        if not left.wait(grace_s):
            over.set()
            interrupt()   # the handler above runs in the main thread

    before = {one: signal.signal(one, asked) for one in (signal.SIGTERM, signal.SIGINT)}   # Ray's own would end in 134
    threading.Thread(target=watch, daemon=True, name="saltworks-drain").start()
    try:
        with drain.busy("the driver, until all that is in flight is committed"):
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


def _pool(wanted: int | str, one: Pool, have: Mapping[str, float], names: tuple[str, str]) -> Pool:
    """As many workers like ``one`` as were asked for, or as the cluster holds: at least one.

    Raises ``SettingsError`` if this machine can never hold one; a joined cluster may still grow.
    """
    group, suffix = names
    for kind, each in (("CPU", one.cpus), ("GPU", one.gpus)):
        if each > have.get(kind, 0.0) and one.wait_s is None:
            name = env_name((group, f"{kind.lower()}s{suffix}"))
            raise SettingsError(f"{name}={each:g} is more than this machine's {have.get(kind, 0.0):g} {kind}s",
                                "lower it, or name a Ray cluster by RAY_ADDRESS")
    if one.resource and one.resource not in have and one.wait_s is None:
        raise SettingsError(f"{env_name((group, 'resource'))}={one.resource!r} is no resource of this machine",
                            "unset it, or name a Ray cluster by RAY_ADDRESS")
    room = have.get("CPU", 1.0) / one.cpus
    fitting = int(min(room, have.get("GPU", 0.0) / one.gpus) if one.gpus else room)
    return replace(one, workers=int(wanted) if wanted != "auto" else max(1, fitting))
