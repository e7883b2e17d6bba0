"""What ``python -m job plan`` prints: counts, shards, hours, storage and price, before anything is spent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from job import mixing, plan
from job.generate import read_commit
from job.ground import cost, layout
from job.ground.store import Store
from job.records import Unit
from job.runplan import Price, RunPlan

BYTES_PER_PIXEL = {"png": 1.3, "jpeg": 0.36}   # 1.3 kB per 32-px digit; 93 KiB per 512-px photo at q95 4:4:4
MEASURED = 8                                   # committed units, or trials, that a rate is taken from
Held = tuple[float, float]                     # the CPUs and the GPUs that one worker holds


def text(store: Store, planned: RunPlan, *, drawer: Held = (1, 0), trainer: Held = (1, 0)) -> str:
    """The plan in words. Reads a few commits for the measured rates; writes nothing.

    ``drawer`` and ``trainer`` are the (CPUs, GPUs) that each worker of the pools holds; a price is per one of them.
    """
    units = plan.first_round(planned)
    images = len(units) * planned.unit_size
    there = {key for key, _ in store.list(layout.commits(planned.recipe.id))}
    done = [unit for unit in units if layout.commit(planned.recipe.id, unit) in there]
    left = len(units) - len(done)
    fits = len(planned.alphas) * len(planned.sweep_seeds) + 2 * len(planned.confirm_seeds)
    size = images * planned.recipe.size_px**2 * BYTES_PER_PIXEL[planned.recipe.encoding]
    arms = ", ".join(
        f"{alpha:g} ({mixing.total_synthetic(alpha, sum(planned.n_train), planned.alphas)})" for alpha in planned.alphas
    )
    drawing = Work("draw", left * planned.unit_size, "images", _draw_rate(store, planned, done),
                   "before a first unit of this recipe is drawn", drawer)
    fitting = Work("fit all", fits, "trainings", _fit_rate(store, planned), "before a first trial of this run is fitted", trainer)
    lines = [
        f"run          {planned.run}   dataset {planned.dataset}, edition {planned.edition}",
        f"below        {store.shown}",
        f"real         {sum(planned.n_train)} train, {planned.n_val} validation, {planned.n_test} locked test, "
        f"{planned.n_aside} aside; {len(planned.classes)} classes from {planned.source}",
        f"synthetic    {sum(planned.quotas)} images to keep; first round draws {images} in {len(units)} units of {planned.unit_size}"
        f" ({left} to draw, {len(done)} there already); up to {planned.filter.max_rounds} rounds",
        f"recipe       {planned.recipe.id}   {planned.recipe.generator}, {planned.recipe.size_px} px {planned.recipe.encoding}",
        f"alphas       {arms}   (synthetic images of each)",
        f"trainings    {fits}: {len(planned.alphas)} alphas × {len(planned.sweep_seeds)} seeds, then 2 × {len(planned.confirm_seeds)}"
        f" to confirm; {planned.schedule.samples_seen} images seen in each",
        f"storage      about {_bytes(size)}",
        f"time         {drawing.time}",
        f"             {fitting.time}",
        f"price        {_price(planned)}",
        *(f"             {one.cost(planned.price)}" for one in (drawing, fitting) if planned.price.known),
    ]
    return "\n".join(lines)


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
        total = cost.line("plan", self.verb, hours * 3600, gpus=gpus, cpus=cpus, price=price).cost
        return (f"about {total:.2f} {price.currency} {self.what} "
                f"({hours:.2g} worker-hours × {gpus or cpus:g} {kind} × {per_hour:g} {price.currency})")


def _draw_rate(store: Store, planned: RunPlan, done: Sequence[Unit]) -> float | None:
    """Measured seconds per image of this recipe, from its own commits."""
    commits = [read_commit(store, planned.recipe, unit) for unit in done[:MEASURED]]
    seconds = [one.draw_s + one.encode_s for one in commits if one]
    return sum(seconds) / (len(seconds) * planned.unit_size) if seconds else None


def _fit_rate(store: Store, planned: RunPlan) -> float | None:
    """Measured seconds per training, from this run's own trials: their schedule is the plan's."""
    trials = [key for key, _ in store.list(layout.Run(planned.dataset, planned.run).trials()) if key.endswith(".json")]
    records = [json.loads(store.read(key)) for key in trials[:MEASURED]]
    seeds = sum(len(record["seeds"]) for record in records)
    return sum(record["seconds"] for record in records) / seeds if seeds else None


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
