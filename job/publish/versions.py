"""``publish``: a finished run becomes ``versions/N.json``, whole and once.

Everything that the version names lies in the store before the version does, under keys that never change their content;
creating the version is the publish. No clock stands in it. The same run publishes once: whoever comes later, or comes
back after a crash, finds the version of this run and only moves what is left to be moved.
"""

import io
from collections.abc import Sequence

import pyarrow.parquet as pq

from job.errors import QualityError
from job.ground import layout, lineage
from job.ground.bill import DRAWING, per, with_repeated
from job.ground.store import Store
from job.publish import code, gate, gather, mixed, paid, pointer, records
from job.publish.model import (
    ClassCounts,
    Cost,
    Counts,
    File,
    Judged,
    Line,
    Lineage,
    Mixed,
    Version,
    encoded,
    files_digest,
)
from job.records import Mix, Split
from job.report.model import Report
from job.results import CostLine
from job.runplan import PublishPolicy, RunPlan


def publish(
    store: Store, planned: RunPlan, split: Split, report: Report, spent: Sequence[CostLine], policy: PublishPolicy,
    image_digest: str = "", code_digest: str = "",
) -> tuple[Version, bool]:
    """The version of this finished run, made now or found, and whether ``latest.json`` points to it.

    ``spent``: the run's ledger, line by line; the version shows apart what led to none of the run's commits. Without a
    ``code_digest`` the digest of the installed package stands there. ``policy.move_latest`` is heard whenever it is asked
    for, see ``pointer.advance``. Raises ``QualityError`` (65) unless the run is whole (see ``gather.classes``) and every
    gate of ``gate.py`` holds; nothing is written before all of that is known.
    """
    keys = layout.Run(planned.dataset, planned.run)
    if store.get(keys.done()) is None:
        raise QualityError(f"run {planned.run} is not finished", "finish it with: python -m job run")
    found, _ = records.own(store, planned.dataset, planned.run)
    if found is None:
        found = _create(store, _draft(store, keys, planned, split, report, spent, policy, image_digest, code_digest))
    return found, pointer.advance(store, found, policy.move_latest)


def _draft(
    store: Store, keys: layout.Run, planned: RunPlan, split: Split, report: Report, spent: Sequence[CostLine],
    policy: PublishPolicy, image_digest: str, code_digest: str,
) -> Version:
    """The version but for its number and its parent, everything that it names stored."""
    held = list(gather.classes(store, planned))
    gate.images_kept(held)
    gate.failures(planned, held)
    gate.licences(held, policy)
    descent = gate.marks(store, held)
    if policy.privacy:
        report = gate.private(report)
        gate.nothing_named(split, report, held)
    mix = mixed.recommend(planned, split, report.alpha_star, held)
    files = [
        *(shard.file for one in held for shard in one.shards), *(one.decisions for one in held),
        _mix_file(store, keys, mixed.mix_bytes(planned, split, mix, held, policy.privacy)),
        _report_file(store, keys, report.model_dump_json(indent=1).encode()),
        *([] if policy.privacy else [_split_file(store, keys, planned)]),
    ]
    files.sort(key=lambda one: one.key)
    return Version(
        dataset=planned.dataset, number=1, parent=None, run=planned.run, edition=planned.edition, task=planned.task,
        judged=Judged(
            word=report.verdict, alpha_star=report.alpha_star, candidate=report.candidate, sentence=report.sentence,
            score_name=report.score_name, gain=report.gain, gain_interval=report.gain_interval,
            confirm_seeds=report.gain_detail.n_seeds, test_looks=report.test_looks, n_test=report.n_test,
        ),
        mix=Mixed(alpha=mix.alpha, realised_alpha=mix.realised_alpha, n_real=mix.n_real, n_synthetic=mix.n_synthetic),
        counts=Counts(planned=sum(len(one.kept) for one in held), **_sums(held)), classes=_classes(planned, held, mix),
        lineage=_lineage(planned, held, descent),
        cost=_cost(planned, with_repeated(spent, paid.committed(store, keys, held)), sum(one.states["kept"] for one in held)),
        privacy=policy.privacy, moves_latest=policy.move_latest == "always" or (
            policy.move_latest == "helped" and report.verdict == "helped"),
        settings=dict(report.settings), versions=report.versions, image_digest=image_digest, code_digest=code_digest or code.digest(),
        files_sha256=files_digest(files), files=files,
    )


