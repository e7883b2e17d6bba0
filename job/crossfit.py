"""The composition root of a cross-fitting: a run for every fold, one after another, and a verdict over all of them.

Each fold is a run of its own, with its own split, choice and locked test, and resumes as any run does. They share the recipe, so
what one fold has drawn the others find. Nothing is published: the folds train on different images.
"""

from collections.abc import Callable, Sequence

from job import admit, cluster, folds, preview, run
from job.errors import BudgetError
from job.ground import layout, lineage
from job.ground.events import Events
from job.report import crossed
from job.report.crossed import CrossReport
from job.report.model import Report
from job.settings import Settings, env_name


def all_folds(settings: Settings, events: Events) -> tuple[CrossReport, str]:
    """Every fold, or what is left of them, then the verdict over all. Returns its report and where it lies."""
    def one(chosen: Settings) -> tuple[Report, str]:
        return run.run(chosen, events, stay=True)

    if settings.budget_usd is not None:
        preview.check(admit.open_store(settings), settings)   # every fold asks for its own part of the budget alone
    there = cluster.standing()
    found = _over(settings, events, one)
    if not there:
        cluster.leave()   # not after an error, which is told first
    return found


def again(settings: Settings, events: Events) -> tuple[CrossReport, str]:
    """The verdict and all reports of finished folds, made again. Raises ``DataError`` if one is not finished."""
    return _over(settings.model_copy(update={"budget_usd": None}), events, lambda chosen: run.redo_report(chosen, events))


def _over(settings: Settings, events: Events, walk: Callable[[Settings], tuple[Report, str]]) -> tuple[CrossReport, str]:
    store, spent = admit.open_store(settings), 0.0
    reports: list[tuple[Report, str]] = []
    for fold in range(settings.all_folds):
        chosen = settings.of_fold(fold)
        if settings.budget_usd is not None:
            if spent >= settings.budget_usd:
                raise BudgetError(f"{spent:.4g} USD are spent on {fold} of {settings.all_folds} folds, and the budget is "
                                  f"{settings.budget_usd:g}", f"raise {env_name(('budget_usd',))} and run again: the same folds go on")
            chosen = chosen.model_copy(update={"budget_usd": settings.budget_usd - spent})
        events.event("fold", number=fold + 1, of=settings.all_folds)
        reports.append(walk(chosen))
        spent += reports[-1][0].cost or 0.0
    found = tuple(_fold(number, made, where) for number, (made, where) in enumerate(reports))
    k = int(settings.split.folds or 0)
    made = crossed.crossed(settings.dataset, _name(settings, [one.run for one in found]), k, found,
                           folds.verdict(found, k, settings.sweep.guard), [one for one, _ in reports])
    where = layout.crossfit(made.dataset, made.crossfit, "")
    store.replace(f"{where}report.html", crossed.page(made).encode())
    store.replace(f"{where}report.json", made.model_dump_json(indent=1).encode())
    return made, f"{store.shown}/{where}"


def _name(settings: Settings, runs: Sequence[str]) -> str:
    return lineage.content_id("crossfit", settings.dataset, runs)


def _fold(number: int, made: Report, where: str) -> folds.Fold:
    base, salted = made.confirmed   # a fold too small for a verdict of its own is as good a fold
    return folds.Fold(
        number, made.run, where, made.candidate, made.n_train, made.n_test, len(base.seeds), base.test_accuracy,
        salted.test_accuracy - base.test_accuracy, made.guarded.mean if made.guarded else None,
        tuple((one.arm, one.beyond.mean) for one in made.beside))
