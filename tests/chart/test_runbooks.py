"""The commands of the runbooks name what is there: objects, labels, containers, log files and events as a run makes them."""

import ast
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from job.verbs import VERBS
from tests.chart import operator_pods
from tests.chart.annotated import CHART
from tests.chart.engine import render
from tests.chart.restricted import containers
from tests.chart.samples import SAMPLES
from tests.monitoring import RUNBOOKS

pytestmark = pytest.mark.chart
HOME = CHART.parents[1]
PAGES = sorted(RUNBOOKS.glob("*.md"))
KINDS = {"rayjob", "job", "jobs", "cronjob", "pod", "pods"}
BY_OTHERS = {"ray.io/group", "batch.kubernetes.io/job-name"}   # labels that KubeRay and Kubernetes give to pods
LOGS = "/tmp/ray/session_latest/logs/worker-*.err"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def spans(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", page.read_text())


def commands(page: Path) -> list[list[str]]:
    """Every kubectl command, as the shell would cut it."""
    return [shlex.split(one)[1:] for one in spans(page) if one.startswith("kubectl ")]


def pods() -> list[dict]:
    return [pod for values in SAMPLES.values() for pod in operator_pods.pods(render(values)).values()]


def events() -> set[str]:
    """The names of all events that the job logs."""
    calls = [node for path in (HOME / "job").rglob("*.py") for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    texts = [one.value for call in calls for one in call.args[:1] if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return {text for text in texts if re.fullmatch(r"[a-z]+(_[a-z]+)*", text)}


@each_page
def test_every_command_asks_for_a_kind_that_is_there_and_a_log_for_a_job(page: Path) -> None:
    for verb, *rest in commands(page):
        if verb == "logs":   # the driver's lines and a plan's are in Jobs: a head's own log has Ray's alone
            assert re.fullmatch(r"job/[A-Z]\S*", rest[0]), rest
        elif verb == "exec":
            assert rest[0] == "POD"
        elif verb == "create":
            assert rest[0] == "job"
        else:
            assert verb in ("get", "describe", "delete"), verb
            assert rest[0] in KINDS, rest


@each_page
def test_every_label_is_one_that_objects_and_pods_bear(page: Path) -> None:
    borne = {label for pod in pods() for label in pod["metadata"]["labels"]} | BY_OTHERS
    for command in commands(page):
        asked = [after for flag, after in pairwise(command) if flag in ("-l", "-L")]
        assert {part.partition("=")[0] for one in asked for part in one.split(",")} <= borne, command


@each_page
def test_what_a_worker_says_is_looked_for_in_its_own_pod(page: Path) -> None:
    there = {one["name"] for pod in pods() for one in containers(pod)}
    for command in (one for one in commands(page) if one[0] == "exec"):
        assert command[2] == "-c"
        assert command[3] in there
        assert LOGS in command[-1]
    assert {one for one in spans(page) if one.startswith("ray-")} <= there


@each_page
def test_every_line_of_the_driver_that_is_named_is_one(page: Path) -> None:
    for line in page.read_text().splitlines():
        if line.startswith("- `kubectl logs job/NAME"):
            named = {one for one in re.findall(r"`([a-z_]+)`", line) if "_" in one or one in ("progress", "generated")}
            assert named <= events() | {"room_started", "progress"}, line
    verbs = {one.split("job ")[1].split()[0] for one in spans(page) if "python -m job " in one}
    assert verbs <= set(VERBS)


def test_the_pages_that_need_the_drivers_lines_show_them() -> None:
    for name in ("NoProgress", "FailedShareHigh", "JobFailed"):
        assert any(one[0] == "logs" and one[1] == "job/NAME" for one in commands(RUNBOOKS / f"{name}.md")), name
    for name in ("NoProgress", "FailedShareHigh"):
        assert any(one[0] == "exec" for one in commands(RUNBOOKS / f"{name}.md")), name
