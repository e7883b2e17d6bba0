"""A finished run in any store, made by the job's own rooms without Ray: what publishing, verifying and exporting start from.

Real images are noise in class folders, synthetic ones the shipped fake's; some of its draws fail. Scores and answers of
the trials are made up, a function of the ids and of the word that the verdict is to be; all that follows from them
(decisions, mixes, the verdict, the report) is computed as in a run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from job import admit, choosing, filtering, generate, measure, mixing, plan, plugs, settings
from job.generators import GENERATORS
from job.ground import cost, layout, lineage, shards
from job.ground.starts import Starts
from job.ground.store import Store
from job.metrics import SAMPLE_METRICS
from job.records import Split, Unit
from job.report.assemble import Found, assemble
from job.report.model import Report
from job.results import Choice, CostLine, TrialResult, Verdict
from job.runplan import RunPlan
from tests.folders import class_folders, write

CLASSES = ("cat", "dog", "fox")
PER_CLASS = {"train": 4, "val": 4, "test": 8}
ACCURACY = {"helped": 0.95, "hurt": 0.25, "no detectable difference": 0.6}   # of every α above 0; at 0 it is .6
SPENT = (CostLine("generate", "draw", 36.0, True, 0.025), CostLine("generate", "wall", 40.0, False, None),
         CostLine("sweep", "train", 72.0, True, 0.05))


@dataclass(frozen=True, slots=True)
class Made:
    """A run and what its rooms said. ``report`` is None where the run was left unfinished."""

    store: Store
    planned: RunPlan
    split: Split
    committed: tuple[generate.Committed, ...]
    decisions: Mapping[str, pa.Table]
    rounds: int
    report: Report | None
    spent: tuple[CostLine, ...] = SPENT
    found: Found | None = None

    @property
    def keys(self) -> layout.Run:
        return layout.Run(self.planned.dataset, self.planned.run)

    def ids(self, state: str) -> set[str]:
        """Ids of all samples of one state."""
        return {row["id"] for table in self.decisions.values() for row in table.to_pylist() if row["state"] == state}


def make_run(
    store: Store, folder: Path, *, dataset: str = "pets", edition: str = "", word: str = "helped", classes: Sequence[str] = CLASSES,
    flags: Sequence[str] = (), finished: bool = True,
) -> Made:
    """Real images below ``folder``, and everything that a run of them leaves in ``store``, up to ``done.json``.

    ``word``: the verdict that the trials shall come to. ``flags``: settings over those below. An unfinished run has
    drawn all its images and decided nothing.
    """
    if not folder.exists():
        write(folder, {f"{part}/{path}": data for at, (part, count) in enumerate(PER_CLASS.items())
                       for path, data in class_folders(dict.fromkeys(classes, count), seed=1000 * at).items()})
    chosen = settings.load(flags_of(store, folder, dataset, edition, flags), environ={})
    found = plan.choose_plugs(chosen)
    planned, split = admit.freeze(store, chosen, found, *admit.draft(store, chosen, found))
    drawn, decisions, rounds = _draw(store, planned)
    committed = generate.commits(store, planned, drawn)
    if not finished:
        return Made(store, planned, split, committed, {}, rounds, None)
    keys, index = layout.Run(planned.dataset, planned.run), {}
    for key, table in decisions.items():
        data = shards.table_bytes(table)
        index[key] = keys.filtered(key, lineage.sha256(data)[:16])
        store.create(index[key], data)
    store.create(keys.filtered_index(), lineage.canonical(index).encode())
    results, choice, candidate, baseline, verdict = _judged(planned, split, word)
    scores = {key: measure.scores(store, planned, [one for one in committed if one.unit.class_key == key]) for key in decisions}
    tallies = {words.key: filtering.tally(words, decisions[words.key], scores[words.key], quota, planned.unit_size)
               for words, quota in zip(planned.classes, planned.quotas, strict=True)}
    told = Found(planned, split, tallies, committed, rounds, results, choice, 1, candidate, baseline, verdict)
    report = assemble(told, [], {}, SPENT, [])
    store.replace(keys.report("report.json"), report.model_dump_json(indent=1).encode())
    store.create(keys.done(), lineage.canonical({"report": keys.report("report.json")}).encode())
    return Made(store, planned, split, committed, decisions, rounds, report, found=told)


def flags_of(store: Store, folder: Path, dataset: str = "pets", edition: str = "", more: Sequence[str] = ()) -> list[str]:
    """The settings of such a run, as a command gives them."""
    return [
        f"--root={store.url}", f"--dataset={dataset}", *([f"--edition={edition}"] if edition else []),
        "--real.name=image_folder", f"--real.options.url={folder}", "--generator.name=fake", "--generator.options.blank_share=0.75",
        "--generator.size_px=16", "--generator.unit_size=8", "--generator.failed_share=0.5", "--filter.max_rounds=20",
        "--sweep.alphas=0,.5,.75", "--sweep.seeds=3", "--sweep.confirm_seeds=5", *more,
    ]


def draw_unit(store: Store, planned: RunPlan, unit: Unit) -> None:
    """Draw, commit and score one unit, as the actors of the pool do."""
    keys, recipe = layout.Run(planned.dataset, planned.run), planned.recipe
    plug = plugs.find(GENERATORS, recipe.generator, "generator")
    generator = plug(plugs.options(plug, planned.generator_options, "generator"))
    generate.work_unit(
        store, generator, generator.load("", recipe.weights, "cpu"), recipe, planned.classes[unit.label], unit, planned.batch_size,
        run=planned.run, starts=Starts(store, keys), meter=cost.Meter(store, keys, "generate", gpus=0, cpus=1),
    )
    committed = generate.read_commit(store, recipe, unit)
    assert committed
    shard = shards.read(store.read(committed.key), ["id", "index"])
    value = [score(one) for one in shard["id"].to_pylist()]
    for metric in planned.metrics:
        columns = plugs.find(SAMPLE_METRICS, metric.name, "metric").columns
        table = pa.table({"id": shard["id"], "index": shard["index"], **{name: pa.array(value, pa.float32()) for name in columns}})
        store.create(layout.scores(metric.digest, recipe.id, unit.name), shards.sealed(table))


def score(sample: str) -> float:
    """What every metric says of a sample: about one in five is below 0."""
    return float(np.random.default_rng(lineage.seed_of(sample)).normal(0.4, 0.5))


def _draw(store: Store, planned: RunPlan) -> tuple[list[Unit], dict[str, pa.Table], int]:
    """Rounds of drawing until every class has its images."""
    keys, drawn, fresh = layout.Run(planned.dataset, planned.run), [], list(plan.first_round(planned))
    for number in range(1, planned.filter.max_rounds + 1):
        store.create(keys.round(number), lineage.canonical([[one.class_key, one.label, one.lo, one.hi] for one in fresh]).encode())
        for unit in fresh:
            draw_unit(store, planned, unit)
        drawn += fresh
        decisions = {words.key: _decide(store, planned, words.label, [one for one in drawn if one.label == words.label])
                     for words in planned.classes}
        fresh = [unit for words, quota in zip(planned.classes, planned.quotas, strict=True) for unit in plan.units(
            planned, words.label, len(decisions[words.key]),
            planned.unit_size * filtering.next_units(decisions[words.key], quota, planned.unit_size))]
        if not fresh:
            return drawn, decisions, number
    raise AssertionError("the fake never gave enough images")


def _decide(store: Store, planned: RunPlan, label: int, units: Sequence[Unit]) -> pa.Table:
    words, rule = planned.classes[label], planned.filter
    failed = {index: reason for one in generate.commits(store, planned, units) for index, reason in one.failed}
    rows = [(lineage.sample_id(planned.recipe.id, words.key, index), unit.name, index)
            for unit in units for index in range(unit.lo, unit.hi)]
    return filtering.decide(
        filtering.Rule(rule.kind, rule.score if rule.kind != "none" else "", rule.minimum), planned.quotas[label],
        pa.table({
            "id": [one for one, _, _ in rows], "unit": [unit for _, unit, _ in rows], "class_key": [words.key] * len(rows),
            "index": pa.array([index for _, _, index in rows], pa.int64()),
            "failed_reason": pa.array([failed.get(index, "") for _, _, index in rows], pa.string()),
            "score": pa.array([None if index in failed else score(one) for one, _, index in rows], pa.float32()),
        }))


def _judged(
    planned: RunPlan, split: Split, word: str
) -> tuple[tuple[TrialResult, ...], Choice, TrialResult, TrialResult, Verdict]:
    """Answers of every trial, and what mixing makes of them."""
    def answers(alpha: float, seeds: Sequence[int], part: str) -> TrialResult:
        shape = (len(seeds), split.part(part).num_rows)
        chance = np.random.default_rng(5).random(shape)   # the same for every α: paired
        correct_SN = (chance < (ACCURACY[word] if alpha else 0.6)).astype(np.uint8)
        n_synthetic = mixing.total_synthetic(alpha, sum(planned.n_train), planned.alphas)
        return TrialResult(f"{part}-{alpha}", alpha, alpha, sum(planned.n_train), n_synthetic, planned.schedule.samples_seen, tuple(seeds),
                           part, correct_SN, (2.0,) * len(seeds), (0.5,) * len(seeds), (0.01,) * len(seeds), 1.0)

    results = tuple(answers(alpha, planned.sweep_seeds, "val") for alpha in planned.alphas)
    choice = choosing.choose(results)
    candidate, baseline = (answers(alpha, planned.confirm_seeds, "test") for alpha in (choice.candidate, 0.0))
    verdict = choosing.verdict(candidate, baseline)
    assert verdict.word == word
    return results, choice, candidate, baseline, verdict
