"""Helm, as the tests and the generator use it: the chart rendered, or the words with which it refuses."""

import json
from dataclasses import dataclass
from typing import Any

import helm_python as helm
import yaml

from tests.chart.annotated import CHART

Object = dict[str, Any]
Refused = helm.HelmError
ORDER = ("ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "Role", "RoleBinding", "NetworkPolicy", "PodMonitor", "PrometheusRule",
         "CronJob", "Job", "RayJob", "Pod")


@dataclass(frozen=True)
class Rendered:
    """What an install would make, in the order in which it is made, and what its notes say."""

    objects: list[Object]
    notes: str

    def one(self, kind: str, ending: str = "") -> Object:
        """The only object of this kind whose name ends so."""
        (found,) = (one for one in self.objects if one["kind"] == kind and one["metadata"]["name"].endswith(ending))
        return found

    def kinds(self) -> list[str]:
        return [one["kind"] for one in self.objects]

    @property
    def rayjob(self) -> Object:
        """The RayJob, applied or in the manifest that a launcher creates it from."""
        for one in self.objects:
            if one["kind"] == "RayJob":
                return one
            if "rayjob.json" in one.get("data", {}):
                return json.loads(one["data"]["rayjob.json"])
        raise LookupError("no RayJob")

    @property
    def settings(self) -> dict[str, str]:
        """The environment that the settings' ConfigMap gives."""
        return next(one["data"] for one in self.objects if one["kind"] == "ConfigMap" and "-settings-" in one["metadata"]["name"])


def render(values: Object, name: str = "saltworks", namespace: str = "saltworks") -> Rendered:
    """The chart with these values. Raises ``Refused`` with the schema's or a rule's words."""
    with helm.Chart.load(CHART) as chart:
        parts = chart.render(values, name=name, namespace=namespace, is_install=True)
    notes = next(text for path, text in parts.items() if path.endswith("NOTES.txt"))
    found = [one for path, text in sorted(parts.items()) if not path.endswith("NOTES.txt") for one in yaml.safe_load_all(text) if one]
    return Rendered(sorted(found, key=lambda one: (ORDER.index(one["kind"]), one["metadata"]["name"])), notes)


def profile(name: str) -> Object:
    """The values of a profile."""
    return yaml.safe_load((CHART / "profiles" / f"{name}.yaml").read_text())


PROFILES = sorted(path.stem for path in (CHART / "profiles").glob("*.yaml"))


def lint(values: Object) -> list[str]:
    """Every warning and error of ``helm lint --strict``."""
    return [one["error"] for one in helm.lint(CHART, values, strict=True)["messages"] if one["severity"] > 1]
