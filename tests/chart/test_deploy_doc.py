"""What the pages about clusters say is so: values, settings, files, targets and messages exist, and the commands do what they say."""

import ast
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from job import errors
from tests.chart import core_schemas, refusals, restricted
from tests.chart.annotated import CHART
from tests.chart.engine import Object, Refused, profile, render
from tests.chart.wrong_values import RULES
from tests.chart.wrong_values import merged as over

pytestmark = pytest.mark.chart
HOME = CHART.parents[1]
DEPLOY, README = HOME / "docs" / "deploy.md", HOME / "README.md"
PAGES = [DEPLOY, README, HOME / "k8s" / "README.md", CHART / "README.md"]
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
IN_A_CLUSTER = ("kube.py", "kube_jobs.py", "waiting.py", "lives.py", "preview.py", "ground/drain.py", "ground/stop.py")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BASE: Object = {   # what a snippet is laid over
    "settings": {"SALTWORKS_ROOT": "s3://bucket/salt", "SALTWORKS_GENERATOR__GPUS_PER_ACTOR": 1, "SALTWORKS_SWEEP__GPUS_PER_TRIAL": 0.25},
    "workerGroups": [{"name": "draw", "gpus": 1}, {"name": "tasks", "role": "cpu"}],
}


def inline(text: str) -> list[str]:
    """What stands between backticks, fences apart."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


def code(text: str) -> str:
    return "\n".join([*(body for _, body in FENCE.findall(text)), *inline(text)])


def merged(base: Any, over: Any) -> Any:
    """As Helm merges values: mappings by key, anything else replaced."""
    if isinstance(base, dict) and isinstance(over, dict):
        return base | {name: merged(base.get(name), one) for name, one in over.items()}
    return over


def snippets() -> list[Object]:
    """Every fence of YAML that holds values."""
    fences = [body for page in PAGES for kind, body in FENCE.findall(page.read_text()) if kind == "yaml" and "kind:" not in body]
    return [values for values in map(yaml.safe_load, fences) if set(values) <= set(SCHEMA["properties"])]


def flags() -> list[tuple[str, str]]:
    """Every ``--set path=value``."""
    return [pair for page in PAGES for pair in re.findall(r"--set(?:-string)? ([\w.\[\]]+)=([^\s`]+)", code(page.read_text()))]


def resolved(schema: Object) -> Object:
    return SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def known(path: list[str], schema: Object = SCHEMA) -> bool:
    """Whether the schema has a value of this path; items of lists are stepped into."""
    schema = resolved(schema)
    if "items" in schema and "properties" not in schema:
        schema = resolved(schema["items"])
    if not path:
        return True
    properties = schema.get("properties")
    if properties is None:
        return "additionalProperties" in schema or "patternProperties" in schema
    return path[0] in properties and known(path[1:], properties[path[0]])


def test_the_page_has_values_to_check_and_every_one_of_them_renders() -> None:
    assert len(snippets()) >= 5
    for values in snippets():
        assert render(merged(BASE, values)).objects, values


@pytest.mark.parametrize(("path", "value"), flags())
def test_every_value_that_is_set_on_a_command_line_renders(path: str, value: str) -> None:
    assert known(path.split("."))
    values: Any = yaml.safe_load(value)
    for name in reversed(path.split(".")):
        values = {name: values}
    assert render(merged(BASE, values)).objects


def test_every_value_that_is_named_exists() -> None:
    named = {one.partition(":")[0] for page in PAGES if page != README for one in inline(page.read_text())}
    paths = [one.split(".") for one in named if re.fullmatch(r"[a-z]\w*(\.[A-Za-z]+)+", one)]
    ours = [path for path in paths if path[0] in SCHEMA["properties"]]
    assert len(ours) >= 15
    assert not [path for path in ours if not known(path)]


def test_every_setting_that_is_named_is_one() -> None:
    settings = set(SCHEMA["$defs"]["settings"]["properties"])
    for page in PAGES:
        assert set(re.findall(r"SALTWORKS_[A-Z][A-Z0-9_]*[A-Z0-9]", page.read_text())) <= settings, page.name


def test_every_file_and_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (HOME / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text()
        assert set(re.findall(r"\bmake ([a-z0-9-]+)", code(text))) <= targets, page.name
        paths = re.findall(r"(?<![\w./-])(?:docs|helm|k8s|tests|bench)/[\w./-]*\w", code(text))
        assert not [path for path in paths if not (HOME / path).exists()], page.name
        for place, _, anchor in (one.partition("#") for one in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in one):
            target = page.parent / place if place else page
            assert target.exists(), f"{page.name}: {place}"
            assert not anchor or anchor in anchors(target), f"{page.name}: {place}#{anchor}"


def anchors(page: Path) -> set[str]:
    """What a link may name behind the #, as GitHub makes it of headings."""
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def text_of(node: ast.expr) -> str | None:
    """A literal text, with … where a value goes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return re.sub("…+", "…", "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values))
    return None


def said() -> list[str]:
    """All texts of the job and of the chart's refusals, whole, with … where a value goes."""
    nodes = [node for path in (HOME / "job").rglob("*.py") for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.expr)]
    return [*(text for node in nodes if (text := text_of(node)) is not None), *refusals.messages()]


