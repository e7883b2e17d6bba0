"""Real processes of a real pool, killed: finding them, ending them, and what an undisturbed run would have made."""

import json
import socket
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import psutil

from job import admit, plan, settings
from job.drawing import GIVEN_UP
from job.generate import work_unit
from job.generators.fake import Fake
from job.ground import layout, lineage
from job.ground.cost import Meter
from job.ground.events import Events
from job.ground.starts import Starts
from job.ground.store import Store
from job.records import Split
from job.river import River
from job.runplan import Pool, RunPlan

FLAGS = (   # 2 alphas × 2 seeds; ten classes of 24 images in units of 4, each drawn in about half a second
    "--generator.name", "fake", "--generator.images_per_class", "24", "--generator.unit_size", "4", "--generator.batch_size", "2",
    "--generator.options.seconds_per_image", "0.1", "--generator.cpus_per_actor", "0.5", "--generator.actors", "2",
    "--measure.metrics", "{}", "--filter.kind", "none", "--sweep.arms", "[]", "--sweep.alphas", "0,.5", "--sweep.seeds", "2",
    "--sweep.confirm_seeds", "2",
    "--sweep.cpus_per_trial", "0.5", "--sweep.parallel_trials", "2", "--train.steps", "20", "--progress", "json",
)
POOLS = {"generate": Pool(2, 0.5, 0), "sweep": Pool(2, 0.5, 0)}


def frozen(root: Path | str, *flags: str) -> tuple[Store, RunPlan, Split]:
    """The small run, planned and frozen."""
    chosen = settings.load([*FLAGS, "--root", str(root), *flags], environ={})
    store, plugs = admit.open_store(chosen), plan.choose_plugs(chosen)
    return store, *admit.freeze(store, chosen, plugs, *admit.draft(store, chosen, plugs))


def river(root: Path, *flags: str) -> River:
    """The small run, for its rooms to be walked in this process."""
    return River(*frozen(root, *flags), Events("json"), POOLS)


def count(root: Path, what: str) -> int:
    return len(list(root.glob(what)))


def starts(root: Path) -> int:
    """Units begun so far."""
    return count(root, "*/runs/*/starts/*-*/[0-9][0-9][0-9].json")


def undisturbed(planned: RunPlan) -> dict[str, tuple]:
    """By unit what a run without any trouble makes: the same ``work_unit``, one after the other."""
    store, run = Store(f"memory://{uuid.uuid4().hex}", retry_s=0), layout.Run("quiet", "run")
    painter = Fake(Fake.Options.model_validate_json(planned.generator_options).model_copy(update={"seconds_per_image": 0.0}))
    meter = Meter(store, run, "generate", gpus=0, cpus=1)
    for unit in plan.first_round(planned):
        work_unit(store, painter, painter.load("", "none", "cpu"), planned.recipe, planned.classes[unit.label], unit, planned.batch_size,
                  run="run", starts=Starts(store, run), meter=meter)
    return outcome(store, planned)


def outcome(store: Store, planned: RunPlan) -> dict[str, tuple]:
    """By unit: the sha256 of its shard, the ids made, the ids failed."""
    found = {}
    for key, _ in store.list(layout.commits(planned.recipe.id)):
        record = json.loads(store.read(key))
        found[record["unit"]] = record["sha256"], tuple(record["ids"]), tuple(map(tuple, record["failed"]))
    return found


def nothing_given_up(found: dict[str, tuple]) -> bool:
    return not any(reason == GIVEN_UP for _, _, failed in found.values() for _, _, reason in failed)


class Killer(threading.Thread):
    """SIGKILLs workers of the pool that have loaded, one after the other, at seeded moments of what they draw.

    When each is due follows the commits, so that the last one comes while units are missing, however fast the machine is.
    ``killed``: by process that a signal of ours has ended, the units that were committed by then.
    """

    LEFT = 8   # units

    def __init__(self, root: Path, kills: int, units: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.root, self.wanted, self.units, self.rng = root, kills, units, np.random.default_rng(seed)
        self.killed: dict[int, int] = {}
        self.over = threading.Event()

    def run(self) -> None:
        while len(self.killed) < self.wanted and not self.over.is_set():
            fresh = [pid for pid in self._loaded() if pid not in self.killed]
            if not fresh or self._committed() < len(self.killed) * (self.units - self.LEFT) // self.wanted:
                time.sleep(0.05)
                continue
            time.sleep(float(self.rng.uniform(0, 0.6)))   # a unit takes .4 s and its storing
            self._kill(int(self.rng.choice(fresh)))

    def _kill(self, pid: int) -> None:
        try:
            process = psutil.Process(pid)
            if not any(word.startswith("ray::") for word in process.cmdline()):   # ended, or its number is another's by now
                return
            process.kill()
        except psutil.NoSuchProcess:
            return
        self.killed[pid] = self._committed()

    def _committed(self) -> int:
        return count(self.root, "synthetic/*/commits/*.json")

    def _loaded(self) -> list[int]:
        """Workers of ours: the marks that they leave tell host and process."""
        found = []
        for path in self.root.glob("*/runs/*/starts/load-*/loaded-*.json"):
            who = json.loads(path.read_text())
            if who["host"] == socket.gethostname() and Path(f"/proc/{who['pid']}").exists():
                found.append(who["pid"])
        return found


class Reader(threading.Thread):
    """Reads the store while others write: what a commit names must be there, whole, and never change."""

    def __init__(self, root: Path) -> None:
        super().__init__(daemon=True)
        self.root, self.over, self.looks = root, threading.Event(), 0
        self.wrong: list[str] = []
        self.seen: dict[Path, bytes] = {}

    def run(self) -> None:
        while not self.over.is_set():
            self.look()
            time.sleep(0.05)
        self.look()

    def look(self) -> None:
        for path in self.root.glob("synthetic/*/commits/*.json"):
            data = path.read_bytes()
            if self.seen.setdefault(path, data) != data:
                self.wrong.append(f"{path.name} changed")
            record = json.loads(data)
            shard = self.root / record["data"]
            if not shard.exists() or lineage.sha256(shard.read_bytes()) != record["sha256"]:
                self.wrong.append(f"{path.name} names what is not there")
            self.looks += 1
