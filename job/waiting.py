"""HOT tool. In a joined cluster: asks for a room's workers, waits until the first has a place, and sees when all are lost.

A cluster that grows on demand may have no node for them yet, or none to be had for days. Ray would wait without end and
without a word, so a placement group per worker shows the autoscaler the whole demand, and the wait is bounded.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from job.errors import TemporaryError
from job.ground.stop import Stop, interrupt
from job.runplan import Pool

AT_ONCE_S = 3.0   # a place that is there is given within it, and nothing need be told
EVERY_S = 0.2     # how often the groups are looked at, and whether to stop
TELL_S = 30.0     # how often the wait is told
LOOK_S = 5.0      # how often a room at work looks whether its nodes are still there
KINDS = 5         # of nodes that an error names
TAKEN_BY = {"generate": "SALTWORKS_GENERATOR__{}_PER_ACTOR", "measure": "SALTWORKS_GENERATOR__{}_PER_ACTOR",
            "sweep": "SALTWORKS_SWEEP__{}_PER_TRIAL", "confirm": "SALTWORKS_SWEEP__{}_PER_TRIAL",
            "pilot": "SALTWORKS_SWEEP__{}_PER_TRIAL"}


def until_one_fits(pool: Pool, room: str, stop: Stop, event: Callable[..., None]) -> None:
    """Return once the cluster has a place for one worker of the pool; what was asked for is given back before.

    Raises ``TemporaryError`` if there is none within ``pool.wait_s``, and the stop's own error once one is asked for.
    """
    if pool.wait_s is None:
        return
    each = pool.each
    with _asking() as ask:
        start = time.monotonic()
        if _granted(ask(1, each), stop, start + AT_ONCE_S):
            return
        groups = ask(pool.workers - 1, each)
        while (waited := time.monotonic() - start) < pool.wait_s:
            event("waiting_for", room=room, workers=pool.workers, each=each, seconds=round(waited), at_most=pool.wait_s)
            if _granted(groups, stop, start + min(waited + TELL_S, pool.wait_s)):
                event("place_found", room=room, seconds=round(time.monotonic() - start))
                return
        raise _none(pool, room)


@contextmanager
def watched(pool: Pool, room: str, stop: Stop, event: Callable[..., None]) -> Iterator[None]:
    """A room at work. Nodes that were lost may come back within ``pool.wait_s``; Ray would wait for them without end.

    If not one node could hold a worker for so long, a stop is asked for and the main thread interrupted, as by a signal.
    """
    if pool.wait_s is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    over = threading.Event()

    def watch(most: float) -> None:
        lost = 0.0   # when the last one was lost
        while not over.wait(LOOK_S) and not stop.requested:
            there = _nodes_or_none()
            if there is None or _one_holds(there, pool.each):
                lost = 0.0
            elif not lost:
                lost = time.monotonic()
                event("nodes_lost", room=room, each=pool.each, at_most=most)
            elif time.monotonic() - lost >= most:
                stop.request(f"the {room} room has lost all its nodes, and none came back within {most:g} s: {_have(there, pool.each)}")
                interrupt()

    threading.Thread(target=watch, args=(pool.wait_s,), daemon=True, name="saltworks-nodes").start()
    try:
        yield
    finally:
        over.set()


@contextmanager
def _asking() -> Iterator[Callable[[int, dict[str, float]], list[Any]]]:
    """Yields the function that asks for further groups and returns all of them; none outlives the block."""
    from ray.util.placement_group import placement_group, remove_placement_group

    groups: list[Any] = []

    def ask(count: int, each: dict[str, float]) -> list[Any]:
        groups.extend(placement_group([each]) for _ in range(count))
        return groups

    try:
        yield ask
    finally:
        for group in groups:
            remove_placement_group(group)


def _granted(groups: list[Any], stop: Stop, end: float) -> bool:
    """Whether any group has its place before ``end``."""
    from ray.util.placement_group import placement_group_table

    while True:
        stop.check()
        if any(placement_group_table(group).get("state") == "CREATED" for group in groups):
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(EVERY_S)


def _none(pool: Pool, room: str) -> TemporaryError:
    taken = [TAKEN_BY[room].format(kind) for kind in (("CPUS", "GPUS") if pool.gpus else ("CPUS",))]
    return TemporaryError(
        f"no place for a worker of the {room} room within {pool.wait_s:g} s: {pool.workers} × {_words(pool.each)} were asked for; "
        f"{_have(_nodes_or_none() or [], pool.each)}",
        f"see what keeps such nodes away (kubectl get events; quota, stock, node selector), lower {' or '.join(taken)}, "
        "or raise SALTWORKS_GPU_WAIT_S; then run again")


def _nodes_or_none() -> list[dict[str, float]] | None:
    """What every living node has, taken or not; None if the cluster does not answer: the room meets that too, and tells it."""
    import ray

    try:
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]
    except Exception:
        return None


def _one_holds(nodes: list[dict[str, float]], each: dict[str, float]) -> bool:
    return any(all(node.get(name, 0.0) >= amount for name, amount in each.items()) for node in nodes)


def _have(nodes: list[dict[str, float]], each: dict[str, float]) -> str:
    alike = Counter(_words({name: node.get(name, 0.0) for name in each}) for node in nodes).most_common()
    return f"the cluster's nodes: {'; '.join(f'{count} × {words}' for words, count in alike[:KINDS]) or 'none'}"


def _words(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in resources.items())