def listed() -> list[str]:
    """The messages in the table of failures."""
    table = DEPLOY.read_text().partition("<!-- messages:begin -->")[2].partition("<!-- messages:end -->")[0]
    rows = [row.split(" | ") for row in table.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 35
    return re.findall(r"`([^`]+)`", "\n".join(row[1] for row in rows))


def problems() -> Iterator[str]:
    """What ends a run in a cluster, and nowhere else: problems of the errors that these files raise, or ask for a stop with."""
    kinds = {name for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, errors.JobError)}
    at = dict.fromkeys(kinds | {"request"}, 0) | {"revive": 1}
    for path in IN_A_CLUSTER:
        for node in ast.walk(ast.parse((HOME / "job" / path).read_text())):
            called = getattr(node, "func", None)
            place = at.get(getattr(called, "id", getattr(called, "attr", "")))
            if place is not None and isinstance(node, ast.Call) and len(node.args) > place and (text := text_of(node.args[place])):
                yield text


def test_every_message_in_the_table_of_failures_is_said_somewhere() -> None:
    texts = said()
    for message in listed():
        for part in re.split("→|; ", message):   # a problem and its cure, or what is put together from two
            assert any(part.strip("… ") in one for one in texts), f"{message}: {part}"


def as_pattern(message: str) -> re.Pattern[str]:
    """What a message of the page stands for: … for anything, and further details behind it."""
    return re.compile(re.escape(message.partition("→")[0].strip()).replace("…", ".*") + ".*")


def test_everything_that_ends_a_run_in_a_cluster_alone_stands_in_the_table_of_failures() -> None:
    told = sorted(set(problems()))
    assert len(told) >= 20
    lacking = [one for one in told if not any(as_pattern(a).fullmatch(b) for page in listed() for a, b in ((page, one), (one, page)))]
    assert lacking == []


@pytest.mark.parametrize("wrong", RULES, ids=lambda wrong: json.dumps(wrong[0])[:70])
def test_every_refusal_of_the_chart_stands_on_the_page(wrong: tuple) -> None:
    given = DEPLOY.read_text().partition("<!-- refusals:begin -->")[2].partition("<!-- refusals:end -->")[0]
    patterns = [as_pattern(one) for one in re.findall(r"^- `(.+)`$", given, re.MULTILINE)]
    with pytest.raises(Refused) as refused:
        render(over(wrong[0]))
    lines = [line.strip() for line in str(refused.value).splitlines()[1:] if line.strip()]
    assert lines
    assert [line for line in lines if not any(pattern.fullmatch(line) for pattern in patterns)] == []


def test_every_rule_that_could_refuse_is_found_in_the_templates() -> None:
    whole = "".join(path.read_text() for path in refusals.TEMPLATES)
    assert len(refusals.messages()) == whole.count("\n- ") >= 45


def test_when_gpus_are_given_back_is_told_alike_wherever_it_is_told() -> None:
    told = ("GPUs are rented when the first actor asks; those that drew go back while others train, "
            "those that trained after the last training")
    for path in (DEPLOY, HOME / "k8s" / "README.md", CHART / "profiles" / "gpu.yaml"):
        assert told in " ".join(path.read_text().replace("\n# ", "\n").split()), path.name
    for path in (*PAGES, *(CHART / "profiles").glob("*.yaml")):
        assert "before the report" not in path.read_text(), path.name


@pytest.mark.skipif(not shutil.which("jq"), reason="jq is not installed")
@pytest.mark.parametrize("name", ["demo", "gpu"])
def test_the_pod_that_runs_a_verb_by_hand_is_valid_restricted_and_like_the_head(name: str, tmp_path: Path) -> None:
    (function,) = [body for kind, body in FENCE.findall(DEPLOY.read_text()) if "pod_of() {" in body]
    rayjob = render(profile(name)).rayjob
    (tmp_path / "rayjob.json").write_text(json.dumps(rayjob))
    kubectl = tmp_path / "kubectl"   # one that knows this RayJob, and shows what it is to create
    kubectl.write_text(f'#!/bin/sh\n[ "$1" = get ] && exec cat {tmp_path}/rayjob.json\nexec cat\n')
    kubectl.chmod(0o755)
    script = function.partition("\n}\n")[0] + "\n}\npod_of NAME python -m job verify 3"
    done = subprocess.run(["bash", "-c", script], env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True,
                          text=True, check=True)
    pod = json.loads(done.stdout)
    head = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["python", "-m", "job", "verify", "3"]
    assert {one: container[one] for one in ("image", "env", "envFrom", "volumeMounts")} == {
        one: head["containers"][0][one] for one in ("image", "env", "envFrom", "volumeMounts")}
    assert pod["spec"]["serviceAccountName"] == head["serviceAccountName"]
    assert "autoscaler" not in json.dumps(pod)
    pod["metadata"]["name"] = pod["metadata"].pop("generateName") + "x"
    assert core_schemas.complaints(pod, core_schemas.VERSIONS[0]) == core_schemas.complaints(pod, core_schemas.VERSIONS[-1]) == []
    assert restricted.complaints(pod) + restricted.beyond(pod) == []
