"""The composition root: walks the river once, top to bottom. It is the resume too: finished work is skipped.

settings ─► real ─► PLAN ─► generate ─► measure ─► FILTER ─► MIX ─► sweep ─► CHOOSE ─► confirm ─► report
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job import admit, filtering, generate, measure, mixing, plan, report, sweep
from job.cluster import cluster
from job.errors import DataError
from job.ground import cost, layout, lineage, shards
from job.ground.events import Events
from job.ground.store import Store
from job.records import Choice, Mix, Split, TrialResult, Unit
from job.report.assemble import Found
from job.report.model import Report
from job.runplan import Pool, RunPlan
from job.settings import Settings

NO_POOLS = {"generate": Pool(0, 1, 0), "sweep": Pool(0, 1, 0)}   # for a walk that may compute nothing
FLAG_FLOOR = 2.0   # CLIPScore points below its peers that make a class worth a look


class River:
    """One walk of one run: what it stands on, and what its rooms hand on."""

    def __init__(self, store: Store, planned: RunPlan, split: Split, events: Events, pools: Mapping[str, Pool]) -> None:
        self.store, self.plan, self.split, self.events, self.pools = store, planned, split, events, pools
        self.keys = layout.Run(planned.dataset, planned.run)
        self.ledger = cost.Ledger(store, self.keys)
        self.pixels: dict[str, sweep.Pixels] = {}
        self.committed: tuple[generate.Committed, ...] = ()

    def walk(self) -> Report:
        """From the plan to the report; every line is a room."""
        decisions, scores, rounds = self.draw()
        mixes = self.mix(decisions)
        results = self.sweep([mixes[alpha] for alpha in self.plan.alphas], self.plan.sweep_seeds, "val", "sweep")
        choice, looks = self.choose(results)
        candidate, baseline = self.sweep([mixes[choice.candidate], mixes[0.0]], self.plan.confirm_seeds, "test", "confirm")
        verdict = mixing.verdict(candidate, baseline)
        return self.report(Found(
            self.plan, self.split, decisions, scores, self.committed, rounds, results, choice, looks, candidate, baseline, verdict,
        ))

    def draw(self) -> tuple[dict[str, pa.Table], pa.Table, int]:
        """generate → measure → FILTER, in rounds until every class has its images."""
        drawn: list[Unit] = []
        fresh: Sequence[Unit] = plan.first_round(self.plan)
        for number in range(1, self.plan.filter.max_rounds + 1):
            drawn += self.freeze_round(number, fresh)
            total = len(drawn) * self.plan.unit_size
            with self.room("generate", "draw", total, "images") as (advance, spend):
                seconds, made = generate.generate(self.store, self.plan, drawn, self.pools["generate"], advance)
                spend(seconds)
            self.events.event("generated", units=len(drawn), drawn_now=made)
            if self.plan.metrics:
                with self.room("measure", "score", total, "images") as (advance, spend):
                    spend(measure.measure(self.store, self.plan, drawn, self.pools["generate"], advance))
            self.committed = generate.commits(self.store, self.plan, drawn)
            scores = measure.scores(self.store, self.plan, self.committed)
            decisions = self.filter(scores)
            quotas = {words.key: quota for words, quota in zip(self.plan.classes, self.plan.quotas, strict=True)}
            short = {key: filtering.shortfall(table, quotas[key]) for key, table in decisions.items()}
            if not any(short.values()):
                self.keep(decisions)
                return decisions, scores, number
            fresh = self.refill(decisions, quotas)
        lacking = next(words for words in self.plan.classes if short[words.key])
        raise filtering.refuse_short(lacking, short[lacking.key], quotas[lacking.key], self.plan.filter.max_rounds)

    def freeze_round(self, number: int, fresh: Sequence[Unit]) -> list[Unit]:
        """The round's units: those that were frozen when it first began."""
        record = lineage.canonical([[unit.class_key, unit.label, unit.lo, unit.hi] for unit in fresh]).encode()
        if not self.store.create(self.keys.round(number), record):
            record = self.store.read(self.keys.round(number))
        return [Unit(*values) for values in json.loads(record)]

    def refill(self, decisions: Mapping[str, pa.Table], quotas: Mapping[str, int]) -> list[Unit]:
        """Further units for the classes that are short."""
        fresh = []
        for words in self.plan.classes:
            count = filtering.next_units(decisions[words.key], quotas[words.key], self.plan.unit_size)
            size = self.plan.unit_size
            fresh += plan.units(self.plan, words.label, len(decisions[words.key]), count * size)
        self.events.event("refill", classes=len({unit.class_key for unit in fresh}), units=len(fresh))
        return fresh

    def filter(self, scores: pa.Table) -> dict[str, pa.Table]:
        """Decisions on everything drawn so far, by class key."""
        chosen = self.plan.filter
        rule = filtering.Rule(chosen.kind, chosen.score if chosen.kind != "none" else "", chosen.minimum)
        decisions = {}
        for words, quota in zip(self.plan.classes, self.plan.quotas, strict=True):
            mine = [one for one in self.committed if one.unit.class_key == words.key]
            decisions[words.key] = filtering.decide(rule, quota, _drawn(self.plan, words.label, mine, scores))
        return decisions

    def keep(self, decisions: Mapping[str, pa.Table]) -> None:
        """Store what was decided, with every reason."""
        index = {}
        for key, table in decisions.items():
            data = shards.table_bytes(table)
            index[key] = self.keys.filtered(key, lineage.sha256(data)[:16])
            self.store.create(index[key], data)
        self.store.create(self.keys.filtered_index(), lineage.canonical(index).encode())

    def mix(self, decisions: Mapping[str, pa.Table]) -> dict[float, Mix]:
        """The training set at every α."""
        train = self.split.part("train")
        kept = {key: filtering.kept_bitmap(table, len(table)) for key, table in decisions.items()}
        return {
            alpha: mixing.mix(alpha, self.plan.alphas, train["id"].to_pylist(), train["label"].to_pylist(),
                              self.plan.classes, kept, self.plan.allocation)
            for alpha in self.plan.alphas
        }

    def sweep(self, mixes: Sequence[Mix], seeds: Sequence[int], part: str, room: str) -> tuple[TrialResult, ...]:
        """One trial per mix, judged on one strictly real part of the split."""
        trials = [sweep.trial_of(self.plan, self.split, mix, seeds, part) for mix in mixes]
        with self.room(room, "train", len(trials) * len(seeds), "trainings") as (advance, spend):
            results, seconds = sweep.sweep(self.store, self.plan, self.split, trials, self.committed, self.pools["sweep"],
                                           advance, self.pixels)
            spend(seconds)
        return results

    def choose(self, results: Sequence[TrialResult]) -> tuple[Choice, int]:
        """The candidate, written down before the locked test is looked at; and how often this test was looked at.

        Every run of the dataset that looks at the same test images leaves its mark there: a test that was looked at
        often is no longer locked, whatever the editions were called.
        """
        choice = mixing.choose(results)
        record = lineage.canonical({**asdict(choice), "trials": [one.trial for one in results]}).encode()
        number = 1
        while not self.store.create(self.keys.choice(number), record):
            number += 1   # this run chose otherwise before
        test = lineage.content_id("test", sorted(self.split.part("test")["digest"].to_pylist()))
        self.store.create(layout.look(self.plan.dataset, test, f"{self.plan.run}-{number}"), record)
        return choice, len(self.store.list(layout.looks(self.plan.dataset, test)))

    def report(self, found: Found) -> Report:
        """Assemble, draw and store the report; then the run is done."""
        with self.room("report", "write", 1, "report") as (advance, _):
            warnings = [text for text in (
                mixing.convergence(found.results[0], self.plan.schedule.steps),
                mixing.few_seeds(len(self.plan.confirm_seeds)),
                *self.flags(found.scores).values(),
            ) if text]
            made = report.write(self.store, found, warnings, self.flags(found.scores), self.ledger)
            advance()
        self.store.create(self.keys.done(), lineage.canonical({"report": self.keys.report("report.json")}).encode())
        return made

    def flags(self, scores: pa.Table) -> dict[str, str]:
        """Classes far below their peers by the score that filters, each with the reason."""
        name = self.plan.filter.score
        if name not in scores.column_names:
            return {}
        by_class = {words.key: report.mean_of(scores, words.key, name) for words in self.plan.classes}
        names = {words.key: words.name for words in self.plan.classes}
        flagged = filtering.flag_classes(by_class, score=name, floor=FLAG_FLOOR)
        return {key: f"class {names[key]}: {reason}" for key, reason in flagged}

    @contextmanager
    def room(self, name: str, kind: str, total: int, unit: str) -> Iterator[tuple]:
        """A room at work: progress, and what it spent goes to the ledger even if it breaks."""
        pool = self.pools.get(name if name in self.pools else "sweep" if kind == "train" else "generate", Pool(1, 1, 0))
        spent: dict[str, float] = {}
        start = time.perf_counter()
        try:
            with self.events.room(name, total, unit) as advance:
                yield advance, spent.update
        finally:
            if pool.workers:   # deciding again spends nothing
                lines = [cost.line(name, one, seconds, gpus=pool.gpus, cpus=pool.cpus, price=self.plan.price)
                         for one, seconds in spent.items()]
                self.ledger.add([*lines, cost.wall(name, time.perf_counter() - start)])


