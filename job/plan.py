"""COLD. All that can be decided before a GPU is rented: recipe, units, α grid × seeds, price.

Knows no ray, no torch, no I/O: what must be read (index, weights digest) is handed in, so every decision here is
tested in milliseconds. Nothing after this room sees the settings.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from job import arms, mixing, plugs
from job.errors import DataError, SettingsError
from job.generators import GENERATORS
from job.ground import lineage, pixels, shards
from job.metrics import SAMPLE_METRICS
from job.real import SOURCES
from job.records import ClassWords, RealIndex, Refusal, Salting, Split, Unit
from job.runplan import FilterPlan, MetricPlan, Objective, Price, RunPlan, Schedule
from job.settings import Settings, env_name
from job.splitting import counts
from job.tasks import TASKS, Task

LARGEST_UNIT = 256   # samples; one to two GPU-minutes of a text-to-image model
UNIT_STEP = 8        # and a multiple of so many


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plug class and its checked options."""

    plug: Any
    options: BaseModel

    @property
    def identity(self) -> str:
        return plugs.identity(self.options)


@dataclass(frozen=True, slots=True)
class ChosenPlugs:
    """Every plug that the settings name."""

    source: Chosen
    generator: Chosen
    task: Chosen
    metrics: Mapping[str, Chosen]


def choose_plugs(settings: Settings) -> ChosenPlugs:
    """Find the named plugs and check their options. Raises ``SettingsError`` naming the setting and the cure."""
    def one(table: Mapping[str, str], name: str, values: Mapping[str, Any], group: str) -> Chosen:
        plug = plugs.find(table, name, env_name((group, "name")))
        return Chosen(plug, plugs.options(plug, values, env_name((group, "options"))))

    generator = one(GENERATORS, settings.generator.name, settings.generator.options, "generator")
    task = one(TASKS, settings.task.name, settings.task.options, "task")
    if task.plug.label not in generator.plug.carries:
        able = sorted(name for name in GENERATORS if task.plug.label in plugs.find(GENERATORS, name, "").carries)
        raise SettingsError(
            f"generator {settings.generator.name!r} cannot promise {task.plug.label} labels for task {settings.task.name!r}",
            f"these can: {', '.join(able)}",
        )
    metrics = {}
    for name, values in settings.measure.metrics.items():
        plug = plugs.find(SAMPLE_METRICS, name, env_name(("measure", "metrics")))
        metrics[name] = Chosen(plug, plugs.options(plug, values, f"{env_name(('measure', 'metrics'))}__{name.upper()}"))
    _check_filter(settings, metrics)
    return ChosenPlugs(one(SOURCES, settings.real.name, settings.real.options, "real"), generator, task, metrics)


def check_budget(planned: RunPlan, settings: Settings) -> None:
    """A budget needs the price of everything that the run will hold, in its own currency.

    Raises ``SettingsError``. The prices are those of the plan: a run has one bill.
    """
    if settings.budget_usd is None:
        return
    name, price = env_name(("budget_usd",)), planned.price
    if price.known and price.currency != "USD":
        raise SettingsError(f"{name}={settings.budget_usd:g} is in USD, and the prices of this run are in {price.currency}",
                            f"set {env_name(('price', 'currency'))}=USD and prices in USD, in a new {env_name(('edition',))}")
    gpus = settings.generator.gpus_per_actor, settings.sweep.gpus_per_trial
    for kind, rate, held in (("gpu", price.per_gpu_hour, any(gpus)), ("cpu", price.per_cpu_hour, not all(gpus))):
        if held and rate is None:
            raise SettingsError(f"{name}={settings.budget_usd:g} cannot be watched: {env_name(('price', f'per_{kind}_hour'))} is not set",
                                "set it, with its source and date" if not price.known else
                                f"this run was priced without it: set it in a new {env_name(('edition',))}")


def _check_filter(settings: Settings, metrics: Mapping[str, Chosen]) -> None:
    known = [f"{name}.{column}" for name, chosen in metrics.items() for column in chosen.plug.columns]
    if settings.filter.kind != "none" and settings.filter.score not in known:
        raise SettingsError(
            f"{env_name(('filter', 'score'))}={settings.filter.score!r} is measured by no metric",
            f"use one of {', '.join(known)}" if known else f"add a metric, or set {env_name(('filter', 'kind'))}=none",
        )


def check_refused(index: RealIndex, share: float) -> None:
    """Raise ``DataError`` if more than ``share`` of the real files cannot be used, listing the first of them."""
    bad, total = len(index.refused), index.table.num_rows + len(index.refused)
    if bad > share * total:
        raise DataError(
            f"{bad} of {total} real files cannot be used, more than the share of {share:g}: {_list(index.refused)}",
            f"mend them, or raise {env_name(('real', 'refused_share'))}",
        )


def _list(refused: Sequence[Refusal], most: int = 3) -> str:
    first = "; ".join(f"{one.item}: {one.reason}" for one in refused[:most])
    return first + (f"; and {len(refused) - most} more" if len(refused) > most else "")


