"""A Ray cluster of several nodes on this machine, each with a temporary directory of its own, as pods have."""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from job import settings
from tests.fault.kills import FLAGS


class Nodes:
    """A head without CPUs, as the chart makes it; every other node is added by the test."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})

    def add(self, name: str, **held: Any) -> Any:
        """A node; ``held`` as Ray has it: num_cpus, num_gpus, resources."""
        return self.cluster.add_node(env_vars={"TMPDIR": str(self.temporary(name))}, **held)

    def temporary(self, name: str) -> Path:
        """The node's temporary directory; ``driver`` for the head's."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def start(self, root: Path, verb: Sequence[str], *flags: str) -> "Driver":
        """A driver on the head, joined to this cluster: ``("job", "run")``, or a module that only draws."""
        return Driver(self, root, verb, flags)

    def environ(self, name: str) -> dict[str, str]:
        """The environment of a process on that node."""
        kept = {one: value for one, value in os.environ.items() if not one.startswith(("AWS_", settings.PREFIX))}
        return kept | {"TMPDIR": str(self.temporary(name)), "RAY_ADDRESS": self.cluster.address}

    def drain(self, name: str, grace_s: float) -> subprocess.CompletedProcess:
        """What a pod's preStop runs."""
        return subprocess.run([sys.executable, "-m", "job", "drain", "--stop_grace_s", str(grace_s)], env=self.environ(name),
                              capture_output=True, text=True, check=True)


class Driver:
    """A process, and all that it says, standard output and errors in one as a RayJob's log has them."""

    def __init__(self, nodes: Nodes, root: Path, verb: Sequence[str], flags: Sequence[str]) -> None:
        self.root, self.lines = root, list[str]()
        self.process = subprocess.Popen([sys.executable, "-m", *verb, *FLAGS, "--root", str(root), *flags], env=nodes.environ("driver"),
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as out:
            self.lines.extend(iter(out.readline, ""))

    def until(self, there: Any, seconds: float = 240) -> None:
        """Wait until ``there()`` holds. The driver must not end meanwhile."""
        end = time.monotonic() + seconds
        while not there():
            assert self.process.poll() is None, "".join(self.lines)
            assert time.monotonic() < end, "".join(self.lines)
            time.sleep(0.05)

    def says(self, what: str) -> bool:
        return any(what in line for line in self.lines)

    def end(self, seconds: float = 240) -> tuple[int, str]:
        """Its exit code and the last line of all that it said."""
        code = self.process.wait(timeout=seconds)
        self._reader.join(30)
        return code, self.lines[-1].strip() if self.lines else ""

    def count(self, what: str) -> int:
        return len(list(self.root.glob(what)))


@contextmanager
def cluster() -> Iterator[Nodes]:
    """Nothing of it is seen by a Ray beside it: its files lie in a folder of its own. Short: sockets have short names."""
    folder = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))
    before = os.environ.pop("RAY_TMPDIR", None)
    os.environ["RAY_TMPDIR"] = str(folder)
    settings.calm_ray()
    nodes = None
    try:
        nodes = Nodes(folder)
        yield nodes
    finally:
        if nodes:
            nodes.cluster.shutdown()
        os.environ.pop("RAY_TMPDIR")
        if before:
            os.environ["RAY_TMPDIR"] = before
        shutil.rmtree(folder, ignore_errors=True)
