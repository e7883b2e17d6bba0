"""EDGE. Which run is this? Finds the run of a known submission or edition, or plans a new one and freezes it.

A known submission or edition is answered by two small reads, without looking at the data again. Conflicts end in 73
and name what differs.
"""

import io
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow.parquet as pq

from job import mixing, plan, splitting
from job.errors import ConflictError, DataError, JobError, SettingsError, TemporaryError, redact, redact_json
from job.generate import own_marks
from job.ground import layout, lineage, model_parts, shards, weights
from job.ground.store import ReadOnlyFolder, Store
from job.real import given
from job.real.pixels import mark
from job.records import RealIndex, Refusal, Split
from job.runplan import RunPlan, from_plain, plain
from job.settings import Settings, check_expected, env_name


def read(store: Store, dataset: str, run: str) -> tuple[RunPlan, Split]:
    """A frozen plan and its split. Raises ``DataError`` if there is no such run."""
    keys = layout.Run(dataset, run)
    try:
        record = json.loads(store.read(keys.plan()))
        try:
            planned = from_plain(RunPlan, record)
        except KeyError as missing:
            raise ConflictError(f"the plan of run {run} lacks {missing.args[0]!r}: another version of saltworks wrote it",
                                f"finish it with that version, or set {env_name(('edition',))} to a new name") from None
        data = store.read(keys.split(), planned.split_sha256, f"restore it, or set {env_name(('edition',))} to a new name")
    except KeyError as missing:
        raise DataError(f"there is no {missing.args[0]} below {store.shown}", "run the job with these settings first") from None
    return planned, Split(tuple(words.name for words in planned.classes), pq.read_table(io.BytesIO(data)))


def known(store: Store, settings: Settings, chosen: plan.ChosenPlugs) -> tuple[RunPlan, Split] | None:
    """The run that this submission or edition has already planned, or None.

    Raises ``ConflictError`` if it was planned with other settings.
    """
    for kind, name, key in (
        ("submission", settings.submission, layout.submission(settings.dataset, settings.submission or "")),
        ("edition", settings.edition, layout.edition(settings.dataset, settings.edition or "")),
    ):
        record = store.get(key) if name else None
        if record:
            frozen = json.loads(record)
            _refuse_difference(kind, str(name), frozen["identity"], plan.identity(settings, chosen))
            if store.get(layout.Run(settings.dataset, frozen["run"]).plan()):   # else it died between the two: plan again
                planned, split = read(store, settings.dataset, frozen["run"])
                return plan.refresh(planned, settings, chosen), split
    return None


def draft(store: Store, settings: Settings, chosen: plan.ChosenPlugs) -> tuple[RunPlan, Split, tuple[Refusal, ...]]:
    """Index the real images and decide everything; reads only. The index keeps no pixels.

    The last of the three are the real files that cannot be used, few enough to go on without them.
    """
    source = chosen.source.plug(chosen.source.options, ReadOnlyFolder)
    index = source.index()
    plan.check_refused(index, settings.real.refused_share)
    if settings.split.table:
        index = given.override(index, settings.split.table, ReadOnlyFolder)
    planned, split = _decide(store, settings, chosen, index)
    if store.get(layout.Run(planned.dataset, planned.run).plan()) is None:   # else they were looked for when it was frozen
        own = _own(store, index)
        if own:
            planned, split = _decide(store, settings, chosen, splitting.mark_own(index, own))
    return planned, split, index.refused


def _own(store: Store, index: RealIndex) -> frozenset[str]:
    """Digests of real images that are samples drawn below this root, whatever became of their marks."""
    digests = index.table["digest"].to_pylist()
    marks = own_marks(store, frozenset(map(mark, digests)))
    return frozenset(one for one in digests if mark(one) in marks)


def _decide(store: Store, settings: Settings, chosen: plan.ChosenPlugs, index: RealIndex) -> tuple[RunPlan, Split]:
    """Split and plan. Reads the weights and what an earlier run of the recipe fixed."""
    split = splitting.split(index, settings.split)
    splitting.check_generated(index, split, (), settings.real.generated_in_train)
    alphas = mixing.sweep_alphas(settings.sweep.alphas)
    need = mixing.needed(alphas, splitting.counts(split, "train"), plan.salting(settings, index.classes))
    wanted = settings.generator.images_per_class
    quotas = need if wanted == "auto" else (int(wanted),) * len(need)
    mixing.check_supply(need, quotas, index.classes)
    generator = chosen.generator.plug(chosen.generator.options)
    folder, digest, parts = model_parts.fetch(generator, ReadOnlyFolder)
    licence = getattr(chosen.generator.options, "licence", "") or model_parts.licence_of(folder, digest, parts)   # as the shards will say
    weights.check_licence(licence, settings.publish.licences)
    metric_weights = {}
    for name, one in chosen.metrics.items():
        metric = one.plug(one.options, index.classes)
        _, metric_weights[name] = weights.fetch(metric.location(), metric.revision(), ReadOnlyFolder)
    edition = settings.edition or plan.index_digest(index)

    def make(unit_size: int | None) -> RunPlan:
        return plan.make(settings, chosen, split, edition, weights=digest, metric_weights=metric_weights,
                         alphas=alphas, quotas=quotas, unit_size=unit_size)

    planned = make(None)
    fixed = store.get(layout.recipe_json(planned.recipe.id))   # an earlier run of the recipe fixed the unit size
    if fixed:
        planned = make(json.loads(fixed)["unit_size"])
    return planned, split