def index_digest(index: RealIndex) -> str:
    """Digest of what the real source holds: the default edition. Order and place do not matter."""
    columns = [index.table[name].to_pylist() for name in ("id", "label", "digest", "published", "group")]
    return lineage.content_id("index", index.classes, sorted(zip(*columns, strict=True)))


def words(classes: Sequence[str], descriptions: Mapping[str, str]) -> tuple[ClassWords, ...]:
    """The classes with their prompt words. Raises ``SettingsError`` for a description of no class."""
    strangers = sorted(set(descriptions) - set(classes))
    if strangers:
        raise SettingsError(f"{env_name(('generator', 'descriptions'))} describes {strangers[0]!r}, which is no class",
                            f"classes: {', '.join(classes)}")
    return tuple(lineage.class_words(label, name, descriptions.get(name, "")) for label, name in enumerate(classes))


def salting(settings: Settings, classes: Sequence[str]) -> Salting:
    """How α becomes images. Raises ``SettingsError`` for classes that are none, and loss weights that would weigh nothing."""
    chosen = settings.mixing
    if chosen.weighting == "loss" and chosen.supply != "all":
        raise SettingsError("loss weights change nothing where the images stand in their share already",
                            f"set {env_name(('mixing', 'supply'))}=all, or {env_name(('mixing', 'weighting'))}=draws")
    if bool(chosen.only) != (chosen.allocation == "only"):
        raise SettingsError(f"{env_name(('mixing', 'allocation'))}={chosen.allocation} and {env_name(('mixing', 'only'))} names "
                            f"{len(chosen.only)} classes", "set the allocation to only and name its classes, or neither")
    return Salting(chosen.allocation, _labels(chosen.only, classes, ("mixing", "only")), chosen.supply, chosen.weighting)


def objective(settings: Settings, classes: Sequence[str]) -> Objective:
    """What is maximised. Raises ``SettingsError`` for classes that are none, or named for nothing."""
    chosen = settings.sweep
    if bool(chosen.objective_classes) != (chosen.objective == "recall"):
        raise SettingsError(f"{env_name(('sweep', 'objective'))}={chosen.objective} and {env_name(('sweep', 'objective_classes'))} names "
                            f"{len(chosen.objective_classes)} classes", "set the objective to recall and name its classes, or neither")
    labels = _labels(chosen.objective_classes, classes, ("sweep", "objective_classes"))
    return Objective(chosen.objective, labels, 0.0 if chosen.objective == "accuracy" else chosen.guard)


def _labels(names: Sequence[str], classes: Sequence[str], setting: tuple[str, str]) -> tuple[int, ...]:
    strangers = [name for name in names if name not in classes]
    if strangers:
        raise SettingsError(f"{env_name(setting)} names {strangers[0]!r}, which is no class", f"classes: {', '.join(classes)}")
    return tuple(sorted({classes.index(name) for name in names}))


def augmented(settings: Settings, chosen: ChosenPlugs) -> str:
    """Options of the task with classical augmentation. Raises ``SettingsError`` for arms that do not fit the settings."""
    laid = {**settings.task.options, **settings.sweep.augmentation}
    options = plugs.identity(plugs.options(chosen.task.plug, laid, env_name(("sweep", "augmentation"))))
    arms.check(settings.sweep.arms, settings.sweep.curves, settings.sweep.alphas, options != chosen.task.identity)
    return options


def identity(settings: Settings, chosen: ChosenPlugs) -> dict[str, Any]:
    """Every setting that decides what comes out, plug options as their plug spells them."""
    values = settings.identity()
    values["real.options"] = chosen.source.identity
    values["generator.options"] = chosen.generator.identity
    values["task.options"] = chosen.task.identity
    values["measure.metrics"] = {name: one.identity for name, one in chosen.metrics.items()}
    return values


