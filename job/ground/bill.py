"""The bill: what seconds cost at the prices that were given, of what, and for one of what. No price is ever invented."""

import math
from collections.abc import Iterable, Mapping

from job.results import CostLine
from job.runplan import Price

DRAWING = "generate", "measure"   # what an image costs until it is kept


def line(room: str, kind: str, seconds: float, *, gpus: float, cpus: float, price: Price) -> CostLine:
    """Seconds held by one worker, and their cost: GPU price where it holds GPUs, else CPU price, else unknown."""
    rate = price.per_gpu_hour if gpus else price.per_cpu_hour
    cost = None if rate is None else seconds / 3600 * rate * (gpus or cpus)
    return CostLine(room, kind, round(seconds, 3), bool(gpus), cost)


def per(count: float, spent: Iterable[CostLine], *rooms: str) -> float | None:
    """What one of ``count`` cost in these rooms, or in all of them; None without a price, or where there is none.

    All sums of money are ``math.fsum``: the same to the last digit in every document, in whichever order the lines came.
    """
    costs = [one.cost for one in spent if one.cost is not None and (not rooms or one.room in rooms)]
    return math.fsum(costs) / count if costs and count > 0 else None


def unnamed(price: Price) -> str:
    """The warning that nobody can tell where the prices come from; empty where that is told, or there are none."""
    lacking = [name for name, value in (("source", price.source), ("date", price.date)) if price.known and not value]
    settings = " and ".join(f"SALTWORKS_PRICE__{name.upper()}" for name in lacking)
    return f"the prices name no {' and no '.join(lacking)}, so every sum of money rests on nobody's word: set {settings}" if lacking else ""


def with_repeated(lines: Iterable[CostLine], committed: Mapping[str, float]) -> tuple[CostLine, ...]:
    """Lines with what led to no commit of this run shown as ``repeated``.

    ``committed``: by room, the worker seconds that this run's own commits account for. What a room's working kinds
    (draw, encode; train) took beyond it was drawn twice, lost to another writer, or killed; its cost moves along, and so does
    the same share of ``upload``: a commit cannot tell what it takes to store it.
    """
    out: list[CostLine] = []
    working = {"generate": ("draw", "encode", "upload"), "sweep": ("train",), "confirm": ("train",)}
    lines = tuple(lines)
    for room, kinds in working.items():
        mine = [one for one in lines if one.room == room and one.kind in kinds]
        total = sum(one.seconds for one in mine if one.kind != "upload")
        share = max(0.0, 1 - committed.get(room, 0.0) / total) if total else 0.0
        if share * total < 0.05:   # the roundings of many small numbers
            share = 0.0
        for gpu in {one.gpu for one in mine}:
            part = [one for one in mine if one.gpu is gpu]
            costs = [one.cost for one in part]
            if share:
                out.append(CostLine(room, "repeated", round(sum(one.seconds for one in part) * share, 3), gpu,
                                    None if None in costs else math.fsum(cost for cost in costs if cost is not None) * share))
        out += [CostLine(room, one.kind, round(one.seconds * (1 - share), 3), one.gpu,
                         None if one.cost is None else one.cost * (1 - share)) for one in mine]
    out += [one for one in lines if one.kind not in working.get(one.room, ())]
    return tuple(sorted(out, key=lambda one: (one.room, one.kind, one.gpu)))
