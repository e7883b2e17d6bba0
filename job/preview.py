"""What ``python -m job plan`` prints: counts, shards, hours, storage and price, before anything is spent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from job import admit, fitting_together, folds, halving, mixing, pilot, plan
from job.errors import BudgetError
from job.generate import read_commit
from job.ground import bill, cost, layout
from job.ground.store import Store
from job.records import Unit
from job.runplan import Price, RunPlan
from job.settings import Settings, env_name

BYTES_PER_PIXEL = {"png": 1.3, "jpeg": 0.36}   # 1.3 kB per 32-px digit; 93 KiB per 512-px photo at q95 4:4:4
MEASURED = 8                                   # committed units that a rate is taken from
Held = tuple[float, float]                     # the CPUs and the GPUs that one worker holds


def check(store: Store, settings: Settings) -> str:
    """The plan in words. Raises whatever stands in the way of a run with these settings; writes nothing."""
    each = settings.crossfits
    chosen = settings.of_fold(0) if each else settings
    plugs = plan.choose_plugs(chosen)
    planned, split = admit.known(store, chosen, plugs) or admit.draft(store, chosen, plugs)[:2]
    affordable(store, chosen, planned, settings.all_folds if each else 1)
    small = folds.small_test(split) if settings.split.folds is None else ""
    more = [f"folds        {settings.all_folds} such runs, one per fold and repeat, then one verdict over all"] if each else []
    return "\n".join([*more, text(store, planned, **_held(chosen)), *([f"warning      {small}"] if small else [])])


def affordable(store: Store, settings: Settings, planned: RunPlan, folds: int = 1) -> None:
    """Raises whatever stands in the way of an unfinished run: its task, its prices, and a budget that cannot hold it.

    ``BudgetError``: what is spent, and what is left to do at rates that were measured for it, exceed the budget. ``folds``: how often
    such a run is trained; what one has drawn the others find.
    """
    fitting_together.check(plan.check_task(planned), planned.schedule)
    plan.check_budget(planned, settings)
    keys = layout.Run(planned.dataset, planned.run)
    if settings.budget_usd is not None and store.get(keys.done()) is None:
        spent = cost.Ledger(store, keys).spent(planned.price)
        drawing, fitting = (one.price(planned.price) or 0.0 for one in _works(store, planned, left=True, **_held(settings)))
        expected = drawing + folds * fitting
        if spent >= settings.budget_usd or spent + expected > settings.budget_usd:
            raise BudgetError(f"at measured rates {expected:.4g} USD are still to be spent, {spent:.4g} are, and the budget is "
                              f"{settings.budget_usd:g}", f"raise {env_name(('budget_usd',))}, or ask for less")


def _held(settings: Settings) -> dict[str, Held]:
    gen, arms = settings.generator, settings.sweep
    return {"drawer": (gen.cpus_per_actor, gen.gpus_per_actor), "trainer": (arms.cpus_per_trial, arms.gpus_per_trial)}


def text(store: Store, planned: RunPlan, *, drawer: Held = (1, 0), trainer: Held = (1, 0)) -> str:
    """The plan in words. Reads a few commits for the measured rates; writes nothing.

    ``drawer`` and ``trainer`` are the (CPUs, GPUs) that each worker of the pools holds; a price is per one of them.
    """
    units, done = _units(store, planned)
    images, left = len(units) * planned.unit_size, len(units) - len(done)
    fits = _trainings(planned)
    size = images * planned.recipe.size_px**2 * BYTES_PER_PIXEL[planned.recipe.encoding]
    arms = ", ".join(
        f"{alpha:g} ({mixing.total_synthetic(alpha, sum(planned.n_train), planned.alphas)})" for alpha in planned.alphas
    )
    drawing, fitting = _works(store, planned, drawer, trainer)
    lines = [
        f"run          {planned.run}   dataset {planned.dataset}, edition {planned.edition}",
        f"below        {store.shown}",
        f"real         {sum(planned.n_train)} train, {planned.n_val} validation, {planned.n_test} locked test, "
        f"{planned.n_aside} aside; {len(planned.classes)} classes from {planned.source}",
        f"synthetic    {sum(planned.quotas)} images to keep; first round draws {images} in {len(units)} units of {planned.unit_size}"
        f" ({left} to draw, {len(done)} there already); up to {planned.filter.max_rounds} rounds",
        f"recipe       {planned.recipe.id}   {planned.recipe.generator}, {planned.recipe.size_px} px {planned.recipe.encoding}",
        f"alphas       {arms}   (synthetic images of each)",
        f"trainings    {fits}: {len(planned.alphas)} alphas{_and_curves(planned)} × {len(planned.sweep_seeds)} seeds"
        f"{', the worse half leaving early' if planned.halving else ''}, "
        f"then {2 + len(planned.arms)} × {len(planned.confirm_seeds)} to confirm{_and_arms(planned)}; {_seen(planned)} in each",
        f"ask first    python -m job advise: the first {len(pilot.units(planned)) * planned.unit_size} of these images and "
        f"{3 * pilot.SEEDS} trainings say what to expect",
        f"storage      about {_bytes(size)}",
        f"time         {drawing.time}",
        f"             {fitting.time}",
        f"price        {_price(planned)}",
        *(f"             {one.cost(planned.price)}" for one in (drawing, fitting) if planned.price.known),
        *(f"warning      {text}" for text in (bill.unnamed(planned.price),) if text),
    ]
    return "\n".join(lines)


def _works(store: Store, planned: RunPlan, drawer: Held, trainer: Held, left: bool = False) -> tuple["Work", "Work"]:
    """Drawing and training, at measured rates. ``left``: without the trainings of this run that are committed."""
    units, done = _units(store, planned)
    rate, fitted = _fitted(store, planned)
    return (
        Work("draw", (len(units) - len(done)) * planned.unit_size, "images", _draw_rate(store, planned, done),
             "before a first unit of this recipe is drawn", drawer),
        Work("fit all", max(0, _trainings(planned) - fitted * left), "trainings", rate,
             "before a first trial of this run is fitted", trainer),
    )


def _units(store: Store, planned: RunPlan) -> tuple[Sequence[Unit], Sequence[Unit]]:
    """The units of the first round, and those of them that are committed."""
    units = plan.first_round(planned)
    there = {key for key, _ in store.list(layout.commits(planned.recipe.id))}
    return units, [unit for unit in units if layout.commit(planned.recipe.id, unit) in there]


def _trainings(planned: RunPlan) -> int:
    swept = halving.trainings(len(planned.alphas), len(planned.sweep_seeds), planned.halving)
    return swept + len(planned.curves) * len(planned.sweep_seeds) + (2 + len(planned.arms)) * len(planned.confirm_seeds)


def _and_curves(planned: RunPlan) -> str:
    return f" and {len(planned.curves)} of curves" if planned.curves else ""


def _and_arms(planned: RunPlan) -> str:
    return f" (alpha 0, the candidate, {', '.join(planned.arms)})" if planned.arms else ""


def _seen(planned: RunPlan) -> str:
    epochs = planned.schedule.epochs
    return f"{planned.schedule.samples_seen} images seen" if epochs is None else f"{epochs:g} epochs"


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done, and the measured seconds of one worker for one of it; ``until`` says when they will be known."""

    verb: str
    count: int
    noun: str
    rate: float | None
    until: str
    held: Held

    @property
    def what(self) -> str:
        return f"to {self.verb} {self.count} {self.noun}"

    @property
    def time(self) -> str:
        if self.rate is None:
            return f"{self.what}: not known {self.until}"
        return f"{self.count * self.rate / 3600:.2g} worker-hours {self.what}, at the measured {self.rate:.3g} s each"

    def cost(self, price: Price) -> str:
        """As the ledger counts it, so that the plan and the bill agree."""
        cpus, gpus = self.held
        kind, per_hour = ("GPU", price.per_gpu_hour) if gpus else ("CPU", price.per_cpu_hour)
        if per_hour is None:
            return f"{self.what}: not known, as a worker is billed by the {kind} and SALTWORKS_PRICE__PER_{kind}_HOUR is not set"
        if self.rate is None:
            return f"{self.what}: the seconds of one are not known {self.until}, nor is the sum"
        hours = self.count * self.rate / 3600
        return (f"about {self.price(price):.2f} {price.currency} {self.what} "
                f"({hours:.2g} worker-hours × {gpus or cpus:g} {kind} × {per_hour:g} {price.currency})")

    def price(self, price: Price) -> float | None:
        """What it will cost, or None where rate or price are not known."""
        cpus, gpus = self.held
        return None if self.rate is None else bill.line("plan", self.verb, self.count * self.rate, gpus=gpus, cpus=cpus, price=price).cost


