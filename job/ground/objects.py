"""What S3 needs beyond fsspec: how its client is opened, conditional puts in a single request, and what must never be told."""

from datetime import datetime
from typing import Any

from fsspec.asyn import sync

from job.ground.retry import code

# Retries are ours (retry.py), where they have a budget and a class. The client's own few keep an upload of many parts
# from starting anew for the sake of one.
OPTIONS: dict[str, Any] = {
    "use_listings_cache": False,
    "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 3}, "max_pool_connections": 32},
}
SHORT = 8   # a secret shorter than that is a test's, and a common word


def connect(fs: Any) -> None:
    """Build the client now, so that what is wrong with its settings is not taken for an answer of the store."""
    fs.retries = 1
    fs.connect()


def read_stamped(fs: Any, path: str) -> tuple[bytes, str]:
    """The object and its ETag, of one request, so they belong together."""
    bucket, key, _ = fs.split_path(path)

    async def read() -> tuple[bytes, str]:
        answer = await fs._call_s3("get_object", Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            return await body.read(), answer["ETag"]

    return sync(fs.loop, read)


def create(fs: Any, path: str, data: bytes, part_bytes: int) -> None:
    """Put an object that is not there yet. Raises ``FileExistsError``. From twice ``part_bytes`` on in parts."""
    try:
        fs.pipe_file(path, data, mode="create", chunksize=part_bytes)
    except OSError as error:
        if code(error)[0] in ("PreconditionFailed", "412"):   # not every store says which condition failed
            raise FileExistsError(path) from error
        raise


def put_if(fs: Any, path: str, data: bytes, etag: str | None) -> None:
    """Put in a single request if the object has this ETag, or if there is none. Raises ``FileExistsError`` else.

    Never in parts: s3fs hands no If-Match to the request that completes an upload, and would overwrite.
    """
    bucket, key, _ = fs.split_path(path)
    condition = {"IfNoneMatch": "*"} if etag is None else {"IfMatch": etag}
    try:
        fs.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
    except OSError as error:
        if code(error)[0] in ("PreconditionFailed", "412", "NoSuchKey"):   # the last: it was deleted
            raise FileExistsError(path) from error
        raise


def modified(info: dict[str, Any]) -> float:
    """When an object was last modified by the store's clock, in seconds since 1970, from fsspec's listing."""
    told = next(info[name] for name in ("LastModified", "last_modified", "mtime", "updated", "created") if info.get(name))
    if isinstance(told, str):
        told = datetime.fromisoformat(told)
    return told.timestamp() if isinstance(told, datetime) else float(told)


def secrets(fs: Any) -> list[str]:
    """The credentials in use, longest first, so that they can be struck out of what is told."""
    held = vars(getattr(getattr(fs, "session", None), "_credentials", None) or object)
    values = (held.get(prefix + name) for name in ("access_key", "secret_key", "token") for prefix in ("", "_"))
    return sorted({value for value in values if isinstance(value, str) and len(value) >= SHORT}, key=len, reverse=True)
