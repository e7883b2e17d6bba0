"""EDGE. The verb ``compare``: candidates of finished runs, from their stored answers; the look is counted before it is taken."""

import json
import re
from collections.abc import Sequence

import numpy as np

from job import admit, choosing, comparing, report, statistics, sweep
from job.errors import DataError, SettingsError, redact
from job.ground import layout, lineage
from job.ground.store import Store
from job.records import Split
from job.report import compared
from job.report.compared import Comparison, Side
from job.report.model import Confirmed, Report
from job.results import TrialResult
from job.runplan import RunPlan
from job.settings import Settings

USAGE = "write: python -m job compare RUN RUN, with the names that stand in runs/<run>/report, the reference first"


def compare(settings: Settings, runs: Sequence[str]) -> tuple[Comparison, str]:
    """The first of ``runs`` against each other one. Returns the report and where it lies.

    Raises ``SettingsError`` for names that are none, and ``DataError`` for runs that cannot be compared: then nothing was looked at.
    """
    _check_names(runs)
    store = admit.open_store(settings)
    found = [(*_finished(store, settings.dataset, run), run) for run in runs]
    (plan, split, _, _), *others = found
    for other, its, _, _ in others:
        comparing.check((plan, split), (other, its))
    weights = choosing.weights(plan.objective, split.part("test")["label"].to_numpy())
    sides = [Side(one, made, f"{store.shown}/{layout.Run(one.dataset, run).report('')}",
                  *(_answers(store, one, told, weights) for told in made.confirmed)) for one, _, made, run in found]
    name = lineage.content_id("comparison", [[run, one.candidate.trial] for run, one in zip(runs, sides, strict=True)])
    test = lineage.test_id(split.part("test")["digest"].to_pylist())
    store.create(layout.look(plan.dataset, test, f"compare-{name}"), lineage.canonical({"runs": list(runs)}).encode())
    looks = len(store.list(layout.looks(plan.dataset, test)))
    made = compared.compared(name, sides, weights, looks)
    where = layout.comparison(plan.dataset, name, "")
    store.replace(f"{where}report.html", compared.page(made).encode())
    store.replace(f"{where}report.json", made.model_dump_json(indent=1).encode())
    return made, f"{store.shown}/{where}"


def _check_names(runs: Sequence[str]) -> None:
    for run in runs:
        if not re.fullmatch(f"[0-9a-f]{{{lineage.DIGITS}}}", run):
            raise SettingsError(f"{redact(run)!r} is no name of a run", USAGE)
    if len(runs) < 2:
        raise SettingsError("a comparison needs two runs or more", USAGE)
    twice = next((run for run in runs if runs.count(run) > 1), None)
    if twice:
        raise SettingsError(f"run {twice} is named twice: compared with itself it differs by nothing", USAGE)


def _finished(store: Store, dataset: str, run: str) -> tuple[RunPlan, Split, Report]:
    """Plan, split and report of a run that has come to a verdict."""
    keys = layout.Run(dataset, run)
    if store.get(keys.done()) is None:
        begun = store.get(keys.plan()) is not None
        raise DataError(f"run {run} is not finished" if begun else f"there is no run {run} below {store.shown}/{dataset}",
                        "finish it with: python -m job run" if begun else "name a run of this SALTWORKS_ROOT and SALTWORKS_DATASET")
    plan, split = admit.read(store, dataset, run)
    made = report.read(store, plan)
    if made is None:
        raise DataError(f"the report of run {run} is lost, or another version wrote it", "make it again with: python -m job report")
    if made.verdict == statistics.NO_VERDICT:
        raise DataError(f"run {run} has no verdict: {made.would_decide}",
                        f"compare runs of five confirm seeds and {statistics.MIN_IMAGES} judged images or more")
    return plan, split, made


def _answers(store: Store, plan: RunPlan, told: Confirmed, weights_N: np.ndarray | None) -> TrialResult:
    """The stored trial that the report's confirmation tells of, by α, seeds and what it was right on."""
    keys = layout.Run(plan.dataset, plan.run)
    for key, _ in store.list(keys.trials()):
        record = json.loads(store.read(key)) if key.endswith(".json") else {"judged_on": ""}
        if record["judged_on"] == "test" and (record["arm"], record["alpha"], record["seeds"]) == ("", told.alpha, told.seeds):
            found = sweep.read_result(store, plan, record["trial"])
            if found and np.allclose(statistics.per_seed(found.correct_SN, weights_N=weights_N), told.test_accuracies, rtol=0, atol=1e-9):
                return found
    raise DataError(f"run {plan.run} has no stored trial at α = {told.alpha:g} that is right as often as its report says",
                    "make its report again with: python -m job report")
