"""The page on reading a version, as something that runs: its snippets, and the folder that they read."""

import re
from pathlib import Path
from typing import Any

from job.ground.store import Store
from job.publish.export import export
from job.publish.model import Version
from tests.docs import HOME
from tests.unit.exporting import published
from tests.unit.made_run import Made

PAGE = HOME / "docs" / "loading.md"
SMALL = 20_000   # bytes of a file: an export of several


def demo_output(folder: Path) -> tuple[Made, Version]:
    """``demo-output`` below ``folder``, published and exported as the page has it, from a run that took no model."""
    root = folder / "demo-output"
    made, version = published(folder, root=root, dataset="digits")
    for kind in ("parquet", "webdataset"):
        export(made.store, version, to=Store(str(root / "digits" / "exports"), retry_s=0), kind=kind, what="mix", file_bytes=SMALL)
    return made, version


def run_snippets(heading: str) -> dict[str, Any]:
    """Run the Python blocks below a heading, in their order, and return the names that they leave."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL):
        exec(compile(block, f"{PAGE.name}: {heading}", "exec"), names)
    return names
