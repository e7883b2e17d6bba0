"""A driver that plans and draws, and then ends: ``python -m tests.fault.draw_only FLAGS`` in a process that can be killed."""

import sys

from job import settings
from job.cluster import cluster, listening
from job.ground.events import Events
from job.river import River
from tests.fault.kills import frozen


def main() -> None:
    flags = sys.argv[1:]
    chosen = settings.load(flags)
    store, planned, split = frozen(chosen.root, *flags)
    with cluster(chosen) as pools:
        river = River(store, planned, split, Events("json"), pools)
        with listening(river.stop, chosen.stop_grace_s, river.events):
            river.draw()


if __name__ == "__main__":
    main()
