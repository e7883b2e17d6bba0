"""What must be true of a run of ``fake`` however it was disturbed: whole, once, with its bill."""

import json

from job import admit, plan
from job.ground import cost, layout
from job.ground.store import Store
from tests.e2e.cluster import keys, only
from tests.fault.kills import nothing_given_up, outcome, undisturbed

ACTORS = 2


def commits(store: Store) -> list[str]:
    return keys(store, "/commits/")


def starts(store: Store) -> int:
    """Units begun, by whomever."""
    return sum(key.rsplit("/", 1)[1].removesuffix(".json").isdigit() for key in keys(store, "/starts/") if "load-" not in key)


def whole(store: Store, *, kills: int | None, same: bool = True) -> None:
    """One run and one version; every sample once, with the bytes of an undisturbed run; the committed work is in the bill.

    ``kills`` of a worker or of everything: each repeats at most two units of each actor that was in the pool; None: two
    drivers were at work, and may each have begun what the other committed. Not ``same``: pictures that only a model can draw again.
    """
    run = only({key.split("/")[2] for key in keys(store, "digits/runs/")})
    planned, _ = admit.read(store, "digits", run)
    found = outcome(store, planned)
    assert not same or found == undisturbed(planned)
    planned_images = sum(unit.hi - unit.lo for unit in plan.first_round(planned))
    assert sum(len(made) + len(failed) for _, made, failed in found.values()) == planned_images
    assert nothing_given_up(found)
    assert len(found) == len(plan.first_round(planned))
    assert [key for key in keys(store, "digits/versions/") if key.count("/") == 2] == ["digits/versions/000001.json"]
    assert kills is None or starts(store) <= len(found) + 2 * ACTORS * kills
    spent = cost.Ledger(store, layout.Run("digits", run)).total(planned.price)
    assert sum(one.seconds for one in spent if one.kind in ("draw", "encode")) >= 0.9 * _committed(store)
    assert all(one.cost is not None for one in spent if one.kind == "draw")


def _committed(store: Store) -> float:
    """Seconds that the commits themselves tell."""
    return sum(record["draw_s"] + record["encode_s"] for record in (json.loads(store.read(key)) for key in commits(store)))
