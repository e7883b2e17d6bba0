"""What ``python -m job plan`` prints: counts, shards, hours, storage and price, before anything is spent."""

from collections.abc import Sequence

from job import mixing, plan
from job.generate import read_commit
from job.ground import layout
from job.ground.store import Store
from job.records import Unit
from job.runplan import RunPlan

BYTES_PER_PIXEL = {"png": 1.3, "jpeg": 0.36}   # 1.3 kB per 32-px digit; 93 KiB per 512-px photo at q95 4:4:4
MEASURED = 8                                   # committed units that a rate is taken from


def text(store: Store, planned: RunPlan) -> str:
    """The plan in words. Reads a few commits for the measured rate; writes nothing."""
    units = plan.first_round(planned)
    images = len(units) * planned.unit_size
    there = {key for key, _ in store.list(layout.commits(planned.recipe.id))}
    missing = [unit for unit in units if layout.commit(planned.recipe.id, unit) not in there]
    fits = len(planned.alphas) * len(planned.sweep_seeds) + 2 * len(planned.confirm_seeds)
    size = images * planned.recipe.size_px**2 * BYTES_PER_PIXEL[planned.recipe.encoding]
    arms = ", ".join(
        f"{alpha:g} ({mixing.total_synthetic(alpha, sum(planned.n_train), planned.alphas)})" for alpha in planned.alphas
    )
    lines = [
        f"run          {planned.run}   dataset {planned.dataset}, edition {planned.edition}",
        f"below        {store.shown}",
        f"real         {sum(planned.n_train)} train, {planned.n_val} validation, {planned.n_test} locked test, "
        f"{planned.n_aside} aside; {len(planned.classes)} classes from {planned.source}",
        f"synthetic    {sum(planned.quotas)} images to keep; first round draws {images} in {len(units)} units of {planned.unit_size}"
        f" ({len(missing)} to draw, {len(units) - len(missing)} there already); up to {planned.filter.max_rounds} rounds",
        f"recipe       {planned.recipe.id}   {planned.recipe.generator}, {planned.recipe.size_px} px {planned.recipe.encoding}",
        f"alphas       {arms}   (synthetic images of each)",
        f"trainings    {fits}: {len(planned.alphas)} alphas × {len(planned.sweep_seeds)} seeds, then 2 × {len(planned.confirm_seeds)}"
        f" to confirm; {planned.schedule.samples_seen} images seen in each",
        f"storage      about {_bytes(size)}",
        f"time         {_time(_rate(store, planned, [unit for unit in units if unit not in missing]), len(missing) * planned.unit_size)}",
        f"price        {_price(planned)}",
    ]
    return "\n".join(lines)


def _rate(store: Store, planned: RunPlan, done: Sequence[Unit]) -> float | None:
    """Measured seconds per image of this recipe, from its own commits."""
    commits = [read_commit(store, planned.recipe, unit) for unit in done[:MEASURED]]
    seconds = [one.draw_s + one.encode_s for one in commits if one]
    return sum(seconds) / (len(seconds) * planned.unit_size) if seconds else None


def _time(rate: float | None, images: int) -> str:
    if rate is None:
        return "not known before a first unit of this recipe is drawn"
    return f"{images * rate / 3600:.2g} worker-hours to draw {images} images at the measured {rate:.3g} s each; trainings apart"


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
