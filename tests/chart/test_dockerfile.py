"""What the Dockerfile says, without a build: who the image runs as, what has to be in it, and what a change of the code costs."""

import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from tests.chart.annotated import CHART

pytestmark = pytest.mark.chart
HOME = CHART.parents[1]
Stage = list[tuple[str, str]]


def stages(text: str) -> dict[str, Stage]:
    """Instructions and their arguments, comments left out and lines joined, by stage; the last one is called ``final``."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: dict[str, Stage] = {"": []}
    name = ""
    for one in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        word, _, rest = one.partition(" ")
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "final"
            found[name] = []
        found[name].append((word, rest.strip()))
    return found


FOUND = stages((HOME / "Dockerfile").read_text())
FINAL, LIBRARIES, BILL = FOUND["final"], FOUND["libraries"], FOUND["bill"]


def said(stage: Stage, word: str) -> list[str]:
    return [rest for one, rest in stage if one == word]


def bytecode() -> str:
    """The command that compiles the standard library."""
    (command,) = re.findall(r"python3 -m compileall [^&]*", " && ".join(said(LIBRARIES, "RUN")))
    return command


def test_it_runs_as_a_number_that_is_not_root() -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", said(FINAL, "USER")[-1])
    assert FINAL.index(("USER", said(FINAL, "USER")[-1])) > max(at for at, (word, _) in enumerate(FINAL) if word in ("RUN", "COPY"))


def test_a_compiler_and_the_headers_of_libc_are_there_and_stay() -> None:
    (installed,) = re.findall(r"apt-get install ([^&]*)", " && ".join(said(LIBRARIES, "RUN")))
    assert {"gcc", "g++", "libc6-dev"} <= set(installed.split())
    assert said(FINAL, "FROM") == ["libraries"]
    runs = " ".join(rest for stage in FOUND.values() for rest in said(stage, "RUN"))
    assert not re.search(r"\b(remove|purge|autoremove)\b|dpkg (-r|-P)", runs)


def test_the_labels_say_what_is_known_and_nothing_else() -> None:
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", " ".join(said(FINAL, "LABEL"))))
    known = {"title", "description", "version", "revision", "base.name"}
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
    known |= {"licenses"} if [*HOME.glob("LICEN[CS]E*")] else set()
    known |= {"source"} if project.get("urls") else set()
    assert labels == known


def test_a_bill_of_both_kinds_of_packages_is_made_and_the_tool_stays_out() -> None:
    made = " ".join(said(BILL, "RUN"))
    assert set(re.findall(r"(?:-o |> )(/tmp/sbom\.\S+)", made)) == {"/tmp/sbom.cdx.json", "/tmp/sbom.dpkg.txt"}
    (taken,) = [one for one in said(FINAL, "COPY") if one.startswith("--from=bill ")]
    assert taken.split()[1:] == ["/tmp/sbom.cdx.json", "/tmp/sbom.dpkg.txt", "/opt/saltworks/"]
    assert said(BILL, "FROM") == ["libraries AS bill"]


def test_a_change_of_the_code_or_the_version_makes_no_library_anew() -> None:
    assert said(LIBRARIES, "COPY") == ["requirements.lock /opt/saltworks/"]
    assert said(LIBRARIES, "ARG") == []
    from_here = [one for one in said(FINAL, "COPY") if not one.startswith("--from=")]
    assert from_here == ["job job"]
    behind = FINAL[FINAL.index(("COPY", "job job")) + 1:]
    assert behind[0] == ("RUN", "python3 -m compileall -q job")
    assert {word for word, _ in behind[1:]} == {"USER", "ENTRYPOINT", "CMD"}


def test_all_that_is_imported_has_bytecode_for_the_root_is_read_only(tmp_path: Path) -> None:
    assert "--compile-bytecode" in " ".join(said(LIBRARIES, "RUN"))
    (where,) = re.findall(r'"\$\(python3 -c \'(.*?)\'\)"', bytecode())
    folder = subprocess.run([sys.executable, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    assert folder == sysconfig.get_path("stdlib")
    (left_out,) = re.findall(r"-x '(.*?)'", bytecode())
    for inside, wanted in (("json/decoder.py", True), ("asyncio/events.py", True), ("site-packages/torch/__init__.py", False)):
        assert (re.search(left_out, f"{folder}/{inside}") is None) is wanted
    for name in ("plain.py", "tests/bad.py"):   # files that are meant not to compile stand among the library's tests
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1 = 2" if "bad" in name else "x = 1")
    subprocess.run([sys.executable, "-m", "compileall", "-q", "-x", left_out, tmp_path], check=True)
    assert [path.parent.parent for path in tmp_path.rglob("*.pyc")] == [tmp_path]