def _create(store: Store, draft: Version) -> Version:
    """Take the next number. One that is taken by this very run, by another process or before a crash, is ours.

    A number that was pointed to is not given again, even if its version was removed since.
    """
    while True:
        reached = pointer.reached(store, draft.dataset)   # before the listing: what it points to is then listed, and may be ours
        found, last = records.own(store, draft.dataset, draft.run)
        if found:
            return found
        number = max(last, reached) + 1
        version = draft.model_copy(update={"number": number, "parent": last or None})
        if store.create(layout.version(draft.dataset, version.number), encoded(version)):
            return version


def _mix_file(store: Store, keys: layout.Run, data: bytes) -> File:
    digest = lineage.sha256(data)
    store.create(keys.mix(digest), data)
    return _parquet(keys.mix(digest), "mix", data)


def _split_file(store: Store, keys: layout.Run, planned: RunPlan) -> File:
    return _parquet(keys.split(), "split", store.read(keys.split(), planned.split_sha256, "restore it"))


def _parquet(key: str, kind: str, data: bytes) -> File:
    rows = pq.ParquetFile(io.BytesIO(data)).metadata.num_rows
    return File(key=key, kind=kind, class_key="", sha256=lineage.sha256(data), bytes=len(data), rows=rows, kept=0)


def _report_file(store: Store, keys: layout.Run, data: bytes) -> File:
    """The report of a run may be made again; a version keeps the one that it was published with."""
    digest = lineage.sha256(data)
    key = keys.published_report(digest)
    store.create(key, data)
    return File(key=key, kind="report", class_key="", sha256=digest, bytes=len(data), rows=0, kept=0)


def _sums(held: Sequence[gather.Held]) -> dict[str, int]:
    return {state: sum(one.states[state] for one in held) for state in ("kept", "rejected", "failed", "unused")}


def _classes(planned: RunPlan, held: Sequence[gather.Held], mix: Mix) -> list[ClassCounts]:
    taken = {take.words.key: take.count for take in mix.synthetic}
    return [
        ClassCounts(name=one.words.name, key=one.words.key, n_real=planned.n_train[one.words.label], planned=sum(one.states.values()),
                    in_mix=taken.get(one.words.key, 0), **one.states)
        for one in held
    ]


def _lineage(planned: RunPlan, held: Sequence[gather.Held], descent: gate.Descent) -> Lineage:
    origins = sorted({shard.origin for one in held for shard in one.shards})
    model, revision, licence = (" | ".join(sorted(set(column))) for column in zip(*origins, strict=True))
    recipe = planned.recipe
    return Lineage(
        recipe=recipe.id, generator=recipe.generator, weights=recipe.weights, model=model, revision=revision, licence=licence,
        depth=descent.depth, ancestry=list(descent.ancestry), size_px=recipe.size_px, encoding=recipe.encoding,
        templates=list(recipe.templates),
    )


def _cost(planned: RunPlan, spent: Sequence[CostLine], kept: int) -> Cost:
    lines = [Line(room=one.room, kind=one.kind, seconds=one.seconds, gpu=one.gpu, cost=one.cost) for one in spent]
    price = planned.price
    return Cost(lines=lines, currency=price.currency, price_source=price.source, price_date=price.date, total=per(1, spent),
                per_published_image=per(kept, spent), per_kept_image=per(kept, spent, *DRAWING))


