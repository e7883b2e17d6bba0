"""What dashboard, alerts and docs/metrics.md say, for the tests that compare it with what a job emits."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HOME = Path(__file__).parents[1]
FILES = HOME / "helm" / "saltworks" / "files"
RUNBOOKS = HOME / "docs" / "runbooks"
_NAME = re.compile(r"\b(?:ray|kuberay|kube)_[a-z0-9_]+")


def listed() -> dict[str, str]:
    """Every name in the table of docs/metrics.md, and its origin."""
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (\w+) \| [^|]* \| ([a-z-]+) \|", (HOME / "docs" / "metrics.md").read_text(), re.MULTILINE)
    return {name: origin for name, _, origin in rows}


def dashboard() -> dict[str, Any]:
    return json.loads((FILES / "dashboard.json").read_text())


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((FILES / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    """Every query of dashboard and alerts."""
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (variable["query"]["query"] for variable in dashboard()["templating"]["list"] if variable["type"] == "query")
    yield from (rule["expr"] for rule in rules())


def names(query: str) -> set[str]:
    """The metrics that a query names; strings, labels that select and lists of labels are none."""
    bare = re.sub(r'"[^"]*"', '""', query)
    bare = re.sub(r'\w+\s*(?:=~|!~|!=|=)\s*""', "", bare)
    bare = re.sub(r"\b(?:by|on|ignoring|without)\s*\([^)]*\)", "", bare)
    return set(_NAME.findall(bare))


def asked_of(metric: str, label: str) -> set[str]:
    """The values of a label that the queries select of a metric, alternatives each for itself."""
    found = [re.findall(rf'[{{,]\s*{label}\s*(?:=~|=)\s*"([^"$]+)"', body)
             for query in queries() for body in re.findall(rf"\b{metric}(\{{[^}}]*\}})", query)]
    return {one for values in found for value in values for one in value.split("|")}