def _drawn(planned: RunPlan, label: int, mine: Sequence[generate.Committed], scores: pa.Table) -> pa.Table:
    """Everything drawn of one class, as ``filtering.decide`` takes it."""
    words, size = planned.classes[label], planned.unit_size
    mine = sorted(mine, key=lambda one: one.unit.lo)
    hi = len(mine) * size
    failed = np.full(hi, "", dtype=object)
    for one in mine:
        for index, reason in one.failed:
            failed[index] = reason
    score = np.full(hi, np.nan, np.float32)
    if planned.filter.kind != "none":
        rows = scores.filter(pc.is_in(scores["unit"], pa.array([one.unit.name for one in mine])))
        score[rows["index"].to_numpy()] = rows[planned.filter.score].to_numpy()
    return pa.table({
        "id": [lineage.sample_id(planned.recipe.id, words.key, index) for index in range(hi)],
        "unit": np.repeat(np.array([one.unit.name for one in mine], dtype=object), size),
        "class_key": pa.array([words.key] * hi), "index": np.arange(hi, dtype=np.int64),
        "failed_reason": pa.array(failed, pa.string()), "score": pa.array(score, pa.float32(), mask=np.isnan(score)),
    })


def run(settings: Settings, events: Events) -> tuple[Report, str]:
    """All of it, or what is left of it. Returns the report and where it lies."""
    start = time.perf_counter()
    store, chosen = admit.open_store(settings), plan.choose_plugs(settings)
    planned, split = admit.known(store, settings, chosen) or (None, None)
    if planned is None:
        with events.room("plan", 1, "plan") as advance:
            planned, split = admit.freeze(store, settings, chosen, *admit.draft(store, settings, chosen))
            advance()
    waits = {"plan": time.perf_counter() - start}
    keys = layout.Run(planned.dataset, planned.run)
    where = f"{store.shown}/{keys.report('')}"
    if store.get(keys.done()):
        events.event("already_done", run=planned.run)
        made = report.read(store, planned)
        return made or River(store, planned, split, events, NO_POOLS).walk(), where   # a lost report is made again
    plan.check_task(planned)
    start = time.perf_counter()
    with cluster(settings) as pools:
        waits["ray"] = time.perf_counter() - start
        river = River(store, planned, split, events, pools)
        river.ledger.add([cost.wall(room, seconds) for room, seconds in waits.items()])
        return river.walk(), where


def redo_report(settings: Settings, events: Events) -> tuple[Report, str]:
    """Decide and report again from stored measurements: no GPU, no Ray. Raises ``DataError`` if any is missing."""
    store, chosen = admit.open_store(settings), plan.choose_plugs(settings)
    planned, split = admit.known(store, settings, chosen) or admit.draft(store, settings, chosen)[:2]
    keys = layout.Run(planned.dataset, planned.run)
    if not store.get(keys.done()):
        raise DataError(f"run {planned.run} is not finished", "finish it with: python -m job run")
    return River(store, planned, split, events, NO_POOLS).walk(), f"{store.shown}/{keys.report('')}"
