"""One local Ray for all flow tests; its processes know the way to the S3 server."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from job import run, settings
from job.ground.events import Events
from job.report.model import Report

SMALL = (   # the whole job in its smallest honest form: 2 alphas × 2 seeds
    "--generator.name", "fake", "--generator.images_per_class", "auto", "--measure.metrics", "{}", "--filter.kind", "none",
    "--sweep.arms", "[]", "--sweep.alphas", "0,.5", "--sweep.seeds", "2",
    "--sweep.confirm_seeds", "2", "--train.steps", "40", "--progress", "json",
)


@pytest.fixture(scope="session")
def local_ray(s3_server: str) -> Iterator[None]:
    """Ray on this machine, started once."""
    os.environ |= {"AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
                   "AWS_DEFAULT_REGION": "us-east-1"}
    settings.calm_ray()
    import ray

    ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


@pytest.fixture
def job(local_ray: None) -> Callable[..., tuple[Report, str]]:
    """Runs the small job at a root with further flags: the report and where it lies."""
    def start(root: Path | str, *flags: str) -> tuple[Report, str]:
        chosen = settings.load([*SMALL, "--root", str(root), *flags])
        return run.run(chosen, Events("json"))

    return start


class Opened:
    """Counts the files opened below a folder while it is told to: an audit hook, which no code can avoid."""

    def __init__(self) -> None:
        self.below = ""
        self.paths: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple) -> None:
        if event == "open" and self.below and isinstance(arguments[0], str) and arguments[0].startswith(self.below):
            self.paths.append(arguments[0])


@pytest.fixture(scope="session")
def opened() -> Opened:
    return Opened()
