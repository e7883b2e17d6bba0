"""The dependency law of docs/architecture.md, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit
JOB = Path(__file__).parents[1] / "job"
FILES = sorted(JOB.rglob("*.py"))
LEVELS = (   # an import may stay on its level or go down, never up
    {"records", "results", "errors", "runplan"},
    {"settings", "settings_groups", "ground", "plugs"},
    {"generators", "metrics", "tasks", "real"},
    {
        "plan", "splitting", "near_duplicates", "filtering", "mixing", "arms", "choosing", "comparing", "halving", "advising", "folds",
        "statistics",
    },
    {
        "pool", "lives", "drawing", "fitting", "fitting_together", "generate", "decisions", "trainset", "measure", "sweep", "report",
        "publish", "admit", "kube", "kube_jobs", "watch", "cluster", "preview", "doctor", "settings_table",
        "waiting", "pilot", "chip", "doctor_gpu", "turns", "compiled", "compare",
    },
    {"river"},
    {"run", "demo"},
    {"crossfit", "verbs"},
    {"__main__"},
)
ROOMS = ("generate", "measure", "filtering", "mixing", "sweep", "report", "publish")   # left to right
COLD = {"plan", "splitting", "near_duplicates", "filtering", "mixing", "arms", "choosing", "comparing", "halving", "advising", "folds",
        "statistics"}
HOT = {"cluster", "watch", "drawing", "generate", "measure", "sweep", "trainset", "pool", "waiting", "fitting", "fitting_together",
       "pilot", "chip", "turns", "compiled"}
BLIND = COLD - {"plan", "splitting"} | HOT - {"cluster"} | {"decisions", "publish", "report"}   # they take parts of the plan
PLUGS = {"generators", "metrics", "tasks", "real"}


def module(path: Path) -> str:
    return ".".join(path.relative_to(JOB.parent).with_suffix("").parts).removesuffix(".__init__")


def room(name: str) -> str:
    """job.real.digits → real; job itself → the empty string."""
    return name.split(".")[1] if "." in name else ""


def imports(path: Path) -> list[str]:
    """Every module that the file imports, at the top or inside a function."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def level(name: str) -> int:
    return next(number for number, names in enumerate(LEVELS) if name in names)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_no_import_goes_up(path: Path) -> None:
    mine = room(module(path))
    if not mine:
        return
    for name in imports(path):
        if name.startswith("job.") and room(name) and room(name) != "__version__":
            assert level(room(name)) <= level(mine), f"{module(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_room_never_imports_a_room_to_its_right(path: Path) -> None:
    mine = room(module(path))
    if mine in ROOMS:
        for name in imports(path):
            if name.startswith("job.") and room(name) in ROOMS:
                assert ROOMS.index(room(name)) <= ROOMS.index(mine), f"{module(path)} imports {name}"


@pytest.mark.parametrize("path", FILES, ids=module)
def test_heavy_things_are_known_only_where_they_belong(path: Path) -> None:
    mine, tops = room(module(path)), {name.split(".")[0] for name in imports(path)}
    if mine in COLD:
        assert not tops & {"ray", "torch", "fsspec", "os", "pathlib", "tempfile", "requests"}
    if mine in PLUGS:
        assert not tops & {"ray", "fsspec", "s3fs"}
        assert "job.settings" not in {".".join(name.split(".")[:2]) for name in imports(path)}
    if mine not in HOT | {"run", "river"}:
        assert "ray" not in tops
    if mine != "ground":
        assert not tops & {"fsspec", "s3fs"}
    if mine != "kube":
        assert "kubernetes" not in tops


@pytest.mark.parametrize("path", FILES, ids=module)
def test_only_settings_reads_the_environment(path: Path) -> None:
    text = path.read_text()
    if module(path) != "job.settings":
        assert "os.environ" not in text
        assert "getenv" not in text


@pytest.mark.parametrize("path", FILES, ids=module)
def test_nothing_after_the_plan_sees_the_settings(path: Path) -> None:
    if room(module(path)) in BLIND:
        assert not any(name.startswith("job.settings") for name in imports(path))


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_plug_never_imports_a_plug(path: Path) -> None:
    mine = module(path)
    if room(mine) in PLUGS and path.name != "__init__.py":
        others = {module(one) for one in FILES if room(module(one)) in PLUGS and one.name != "__init__.py"} - {mine}
        shared = {   # tools, no plugs
            "job.real.pixels", "job.real.rows", "job.real.given", "job.real.cifar10_files", "job.real.parquet_files", "job.real.tar_files",
            "job.metrics.features", "job.generators.pace", "job.generators.pipelines", "job.generators.prompts"}
        assert not {".".join(name.split(".")[:3]) for name in imports(path)} & (others - shared)


@pytest.mark.parametrize("path", FILES, ids=module)
def test_nothing_imports_the_demo(path: Path) -> None:
    if room(module(path)) not in ("demo", "__main__"):
        assert not any(name.startswith("job.demo") for name in imports(path))


def test_importing_the_plan_loads_neither_torch_nor_ray_nor_diffusers() -> None:
    code = "import sys, job.plan; print([name for name in ('torch', 'ray', 'diffusers', 'transformers') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=JOB.parent)
    assert found.stdout.strip() == "[]"


def test_what_tests_need_besides_the_runtime_is_not_loaded_by_every_process_of_ray() -> None:
    """``jsonschema``, which Ray imports, takes the checkers of formats that are installed; one spent 0.9 s of CPU in each process."""
    code = ("import re, sys, ray, ray.data, ray.train; from importlib.metadata import packages_distributions\n"
            "plain = lambda name: re.sub('[-_.]+', '-', name).lower()\n"
            "pinned = {plain(line.split('==')[0]) for line in open('requirements.lock') if '==' in line}\n"
            "found = packages_distributions()\n"
            "print(*sorted({plain(one) for name in list(sys.modules) for one in found.get(name.split('.')[0], ())} - pinned))")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=JOB.parent)
    assert set(found.stdout.split()) <= {"jsonpointer", "rfc3339-validator"}   # a file each


@pytest.mark.parametrize("path", [*FILES, *sorted(Path(__file__).parent.rglob("*.py"))], ids=lambda path: path.name)
def test_no_file_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
