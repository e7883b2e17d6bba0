"""What all tests share: a clean environment, and one S3 server."""

import os
from collections.abc import Iterator

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import settings as hypothesis_settings

from job.settings import PREFIX

hypothesis_settings.register_profile("calm", deadline=None)   # a busy machine is no failure
hypothesis_settings.load_profile("calm")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", help="write what the tests on a cluster took, as Markdown, into this file")
    parser.addoption("--whole", action="store_true", help="every kill of the tier fault, not the part that CI has time for")


@pytest.fixture(scope="session")
def whole(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--whole"))


@pytest.fixture(autouse=True)
def clean_environ(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests leaks into them."""
    for name in list(os.environ):
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def forget_memory() -> None:
    """Empty memory://. All stores there share one dictionary, and every listing walks through all of it."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(autouse=True, scope="module")
def memory_of_its_own() -> Iterator[None]:
    """No module of tests wades through what the modules before it have stored."""
    yield
    forget_memory()


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a real S3 server (moto) on this machine."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """The URL of a new bucket; the environment says how to reach it, as it would in a pod."""
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    name = f"test-{abs(hash(request.node.nodeid)) % 10**10}"
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}/root"
