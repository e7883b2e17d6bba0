"""What the tests of faults share: a proxy that breaks storage on demand, and a Ray whose processes can be killed."""

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import s3fs

from job import settings
from tests.fault.proxy import Proxy

os.environ.setdefault("RAY_worker_niceness", "0")   # else whatever test runs beside them starves Ray's processes


@dataclass(frozen=True, slots=True)
class Faulty:
    """A bucket behind a proxy: ``proxy.breaking(Fault(…))`` says what goes wrong at ``url``."""

    proxy: Proxy
    url: str


@pytest.fixture(scope="session")
def proxy(s3_server: str) -> Iterator[Proxy]:
    one = Proxy(s3_server).start()
    yield one
    one.stop()


@pytest.fixture
def faulty(bucket: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    """A new bucket, reached through the proxy; the environment says so, as it would in a pod."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    s3fs.S3FileSystem.clear_instance_cache()
    proxy.seen.clear()
    yield Faulty(proxy, bucket)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def local_ray() -> Iterator[str]:
    """Ray on this machine with room for a few small workers; the address at which drivers join."""
    settings.calm_ray()
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()
