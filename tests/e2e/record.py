"""What ran on a cluster, for a page that is committed: written by a run that was whole and green, else not at all."""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

HERE = "tests/e2e/"


class Record:
    """A plugin of pytest. ``facts``: what the tests found out about the cluster."""

    def __init__(self, path: str | None, folder: Path) -> None:
        self.path, self._folder = path, folder
        self.facts: dict[str, str] = {}
        self.rows: list[tuple[str, str, float, str]] = []   # test, outcome, seconds, notes
        self._modules: set[str] = set()
        self._left_out = 0

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._left_out += sum(one.get_closest_marker("e2e") is not None for one in items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if HERE in report.nodeid and (report.when == "call" or report.outcome != "passed"):
            file, _, name = report.nodeid.partition("::")
            self._modules.add(Path(file).name)
            notes = "; ".join(f"{what}: {value}" for what, value in report.user_properties)
            self.rows.append((name.removeprefix("test_").replace("_", " "), report.outcome, report.duration, notes))

    def lacking(self, exit_status: int, arguments: Sequence[str] = ()) -> str:
        """Why this was no run of everything that ended well; empty if it was."""
        modules = {path.name for path in self._folder.glob("test_cluster_*.py")}
        if exit_status or any(outcome == "failed" for _, outcome, _, _ in self.rows):
            return "not every test passed"
        if skipped := sum(outcome == "skipped" for _, outcome, _, _ in self.rows):
            return f"{skipped} tests were skipped"
        if self._left_out or modules - self._modules or any("::" in one for one in arguments):
            return "only a part of the tests was asked for"
        return ""

    def pytest_terminal_summary(self, terminalreporter: Any, exitstatus: int, config: pytest.Config) -> None:
        if self.path:
            why = self.lacking(int(exitstatus), config.args)
            if not why:
                Path(self.path).write_text(self.text({**versions(), **self.facts}))
            terminalreporter.write_line(f"{self.path} is {f'not written: {why}' if why else 'written'}")

    def text(self, told: Mapping[str, str]) -> str:
        """A page of Markdown."""
        rows = [f"| {name} | {outcome} | {seconds:.0f} | {notes} |" for name, outcome, seconds, notes in self.rows]
        took = sum(seconds for _, _, seconds, _ in self.rows)
        return "\n".join([
            "# What ran on a real cluster", "", "Written by `make e2e-full`, when all of it had passed.", "",
            *(f"- {name}: {one}" for name, one in told.items()), f"- seconds in all tests: {took:.0f}", "",
            "| test | outcome | seconds | seen |", "|---|---|---|---|", *rows, ""])


def versions() -> dict[str, str]:
    """Of everything that took part but the image."""
    version = json.loads(_said("kubectl", "version", "-o", "json"))
    return {
        "date": time.strftime("%Y-%m-%d"), "Kubernetes": version["serverVersion"]["gitVersion"],
        "KubeRay operator": operator(), "Helm": _said("helm", "version", "--short").strip(), "Ray": metadata.version("ray"),
        "torch": metadata.version("torch"), "the tests' machine": f"{os.cpu_count()} CPUs",
    }


def operator() -> str:
    """The operator's image; where it runs beside the cluster, what ``E2E_OPERATOR`` says, else what made its CRDs."""
    deployments = json.loads(_said("kubectl", "get", "deployments", "-A", "-o", "json"))["items"]
    images = {container["image"] for one in deployments for container in one["spec"]["template"]["spec"]["containers"]}
    if found := sorted(one for one in images if "kuberay" in one and "operator" in one):
        return ", ".join(found)
    crd = json.loads(_said("kubectl", "get", "crd", "rayjobs.ray.io", "-o", "json"))
    made = crd["metadata"].get("annotations", {}).get("controller-gen.kubebuilder.io/version", "unknown")
    return os.environ.get("E2E_OPERATOR") or f"of no Deployment; its CRDs were made by controller-gen {made}"


def _said(*words: str) -> str:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout
