"""EDGE. The report: ``report.json``, ``report.html``, ``mixing_sweep.png``, and the verdict in words.

Everything in it is computed from stored measurements, so it can be made again at any time without a GPU.
"""

import json
from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError

from job.ground import layout
from job.ground.bill import with_repeated
from job.ground.cost import Ledger
from job.ground.store import Store
from job.records import Refusal
from job.report.assemble import Found, assemble
from job.report.figure import mixing_sweep
from job.report.gallery import gallery
from job.report.model import Report
from job.report.page import render
from job.results import CostLine
from job.runplan import RunPlan

__all__ = ["Found", "read", "write"]


def write(
    store: Store, found: Found, warnings: Sequence[str], flags: Mapping[str, str], ledger: Ledger,
    censor: Callable[[Report], Report] | None = None,
) -> Report:
    """Assemble and store all three. They can be made again, so they replace what was there.

    ``censor`` takes out of the report what may not be told.
    """
    keys = layout.Run(found.plan.dataset, found.plan.run)
    refused = [Refusal(*one) for one in json.loads(store.get(keys.refused()) or b"[]")]
    gpus = ledger.gpus("generate", "draw") if found.chip else 0.0
    made = assemble(found, warnings, flags, _spent(found, ledger), refused, gpus)
    made = censor(made) if censor else made
    figure = mixing_sweep(made)
    page = render(made, figure, gallery(store, found))
    store.replace(keys.report("mixing_sweep.png"), figure)
    store.replace(keys.report("report.html"), page.encode())
    store.replace(keys.report("report.json"), made.model_dump_json(indent=1).encode())
    return made


def _spent(found: Found, ledger: Ledger) -> tuple[CostLine, ...]:
    """The run's bill, with what led to none of its commits shown apart."""
    own = [one for one in found.committed if one.run == found.plan.run]
    committed = {
        "generate": sum(one.draw_s + one.encode_s for one in own), "sweep": sum(one.seconds for one in (*found.results, *found.curves)),
        "confirm": sum(one.seconds for one in (found.candidate, found.baseline, *found.others)),
    }
    return with_repeated(ledger.total(found.plan.price), committed)


def read(store: Store, planned: RunPlan) -> Report | None:
    """The stored report of a finished run; None if it is lost, or another version wrote it."""
    data = store.get(layout.Run(planned.dataset, planned.run).report("report.json"))
    try:
        return Report.model_validate_json(data) if data else None
    except ValidationError:
        return None
