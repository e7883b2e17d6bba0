"""One tar file of samples as WebDataset writes them: members that share a name up to its first dot are one sample.

Nothing is unpacked to a disk. Member names still become ids, so those that lead out of a folder are refused; links,
devices and sparse files are refused too, and a member beyond the limit before a byte of it is read.
Source: https://github.com/webdataset/webdataset (the format), POSIX.1-2001 pax.
"""

import io
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from job.errors import DataError
from job.real import rows

BLOCK = 512   # bytes of a tar header, and of the zeros that end a whole file
AGAIN = "fetch or write the file again"


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file inside: ``key`` is its name up to the first dot, ``kind`` what follows, in lower case."""

    key: str
    kind: str
    offset: int
    size: int


def samples(data: bytes, path: str, most: Callable[[str], int], refuse: Callable[[str, str], None]) -> Iterator[list[Member]]:
    """The members of each sample, in the order of the file. ``most``: the largest size of a kind of member, in bytes.

    ``refuse(name, reason)`` is told of members that cannot be used; hidden files are left out. Raises ``DataError`` for a
    file that is no tar, or is compressed, damaged or truncated.
    """
    sample: list[Member] = []
    done: set[str] = set()
    for info in _headers(data, path):
        name = info.name.removeprefix("./")
        if info.isdir() or name.rpartition("/")[2].startswith("."):
            continue
        folder, _, file = name.rpartition("/")
        stem, _, kind = file.partition(".")
        member = Member(f"{folder}/{stem}" if folder else stem, kind.lower(), info.offset_data, info.size)
        if reason := rows.unsafe(name) or _odd(info, member, most):
            refuse(name, reason)
            continue
        if sample and member.key != sample[0].key:
            done.add(sample[0].key)
            yield sample
            sample = []
        if member.key in done:
            refuse(name, "its sample stands at another place of the file already")
            continue
        if any(member.kind == other.kind for other in sample):
            refuse(name, "its sample has a member of that kind already")
            continue
        sample.append(member)
    if sample:
        yield sample


def _odd(info: tarfile.TarInfo, member: Member, most: Callable[[str], int]) -> str:
    if not info.isreg() or info.issparse():
        return "it is a link, a device or a sparse file; only plain files are read"
    if not member.kind:
        return "its name has no dot, so what it is cannot be told"
    if info.size > most(member.kind):
        return f"it has {info.size} bytes; {most(member.kind)} are allowed"
    return ""


def _headers(data: bytes, path: str) -> Iterator[tarfile.TarInfo]:
    """Every header. Raises ``DataError`` unless the file is whole up to the zeros that end it."""
    before = -1
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as file:
            while (info := file.next()) is not None:
                if info.size < 0 or info.offset <= before or info.offset_data + (0 if info.issparse() else info.size) > len(data):
                    raise DataError(f"{path} is truncated or damaged at {info.name[:200]!r}", AGAIN)
                before = info.offset
                file.members.clear()   # it keeps every header otherwise
                yield info
            end = file.offset
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError) as error:
        raise DataError(f"{path} is damaged, truncated, compressed or no tar file: {error or type(error).__name__}", AGAIN) from None
    if data[end : end + BLOCK] != bytes(BLOCK):   # a header that is garbage ends the reading, too
        raise DataError(f"{path} is truncated: no block of zeros ends it", AGAIN)
