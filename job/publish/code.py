"""Which code publishes: one digest over the package's own files, for a version that is told no commit."""

from functools import cache
from pathlib import Path

import job
from job.ground import lineage

SUFFIXES = (".py", ".j2")


@cache
def digest() -> str:
    """``sha256:`` and the hex digest over the Python files and templates of the installed package. Read once per process."""
    return of(Path(job.__file__).parent)


def of(package: Path) -> str:
    """The same of the files below any folder: one line for each, its path below the folder and its sha256, by path."""
    files = {path.relative_to(package).as_posix(): path for path in package.rglob("*") if path.suffix in SUFFIXES and path.is_file()}
    lines = (f"{name} {lineage.sha256(files[name].read_bytes())}\n" for name in sorted(files))
    return f"sha256:{lineage.sha256(''.join(lines).encode())}"
