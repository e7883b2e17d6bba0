"""Dashboard, alerts, runbooks and docs/metrics.md agree; the watch costs nothing unasked and never breaks a run."""

import subprocess
import sys
from typing import Any

import pytest

from job.runplan import Chip
from job.watch import METRICS, Watch
from tests.monitoring import HOME, RUNBOOKS, dashboard, listed, names, queries, rules

pytestmark = pytest.mark.unit
CHIP = Chip(peak_tflops=790.0, tflop_per_image=50.7)


class Told:
    """Stands for ``ray.util.metrics``: refuses what Ray refuses, and keeps the rest."""

    def __init__(self, broken: str = "") -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.broken, self.calls = broken, 0

    def Counter(self, name: str, said: str, labels: tuple[str, ...]) -> Any:   # Ray's own name
        return self._metric(name, labels)

    Gauge = Counter

    def _metric(self, name: str, labels: tuple[str, ...]) -> Any:
        told = self

        class Metric:
            def inc(self, value: float, tags: dict[str, str]) -> None:
                assert value > 0
                self.set(told.values.get((name, tuple(sorted(tags.items()))), 0.0) + value, tags)

            def set(self, value: float, tags: dict[str, str]) -> None:
                told.calls += 1
                if name == told.broken:
                    raise RuntimeError("Ray is gone")
                assert sorted(tags) == sorted(labels)
                told.values[name, tuple(sorted(tags.items()))] = value

        return Metric()

    def of(self, name: str, **labels: str) -> float:
        return self.values[name, tuple(sorted({"dataset": "d", **labels}.items()))]


def whole_day(watch: Watch) -> list[int]:
    """All that a run can tell: counted, whatever the watch does."""
    seen: list[int] = []
    advance = watch.room("generate", 16, "images", lambda count=1: seen.append(count))
    advance(8)
    advance()
    watch.images("generate", {"made": 7, "failed": 1, "ours": True})
    watch.images("generate", {"made": 8, "failed": 0, "ours": False})   # another run's
    watch.images("measure", {"scored": 6, "blind": 2})
    watch.heard("a", [["generate", "draw", 10.0, 2.0, 1.0], ["generate", "idle", 1.0, 2.0, 1.0]])
    watch.heard("a", [["generate", "draw", 15.0, 2.0, 1.0], ["generate", "idle", 1.0, 2.0, 1.0]])
    watch.heard("b", [["generate", "draw", 3.0, 0.0, 1.0]])
    watch.spent(0.0, before=5.0)
    watch.spent(2.0)
    return seen


def test_every_number_is_told_with_its_labels() -> None:
    told, watch = Told(), Watch("d", "USD", 9.0, CHIP)
    with watch.on(told):
        assert whole_day(watch) == [8, 1]
    assert told.of("saltworks_room_total", room="generate", unit="images") == 16
    assert told.of("saltworks_room_done", room="generate", unit="images") == 9
    assert told.of("saltworks_images", room="generate", result="made") == 7
    assert told.of("saltworks_images", room="measure", result="blind") == 2
    assert told.of("saltworks_seconds", room="generate", kind="draw") == 2 * 15 + 3
    assert told.of("saltworks_seconds", room="generate", kind="idle") == 2
    assert told.of("saltworks_spent", currency="USD") == 7
    assert told.of("saltworks_budget", currency="USD") == 9
    assert (told.of("saltworks_peak_tflops"), told.of("saltworks_tflop_per_image")) == (790, 50.7)
    assert told.of("saltworks_last_progress_timestamp_seconds") > 1e9
    assert {name for name, _ in told.values} == set(METRICS)


def test_nothing_is_told_before_or_after() -> None:
    told, watch = Told(), Watch("d")
    assert whole_day(watch) == [8, 1]
    with watch.on(told):
        pass
    calls = told.calls
    assert whole_day(watch) == [8, 1]
    assert (calls, told.calls, told.values) == (0, 0, {})


@pytest.mark.parametrize("name", METRICS)
def test_whatever_breaks_in_the_watch_the_run_goes_on(name: str) -> None:
    told, watch = Told(broken=name), Watch("d", "USD", 9.0, CHIP)
    with watch.on(told):
        assert whole_day(watch) == [8, 1]
    with watch.on(object()):   # not even the metrics can be made
        assert whole_day(watch) == [8, 1]


def test_an_error_of_the_run_passes_through_and_ends_the_watch() -> None:
    watch = Watch("d")
    with pytest.raises(KeyError), watch.on(Told()):
        raise KeyError("x")
    assert not watch.recording


def test_a_watch_that_is_not_on_loads_no_ray() -> None:
    code = ("import sys; from job.watch import Watch; w = Watch('d'); w.room('a', 1, 'b', print); w.heard('p', [['a', 'b', 1, 0, 1]]); "
            "w.spent(1.0); print('ray' in sys.modules)")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HOME)
    assert found.stdout.strip() == "False"


def test_every_query_names_only_metrics_of_the_table_and_every_metric_of_the_job_is_shown_or_watched() -> None:
    table, asked = listed(), [names(query) for query in queries()]
    assert all(asked)
    used = set().union(*asked)
    assert used <= set(table), "docs/metrics.md lacks a name"
    assert {name for name, origin in table.items() if origin == "job"} <= used
    assert set(table.values()) == {"job", "ray", "operator", "kube-state-metrics"}
    scraped = {f"ray_{name}{'_total' * (kind == 'Counter')}" for name, (kind, _, _) in METRICS.items()}
    assert scraped == {name for name, origin in table.items() if origin == "job"}


@pytest.mark.parametrize("query", [*queries()])
def test_a_query_is_closed_and_ends_where_it_should(query: str) -> None:
    for left, right in ("()", "{}", "[]"):
        assert query.count(left) == query.count(right)
    assert query.count('"') % 2 == 0


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    alerts = {rule["alert"] for rule in rules()}
    assert alerts == {path.stem for path in RUNBOOKS.glob("*.md")}
    assert alerts == {"NoProgress", "FailedShareHigh", "BudgetNearlySpent", "IdleGpus", "JobFailed", "RefreshMissed", "PreflightFailed"}
    for rule in rules():
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
    text = (HOME / "docs" / "metrics.md").read_text()
    for name in alerts:
        page = (RUNBOOKS / f"{name}.md").read_text()
        assert page.startswith(f"# {name}\n")
        assert all(part in page for part in ("**Meaning.**", "**Impact.**", "## How to look", "## Cure"))
        assert f"(runbooks/{name}.md)" in text


def test_the_dashboard_has_its_variables_and_panels_that_stand_side_by_side() -> None:
    board = dashboard()
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource", "namespace", "dataset"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["title"]
        assert panel["description"]
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken
        taken |= cells