def freeze(
    store: Store, settings: Settings, chosen: plan.ChosenPlugs, planned: RunPlan, split: Split, refused: Sequence[Refusal]
) -> tuple[RunPlan, Split]:
    """Write the plan down, create-only, and return what is frozen: ours, or that of whoever was first.

    Raises ``ConflictError`` for a dataset of other classes or task, or an edition planned with other settings.
    """
    keys, identity = layout.Run(planned.dataset, planned.run), plan.identity(settings, chosen)
    if store.get(keys.plan()) is None:
        _write(store, settings, identity, planned, split, refused, keys)
    submission = settings.submission or uuid.uuid4().hex
    record = lineage.canonical({"run": planned.run, "identity": identity}).encode()
    store.create(layout.submission(planned.dataset, submission), record)
    frozen, split = read(store, planned.dataset, planned.run)
    return plan.refresh(frozen, settings, chosen), split


def _write(
    store: Store, settings: Settings, identity: Mapping[str, Any], planned: RunPlan, split: Split,
    refused: Sequence[Refusal], keys: layout.Run,
) -> None:
    """Everything that a new run freezes; the plan comes last, so that its presence tells that the rest is there."""
    dataset = {"classes": list(split.classes), "task": planned.task}
    _agree(store, layout.dataset_json(planned.dataset), dataset,
           ConflictError, f"dataset {planned.dataset!r}", f"set {env_name(('dataset',))} to another name")
    recipe = {**plain(planned.recipe), "unit_size": planned.unit_size}
    _agree(store, layout.recipe_json(planned.recipe.id), recipe, TemporaryError, "the recipe",
           "run again: another run has just fixed its units")
    if not store.create(keys.split(), shards.table_bytes(split.table)):   # it died before its plan, and the data changed
        raise ConflictError(f"run {planned.run} was begun on other real images", f"set {env_name(('edition',))} to a new name")
    store.create(keys.refused(), json.dumps([[one.item, one.reason] for one in refused], indent=1).encode())
    if settings.edition:
        record = lineage.canonical({"run": planned.run, "identity": identity}).encode()
        if not store.create(layout.edition(planned.dataset, settings.edition), record):
            frozen = json.loads(store.read(layout.edition(planned.dataset, settings.edition)))
            _refuse_difference("edition", settings.edition, frozen["identity"], identity)
    store.create(keys.plan(), json.dumps(plain(_tellable(planned)), indent=1, sort_keys=True).encode())


def _tellable(planned: RunPlan) -> RunPlan:
    """The plan without the secrets of URLs; whoever goes on with it brings today's options (``plan.refresh``)."""
    metrics = tuple(replace(one, options=redact_json(one.options)) for one in planned.metrics)
    return replace(planned, source_options=redact_json(planned.source_options),
                   generator_options=redact_json(planned.generator_options), metrics=metrics)


def open_store(settings: Settings) -> Store:
    """The store at the root.

    Raises ``AccessError`` if a secret that the environment should hold is not there, before anything is asked of the
    store; ``SettingsError`` for memory://, which lives in one process only.
    """
    check_expected(settings.expects)
    store = Store(settings.root, settings.storage.retry_s)
    if store.scheme == "memory":
        raise SettingsError(f"{env_name(('root',))}={redact(repr(settings.root))} lives in one process and would be lost",
                            "use a folder or a bucket")
    return store


def _agree(store: Store, key: str, record: Mapping[str, Any], error: type[JobError], what: str, cure: str) -> None:
    """Create the record, or make sure that the one which is there says the same."""
    if not store.create(key, lineage.canonical(record).encode()):
        there = json.loads(store.read(key))
        raise error(f"{what} exists with other {_difference(there, record)}", cure)


def _refuse_difference(kind: str, name: str, there: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    if there != ours:
        raise ConflictError(f"{kind} {name!r} was planned with other settings: {_difference(there, ours)}",
                            f"set {env_name((kind,))} to a new name, or put the settings back")


def _difference(there: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    names = sorted(name for name in {*there, *ours} if there.get(name) != ours.get(name))
    return "; ".join(f"{name}: {there.get(name)!r} there, {ours.get(name)!r} now" for name in names)
