"""What must be true of a run of ``fake`` however it was disturbed: whole, once, with its bill."""

import json
import re
from collections import defaultdict

from job import admit, plan
from job.ground import cost, layout
from job.ground.store import Store
from tests.e2e.cluster import keys, only
from tests.fault.kills import nothing_given_up, outcome, undisturbed

UNITS = 60    # of a run as ``cluster.fake`` has it
ACTORS = 2    # of its pool
EACH = 2      # units that an actor which is killed repeats at most: one that is drawn, one that is written
ROUNDING = 0.01
WORK = ("draw", "encode")


def commits(store: Store) -> list[str]:
    return keys(store, "/commits/")


def starts(store: Store) -> int:
    """Units begun, by whomever."""
    return sum(key.rsplit("/", 1)[1].removesuffix(".json").isdigit() for key in keys(store, "/starts/") if "load-" not in key)


def loaded(store: Store) -> set[str]:
    """Hosts on which an actor that draws has come up."""
    return {found[1] for key in keys(store, "/starts/load-") if (found := re.search(r"/loaded-(.+)-\d+-[0-9a-f]+\.json$", key))}


def whole(store: Store, *, repeats: int, killed: int, same: bool = True, gpu_pods_s: float | None = None) -> None:
    """One run and one version; every sample once, with the bytes of an undisturbed run; all work is in the bill.

    ``repeats``: units that may have been begun again. ``killed``: actors whose last words may be missing. ``gpu_pods_s``: how
    long the GPU pods were there, together. Not ``same``: pictures that only a model can draw again.
    """
    run = only({key.split("/")[2] for key in keys(store, "digits/runs/")})
    planned, _ = admit.read(store, "digits", run)
    units = plan.first_round(planned)
    found = outcome(store, planned)
    assert not same or found == undisturbed(planned)
    assert sum(len(made) + len(failed) for _, made, failed in found.values()) == sum(unit.hi - unit.lo for unit in units)
    assert nothing_given_up(found)
    assert len(found) == len(units)
    assert [key for key in keys(store, "digits/versions/") if key.count("/") == 2] == ["digits/versions/000001.json"]
    begun = starts(store)
    assert len(found) <= begun <= len(found) + repeats
    _billed(store, repeated=begun > len(found), killed=killed)
    spent = cost.Ledger(store, layout.Run("digits", run)).total(planned.price)
    assert all(one.cost is not None for one in spent if one.kind != "wall")
    if gpu_pods_s is not None:
        assert 0 < sum(one.seconds for one in spent if one.gpu and one.kind != "wall") <= gpu_pods_s


def _billed(store: Store, *, repeated: bool, killed: int) -> None:
    """Every process is billed for what it has committed; one that was killed may lack what it spent since a heartbeat.

    Where nobody was killed, what was ``repeated`` is billed beside it.
    """
    committed: dict[str, float] = defaultdict(float)
    for record in (json.loads(store.read(key)) for key in commits(store)):
        committed[record["process"].rpartition("/")[2]] += record["draw_s"] + record["encode_s"] - ROUNDING
    billed = _last_words(store)
    short = {who: seconds - billed.get(who, 0.0) for who, seconds in committed.items() if seconds > billed.get(who, 0.0)}
    assert len(short) <= killed, short
    assert all(seconds <= cost.BEAT_S for seconds in short.values()), short
    if repeated and not killed:
        assert sum(billed.values()) > sum(committed.values()) + 2 * ROUNDING * len(commits(store))


def _last_words(store: Store) -> dict[str, float]:
    """By process, the seconds of drawing and encoding that its last heartbeat tells, or whoever heard of it."""
    last = {key.rpartition("/")[0]: key for key in sorted(keys(store, "/cost/"))}
    words: dict[str, float] = defaultdict(float)
    for folder, key in last.items():
        seconds = sum(row[2] for row in json.loads(store.read(key)) if row[0] == "generate" and row[1] in WORK)
        who = folder.rpartition("/")[2].removesuffix("-heard")
        words[who] = max(words[who], seconds)
    return words
