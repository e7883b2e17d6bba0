"""The river: one walk of one run, top to bottom; finished work is skipped.

settings ─► real ─► PLAN ─► generate ─► measure ─► FILTER ─► MIX ─► sweep ─► CHOOSE ─► confirm ─► report
"""

import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

import numpy as np

from job import (
    advising,
    arms,
    choosing,
    decisions,
    filtering,
    folds,
    generate,
    halving,
    measure,
    mixing,
    pilot,
    plan,
    report,
    splitting,
    sweep,
    trainset,
)
from job.errors import BudgetError
from job.ground import bill, cost, layout, lineage
from job.ground.events import Events
from job.ground.stop import Stop
from job.ground.store import Store
from job.pool import Floor
from job.publish import gate
from job.records import Mix, Split, Tally, Unit
from job.report.assemble import Found
from job.report.beside import score_name
from job.report.model import Report
from job.results import Advice, Choice, TrialResult
from job.runplan import Chip, Pool, RunPlan
from job.watch import Pace, Watch

FLAG_FLOOR = 2.0   # CLIPScore points below its peers that make a class worth a look


class River:
    """One walk of one run: what it stands on, and what its rooms hand on."""

    def __init__(
        self, store: Store, planned: RunPlan, split: Split, events: Events, pools: Mapping[str, Pool], *,
        budget: float | None = None, privacy: bool = False, ledger: cost.Ledger | None = None, chip: Chip | None = None,
    ) -> None:
        self.store, self.plan, self.split, self.events, self.pools = store, planned, split, events, pools
        self.budget, self.privacy, self.chip = budget, privacy, chip
        self.keys = layout.Run(planned.dataset, planned.run)
        self.ledger = ledger or cost.Ledger(store, self.keys)
        self.stop = Stop(store, self.keys)
        self.watch = Watch(planned.dataset, planned.price.currency, budget, chip)
        self.pixels: dict[str, trainset.Pixels] = {}
        self.committed: tuple[generate.Committed, ...] = ()

    def walk(self) -> Report:
        """From the plan to the report; every line is a room."""
        tallies, rounds = self.draw()
        results, curves = self.grid(tallies)
        choice, looks = self.choose(results)
        asked = [("", choice.candidate), ("", 0.0), *arms.in_confirmation(self.plan.arms, choice.candidate)]
        candidate, baseline, *others = self.sweep(tallies, asked, self.plan.confirm_seeds, "test", "confirm")
        self.pixels.clear()
        gc.collect()   # trainers are cycles, and what they hold in the object store keeps its node from being given back
        weights = self.weights("test")
        verdict = choosing.verdict(candidate, baseline, weights, self.plan.objective.guard)
        controls = choosing.controls(candidate, baseline, others, weights)
        return self.report(Found(
            self.plan, self.split, tallies, self.committed, rounds, results, choice, looks, candidate, baseline, verdict,
            tuple(others), controls, curves, pilot.read(self.store, self.keys), self.chip,
        ))

    def advise(self) -> Advice:
        """A pilot, and what to expect of the run: drawn, measured and trained as the run will, on its own first units."""
        fresh = pilot.units(self.plan)
        self.make(fresh, 0)
        committed = generate.commits(self.store, self.plan, fresh)
        tallies = pilot.tallies(self.store, self.plan, committed)
        alpha = pilot.largest(self.plan, tallies)
        mixed, real = (self.mix(tallies, "", one) for one in (alpha, 0.0))
        trials = [sweep.trial_of(self.plan, self.split, one, pilot.seeds(), "val") for one in (real, pilot.half(real, self.split), mixed)]
        cache: dict[str, trainset.Pixels] = {}
        with self.room("pilot", len(trials) * pilot.SEEDS, "trainings") as floor:
            cache["pixels"] = trainset.Pixels(self.plan, self.split, committed, floor)
            cache["pixels"].cover([mixed])   # looked at even where every trial was there already
            done = sweep.sweep(self.plan, self.split, trials, committed, floor, "pilot", cache)
            seen = pilot.look(self.plan, cache["pixels"], floor)
        made, rejected = (sum(one.states[state] for one in tallies.values()) for state in ("kept", "rejected"))
        facts = advising.Pilot(
            self.plan.n_train, alpha, mixed.n_synthetic, *(one.correct_SN for one in done.results), self.weights("val"),
            pilot.foreign(self.store, self.plan, committed), rejected / max(1, made + rejected), **asdict(seen),
            measure=score_name(self.plan),
        )
        advice = advising.advise(facts, confirm_seeds=len(self.plan.confirm_seeds), n_test=self.plan.n_test)
        return pilot.write(self.store, self.keys, advice)

    def draw(self) -> tuple[dict[str, Tally], int]:
        """generate → measure → FILTER, in rounds until every class has its images."""
        drawn: list[Unit] = []
        fresh: Sequence[Unit] = plan.first_round(self.plan)
        tallies: dict[str, Tally] = {}
        stored: dict[str, str] = {}
        for number in range(1, self.plan.filter.max_rounds + 1):
            drawn += self.freeze_round(number, fresh)
            self.make(drawn, number)
            self.committed = generate.commits(self.store, self.plan, drawn)
            self.filter(tallies, stored)
            if not any(one.short for one in tallies.values()):
                decisions.seal(self.store, self.plan, stored)
                return tallies, number
            if number < self.plan.filter.max_rounds:
                fresh = self.refill(tallies)
        lacking = [one for one in tallies.values() if one.short]
        raise filtering.refuse_short(lacking, self.plan.quotas, self.plan.filter.max_rounds)

    def make(self, units: Sequence[Unit], number: int) -> None:
        """generate → measure, as far as it is not done. Round 0 is the pilot."""
        total = len(units) * self.plan.unit_size
        with self.room("generate", total, "images") as floor:
            made = generate.generate(self.plan, units, floor)
        self.events.event("generated", round=number, **asdict(made))
        if self.plan.metrics:
            with self.room("measure", total, "images") as floor:
                measured = measure.measure(self.plan, units, floor)
            self.events.event("measured", round=number, **asdict(measured))

    def freeze_round(self, number: int, fresh: Sequence[Unit]) -> list[Unit]:
        """The round's units: those that were frozen when it first began."""
        record = lineage.canonical([[unit.class_key, unit.label, unit.lo, unit.hi] for unit in fresh]).encode()
        if not self.store.create(self.keys.round(number), record):
            record = self.store.read(self.keys.round(number))
        return [Unit(*values) for values in json.loads(record)]

    def refill(self, tallies: Mapping[str, Tally]) -> list[Unit]:
        """Further units for the classes that are short."""
        fresh = [unit for one in tallies.values() for unit in plan.units(
            self.plan, one.words.label, one.drawn, one.further * self.plan.unit_size)]
        self.events.event("refill", classes=len({unit.class_key for unit in fresh}), units=len(fresh))
        return fresh

    def filter(self, tallies: dict[str, Tally], stored: dict[str, str]) -> None:
        """Decide on every class that still lacked images; what is decided in full stays as it is."""
        for words in self.plan.classes:
            if words.key not in stored:
                mine = [one for one in self.committed if one.unit.class_key == words.key]
                if not mine:   # a class that is to get no image: nothing was drawn, so nothing is decided
                    tallies[words.key], _ = decisions.judge(self.store, self.plan, words, mine, self.plan.quotas[words.label])
                    continue
                tallies[words.key], key = decisions.decide(self.store, self.plan, words, mine)
                if key:
                    stored[words.key] = key

    def mix(self, tallies: Mapping[str, Tally], name: str, alpha: float) -> Mix:
        """The training set of an arm at one α."""
        train, arm = self.split.part("train"), arms.find(name)
        there = {key: getattr(one, "made" if arm.fills == arms.MADE else "kept") for key, one in tallies.items()}
        return mixing.mix(alpha, self.plan.alphas, train["id"].to_pylist(), train["label"].to_pylist(),
                          self.plan.classes, there, self.plan.salting, arm)

    def weights(self, part: str) -> np.ndarray | None:
        """What each image of a part counts in the objective."""
        return choosing.weights(self.plan.objective, self.split.part(part)["label"].to_numpy())

    def grid(self, tallies: Mapping[str, Tally]) -> tuple[tuple[TrialResult, ...], tuple[TrialResult, ...]]:
        """Every α on validation, and the curves of the arms. With halving the worse half gets no further seeds."""
        seeds, alphas, curves = self.plan.sweep_seeds, self.plan.alphas, self.plan.curves
        if not self.plan.halving:   # then all of it stands side by side
            swept = self.sweep(tallies, [*(("", alpha) for alpha in alphas), *curves], seeds, "val", "sweep")
            return swept[: len(alphas)], swept[len(alphas) :]
        parts: dict[float, list[TrialResult]] = {}
        for its in halving.rounds(seeds, self.plan.halving):
            for one in self.sweep(tallies, [("", alpha) for alpha in alphas], its, "val", "sweep"):
                parts.setdefault(one.alpha, []).append(one)
            alphas = halving.survivors([halving.joined(parts[alpha]) for alpha in alphas], self.weights("val"),
                                       self.plan.objective.guard)
        beside = self.sweep(tallies, curves, seeds, "val", "sweep") if curves else ()
        return tuple(halving.joined(its) for its in parts.values()), beside

    def sweep(
        self, tallies: Mapping[str, Tally], asked: Sequence[tuple[str, float]], seeds: Sequence[int], part: str, room: str
    ) -> tuple[TrialResult, ...]:
        """One trial per arm and α, judged on one strictly real part of the split."""
        trials = [sweep.trial_of(self.plan, self.split, self.mix(tallies, arm, alpha), seeds, part, arm) for arm, alpha in asked]
        with self.room(room, len(trials) * len(seeds), "trainings") as floor:
            done = sweep.sweep(self.plan, self.split, trials, self.committed, floor, room, self.pixels)
        self.events.event("trained", room=room, asked=len(trials), fitted=done.fitted, adopted=done.adopted)
        return done.results

    def choose(self, results: Sequence[TrialResult]) -> tuple[Choice, int]:
        """The candidate, written down before the locked test is looked at; and how often this test was looked at.

        Every run of the dataset that looks at the same test images leaves its mark there, and so does every comparison: a test
        that was looked at often is no longer locked, whatever the editions were called.
        """
        choice = choosing.choose(halving.finalists(results), self.weights("val"), self.plan.objective.guard)
        record = lineage.canonical({**asdict(choice), "trials": [one.trial for one in results]}).encode()
        number = 1
        while not self.store.create(self.keys.choice(number), record):
            number += 1   # this run chose otherwise before
        test = lineage.test_id(self.split.part("test")["digest"].to_pylist())
        self.store.create(layout.look(self.plan.dataset, test, f"{self.plan.run}-{number}"), record)
        return choice, len(self.store.list(layout.looks(self.plan.dataset, test)))

    def report(self, found: Found) -> Report:
        """Assemble, draw and store the report; then the run is done."""
        with self.room("report", 1, "report") as floor:
            flags = self.flags(found.tallies)
            warnings = [text for text in (
                choosing.convergence(found.results[0], found.results[0].samples_seen // self.plan.schedule.batch_size,
                                     epochs=self.plan.schedule.epochs),
                choosing.few_seeds(len(self.plan.confirm_seeds)), choosing.confounded(self.plan.schedule.epochs),
                folds.told(self.plan.fold) or folds.small_test(self.split),
                *splitting.near_published(self.split, self.plan.near_duplicate_bits),
                bill.unnamed(self.plan.price), generate.halved(found.committed, self.plan.run), *flags.values(),
            ) if text]
            made = report.write(self.store, found, warnings, flags, self.ledger, gate.private if self.privacy else None)
            floor.advance()
        self.store.create(self.keys.done(), lineage.canonical({"report": self.keys.report("report.json")}).encode())
        return made

    def flags(self, tallies: Mapping[str, Tally]) -> dict[str, str]:
        """Classes far below their peers by the score that filters, each with the reason."""
        name = self.plan.filter.score
        by_class = {key: one.means.get(name, float("nan")) for key, one in tallies.items()}
        if not any(name in one.means for one in tallies.values()):
            return {}
        flagged = filtering.flag_classes(by_class, score=name, floor=FLAG_FLOOR)
        return {key: f"class {tallies[key].words.name}: {reason}" for key, reason in flagged}

    @contextmanager
    def room(self, name: str, total: int, unit: str) -> Iterator[Floor]:
        """A room at work: progress, and what it spent goes to the ledger even if it breaks. Deciding again spends nothing."""
        pool = self.pools["sweep" if name in ("pilot", "sweep", "confirm") else "generate"]
        pace = self.watch.pace = Pace(lambda: self.ledger.heard(self.plan.price), self.plan.price.currency) if unit == "images" else None
        shown = self.events.room(name, total, unit, pace.told if pace else dict)
        with self.ledger.room(name) if pool.workers else nullcontext(), shown as advance:
            left = self.left(pool) if name != "report" else None   # which costs nothing
            advance = self.watch.room(name, total, unit, advance)
            yield Floor(self.store, self.keys, pool, advance, self.stop, self.ledger, self.plan.price, left, self.events.event, self.watch)

    def left(self, pool: Pool) -> float | None:
        """What may still be spent, all submissions of the run counted. Raises ``BudgetError`` if that is nothing."""
        if not pool.workers or (self.budget is None and not (self.watch.recording and self.plan.price.known)):
            return None
        spent = self.ledger.spent(self.plan.price)
        self.watch.spent(0.0, before=spent)
        if self.budget is None:
            return None
        if spent >= self.budget:
            raise BudgetError(f"{spent:.4g} {self.plan.price.currency} are spent, and the budget is {self.budget:g}",
                              "raise SALTWORKS_BUDGET_USD and run again: the same run goes on")
        return self.budget - spent
