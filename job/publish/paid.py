"""Which of a run's worker seconds led to its commits: the rest of its bill went into work that was repeated or lost."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from job.ground import layout
from job.ground.store import Store
from job.publish.gather import Held

READERS = 16
ROOMS = {"val": "sweep", "test": "confirm"}   # part that judges a trial: room that fits it


def committed(store: Store, keys: layout.Run, held: Sequence[Held]) -> dict[str, float]:
    """Seconds by room, as ``ground.bill.with_repeated`` takes them: of the units that this run drew, and of its trials."""
    with ThreadPoolExecutor(READERS) as readers:
        records = [key for key, _ in store.list(keys.trials()) if key.endswith(".json")]
        trials = readers.map(lambda key: json.loads(store.read(key)), records)
        seconds = {"generate": sum(shard.paid_s for one in held for shard in one.shards), **dict.fromkeys(ROOMS.values(), 0.0)}
        for trial in trials:
            seconds[ROOMS[trial["judged_on"]]] += trial["seconds"]
    return seconds
