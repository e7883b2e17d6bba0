"""A whole run with credentials that are really used: neither they nor their base64 stand in anything it says or writes."""

import base64
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from job.ground.store import Store
from job.settings import PREFIX
from tests.flow.conftest import SMALL

pytestmark = [pytest.mark.flow, pytest.mark.timeout(600)]
HOME = Path(__file__).parents[2]
CANARIES = {   # shaped like the real ones, with the characters that URLs and JSON write otherwise
    "AWS_ACCESS_KEY_ID": "ASIACANARY4711KEYID0", "AWS_SECRET_ACCESS_KEY": "canarySecret/+4711abcdefghijklmnopqrstuv",
    "AWS_SESSION_TOKEN": "canaryToken//FwoGZXIvYXdzEBYaDH+4711==",
}


def forms(secret: str) -> set[bytes]:
    """The secret, as a URL writes it, and its base64 wherever it begins in what was encoded (less the ends, which depend on
    their neighbours)."""
    data, percent = secret.encode(), secret.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D").encode()
    shifted = {base64.b64encode(b"\0" * at + data)[4 if at else 0 : -4] for at in range(3)}
    return {data, percent, *shifted, *(one.replace(b"+", b"-").replace(b"/", b"_") for one in shifted)}


NEEDLES = {needle: name for name, secret in CANARIES.items() for needle in forms(secret)}


def told(data: bytes) -> set[str]:
    """Which canaries stand in these bytes, or in the cells of a table, which Parquet compresses."""
    if data.startswith(b"PAR1"):
        data += b"".join(map(_cell, pq.read_table(io.BytesIO(data)).to_pylist()))
    return {name for needle, name in NEEDLES.items() if needle in data}


def _cell(value: object) -> bytes:
    if isinstance(value, dict | list):
        return b"\n".join(map(_cell, value.values() if isinstance(value, dict) else value))
    return value if isinstance(value, bytes) else str(value).encode()


@dataclass(frozen=True, slots=True)
class Done:
    """What one process left: its exit code, what it said, and the files of its Ray session."""

    code: int
    said: bytes
    logs: dict[Path, bytes]


def start(folder: Path, *flags: str, verb: str = "run", **environ: str) -> Done:
    """The job in a process of its own, with a Ray of its own below ``folder``."""
    env = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "AWS_", "RAY_"))}
    env |= CANARIES | {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "RAY_TMPDIR": str(folder)}
    env |= {"HOME": str(folder)} | environ
    done = subprocess.run([sys.executable, "-m", "job", verb, *SMALL, "--sweep.seeds", "1", "--train.steps", "10", *flags], cwd=HOME,
                          env={name: value for name, value in env.items() if value}, capture_output=True, check=False)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}
    return Done(done.returncode, done.stdout + done.stderr, files)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short: sockets have short names."""
    path = Path(tempfile.mkdtemp(prefix="sw", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


def test_no_secret_stands_in_anything_that_the_job_wrote(s3_server: str, bucket: str, folder: Path) -> None:
    without = start(folder, "--root", bucket, verb="plan", AWS_ENDPOINT_URL=s3_server, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert without.code == 77, without.said   # so the canaries are what opens the bucket
    done = start(folder, "--root", bucket, "--publish.move_latest", "always", AWS_ENDPOINT_URL=s3_server)
    assert done.code == 0, done.said
    store = Store(bucket)
    written = {key: store.read(key) for key, _ in store.list("")}
    for part in ("synthetic/", "digits/runs/", "digits/versions/", "digits/latest.json"):
        assert any(key.startswith(part) for key in written), part
    workers = [path for path in done.logs if path.name.startswith("worker-")]
    assert len(workers) >= 2, sorted(done.logs)   # logs of processes that drew and trained
    assert told(done.said) == set()
    assert {str(where): found for where, data in (done.logs | written).items() if (found := told(data))} == {}


@pytest.mark.parametrize(("flags", "environ"), [
    (("--root", "s3://no-such-bucket-4711/root"), {}),
    (("--root", "s3://bucket/root"), {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}),
    (("--root", "s3://bucket/root"), {"AWS_ENDPOINT_URL": f"http://{CANARIES['AWS_ACCESS_KEY_ID']}:canarySecret@127.0.0.1:1"}),
], ids=["no bucket", "no server", "a server whose address holds the key"])
def test_no_secret_stands_in_what_an_error_says(flags: tuple[str, ...], environ: dict[str, str], s3_server: str, folder: Path) -> None:
    done = start(folder, *flags, "--storage.retry_s", "1", **{"AWS_ENDPOINT_URL": s3_server, **environ})
    assert done.code in (64, 65, 75, 77), done.said
    assert b"s3://" in done.said   # it says what could not be reached
    assert told(done.said) == set()
    assert {str(where): found for where, data in done.logs.items() if (found := told(data))} == {}


@pytest.mark.parametrize("name", CANARIES)
def test_a_secret_would_be_seen_wherever_it_stood(name: str) -> None:
    secret = CANARIES[name]
    sink = io.BytesIO()
    pq.write_table(pa.table({"settings": [{"key": f"x{secret}"}] * 99}), sink, compression="gzip", write_statistics=False)
    assert secret.encode() not in sink.getvalue()
    shapes = [sink.getvalue(), f"url?key={secret}&".encode(), base64.urlsafe_b64encode(b"a:" + secret.encode() + b".")]
    shapes += [base64.b64encode(f"{'x' * at}{secret}{'y' * after}".encode()) for at in range(5) for after in range(4)]
    for data in shapes:
        assert told(data) == {name}