def _draw_rate(store: Store, planned: RunPlan, done: Sequence[Unit]) -> float | None:
    """Measured seconds per image of this recipe, from its own commits."""
    commits = [read_commit(store, planned.recipe, unit) for unit in done[:MEASURED]]
    seconds = [one.draw_s + one.encode_s + one.upload_s for one in commits if one]
    return sum(seconds) / (len(seconds) * planned.unit_size) if seconds else None


def _fitted(store: Store, planned: RunPlan) -> tuple[float | None, int]:
    """Measured seconds per training and how many there are, from this run's own trials: their schedule is the plan's."""
    trials = [key for key, _ in store.list(layout.Run(planned.dataset, planned.run).trials()) if key.endswith(".json")]
    records = [one for key in trials if tuple((one := json.loads(store.read(key)))["seeds"]) != pilot.seeds()]
    seeds = sum(len(record["seeds"]) for record in records)
    return (sum(record["seconds"] for record in records) / seeds if seeds else None), seeds


def _price(planned: RunPlan) -> str:
    price = planned.price
    told = [f"{value:g} {price.currency} per {unit}-hour" for unit, value in
            (("GPU", price.per_gpu_hour), ("CPU", price.per_cpu_hour)) if value is not None]
    if not told:
        return "no price is set, so no cost is stated: set SALTWORKS_PRICE__PER_GPU_HOUR or SALTWORKS_PRICE__PER_CPU_HOUR"
    return f"{', '.join(told)} ({price.source or 'no source given'}, {price.date or 'no date given'})"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