def make(
    settings: Settings, chosen: ChosenPlugs, split: Split, edition: str, *,
    weights: str, metric_weights: Mapping[str, str], alphas: Sequence[float], quotas: Sequence[int], unit_size: int | None,
) -> RunPlan:
    """The whole plan. ``unit_size`` is what an earlier run of the same recipe fixed; ``quotas`` what mixing asks for.

    Raises ``SettingsError`` for a template without ``{name}``.
    """
    gen = settings.generator
    blind = [template for template in gen.templates if "{name}" not in template]
    if blind:
        raise SettingsError(f"{env_name(('generator', 'templates'))} has {blind[0]!r} without {{name}}", "put {name} into it")
    classes = words(split.classes, gen.descriptions)
    recipe = lineage.make_recipe(
        generator=gen.name, options=chosen.generator.identity, weights=weights, templates=gen.templates,
        size_px=gen.size_px, encoding=pixels.encoding_for(gen.size_px), seed=gen.seed,
    )
    size = unit_size or _unit_size(gen.unit_size, max(quotas))
    metrics = tuple(
        MetricPlan(name, _all(one), metric_weights[name], lineage.content_id(
            "metric", name, one.identity, metric_weights[name], [(word.key, word.name) for word in classes]))
        for name, one in sorted(chosen.metrics.items())
    )
    train, salt = settings.train, salting(settings, split.classes)
    alone = any(arms.find(name).at == "one" for name in settings.sweep.arms)
    mixing.check_alone(alphas, alone, counts(split, "train"), salt, split.classes)
    run = lineage.content_id("run", settings.dataset, edition, identity(settings, chosen), recipe.id, [m.digest for m in metrics])
    return RunPlan(
        run=run, dataset=settings.dataset, edition=edition,
        source=settings.real.name, source_options=_all(chosen.source),
        classes=classes, n_train=counts(split, "train"), n_val=sum(counts(split, "val")), n_test=sum(counts(split, "test")),
        n_aside=sum(counts(split, "aside")), near_duplicate_bits=settings.split.near_duplicate_bits, fold=settings.split.fold,
        split_sha256=lineage.sha256(shards.table_bytes(split.table)), recipe=recipe, generator_options=_all(chosen.generator),
        unit_size=size, batch_size=divisor(size, gen.batch_size), quotas=tuple(quotas), failed_share=gen.failed_share,
        unit_deadline_s=gen.unit_deadline_s, fit_deadline_s=settings.sweep.fit_deadline_s,
        metrics=metrics,
        filter=FilterPlan(**settings.filter.model_dump()), salting=salt, alphas=tuple(alphas),
        task=settings.task.name, task_options=chosen.task.identity, augmented_options=augmented(settings, chosen),
        arms=tuple(name for name in arms.ARMS if name in settings.sweep.arms), curves=arms.in_sweep(settings.sweep.curves, alphas),
        objective=objective(settings, split.classes),
        schedule=Schedule(train.steps, train.batch_size, train.learning_rate, train.weight_decay, train.size_px, train.threads,
                          train.precision, train.epochs, train.compile, train.together),
        sweep_seeds=seeds("sweep", settings.sweep.seeds), halving=settings.sweep.halving,
        confirm_seeds=seeds("confirm", settings.sweep.confirm_seeds),
        price=Price(**settings.price.model_dump()),
    )


def refresh(frozen: RunPlan, settings: Settings, chosen: ChosenPlugs) -> RunPlan:
    """A frozen plan with today's free settings: where things lie, how much at once, how much may fail.

    Only to be called with settings of the same identity. Prices stay those of the plan, if it has any: a run has one bill.
    """
    metrics = tuple(replace(metric, options=_all(chosen.metrics[metric.name])) for metric in frozen.metrics)
    today = Price(**settings.price.model_dump())
    return replace(
        frozen, source_options=_all(chosen.source), generator_options=_all(chosen.generator),
        metrics=metrics, batch_size=divisor(frozen.unit_size, settings.generator.batch_size),
        failed_share=settings.generator.failed_share, unit_deadline_s=settings.generator.unit_deadline_s,
        fit_deadline_s=settings.sweep.fit_deadline_s,
        price=today if today.known and not frozen.price.known else frozen.price,
    )


def _all(chosen: Chosen) -> str:
    """Every option, those that are not identity too."""
    return lineage.canonical(chosen.options.model_dump(mode="json"))


def check_task(planned: RunPlan) -> Task:
    """The task, once it has proved on two made-up images that its model can be trained: before anything is drawn.

    Raises ``SettingsError`` naming the model and the size.
    """
    plug = plugs.find(TASKS, planned.task, env_name(("task", "name")))
    options = plugs.options(plug, planned.task_options, env_name(("task", "options")))
    task: Task = plug(options, classes=len(planned.classes), size_px=planned.schedule.size_px)
    task.check()
    return task


def _unit_size(wanted: int | str, quota: int) -> int:
    """Auto: at least two units for the largest class, in steps of 8, so that a refill draws little."""
    return int(wanted) if wanted != "auto" else min(LARGEST_UNIT, max(1, math.ceil(quota / 2 / UNIT_STEP)) * UNIT_STEP)


def divisor(size: int, most: int) -> int:
    """The largest divisor of ``size`` up to ``most``: batches are fixed by position and never ragged."""
    return max(divisor for divisor in range(1, min(size, most) + 1) if size % divisor == 0)


def seeds(purpose: str, count: int) -> tuple[int, ...]:
    """31-bit seeds. Those of another purpose are fresh: confirming on the sweep's would carry its luck into the test."""
    return tuple(lineage.seed_of(f"{purpose}/{number}") & 0x7FFFFFFF for number in range(count))


def units(plan: RunPlan, label: int, drawn: int, wanted: int) -> tuple[Unit, ...]:
    """Whole units of one class from index ``drawn`` on that hold at least ``wanted`` further samples."""
    word, size = plan.classes[label], plan.unit_size
    count = math.ceil(wanted / size)
    return tuple(Unit(word.key, label, drawn + number * size, drawn + (number + 1) * size) for number in range(count))


def first_round(plan: RunPlan) -> tuple[Unit, ...]:
    """The units that give every class its quota if nothing is rejected (or, by quota, its oversampled number)."""
    factor = plan.filter.oversample if plan.filter.kind == "quota" else 1.0
    wanted = [math.ceil(quota * factor) for quota in plan.quotas]
    return tuple(unit for label, number in enumerate(wanted) for unit in units(plan, label, 0, number))
