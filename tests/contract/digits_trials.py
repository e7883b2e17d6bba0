"""Real digits, real trainings, and the pictures of the embedded generator, without Ray: what the tests of whole sets share.

Real are the digits that the generator never saw (``job.real.digits``: 84 to 93 of each); scikit-learn ships no other small
set of pictures that needs no download. They are trained at their own 8 px. Nothing is filtered.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pyarrow as pa

from job import advising, arms, choosing, mixing, pilot, plugs, splitting
from job.fitting import fit
from job.generators.text_to_image import TextToImage
from job.ground import lineage, pixels, weights
from job.ground.store import ReadOnlyFolder
from job.real.digits import Digits, label
from job.records import ClassWords, Mix, Salting, Split
from job.results import Advice, Gain, Interval, TrialResult
from job.runplan import Schedule
from job.settings import SplitGroup
from job.tasks.classification import Classification
from job.trainset import training_set

SCHEDULE = Schedule(steps=150, batch_size=32, learning_rate=2e-3, weight_decay=0.0, size_px=8, threads=1)
SWEEP_SEEDS, CONFIRM_SEEDS = tuple(range(5)), tuple(range(100, 110))
BATCH = 40   # of the generator
DIGITS = Digits(Digits.Options(), ReadOnlyFolder)
Images = tuple[np.ndarray, np.ndarray]   # uint8 (N, S, S, 3), int64 (N,)


@dataclass(frozen=True, slots=True)
class Kind:
    """A class of a set that is dealt anew: its digits, and how many images of each of them train and validate."""

    digits: tuple[int, ...]
    train: int
    val: int


def published() -> Split:
    """The demo's own: 8 images of each digit train, 20 validate."""
    return splitting.split(DIGITS.index(), SplitGroup())


def dealt(kinds: Mapping[str, Kind]) -> Split:
    """A set whose classes are made of several digits; what neither trains nor validates is the locked test."""
    index, rng = DIGITS.index(), np.random.default_rng(0)
    digit_N = np.asarray([label(int(row)) for row in index.table["locator"].to_pylist()])
    label_N, part_N = np.zeros(len(digit_N), int), np.full(len(digit_N), "aside", object)
    for at, kind in enumerate(kinds.values()):
        for digit in kind.digits:
            rows = rng.permutation(np.flatnonzero(digit_N == digit))
            label_N[rows], part_N[rows] = at, "test"
            part_N[rows[: kind.val + kind.train]] = "train"
            part_N[rows[: kind.val]] = "val"
    table = index.table
    for name, column in (("label", pa.array(label_N, pa.int32())), ("published", pa.array(part_N.tolist()))):
        table = table.set_column(table.schema.get_field_index(name), name, column)
    return splitting.split(replace(index, classes=tuple(kinds), table=table), SplitGroup())


@cache
def _generator() -> tuple[TextToImage, str]:
    """The embedded generator, loaded once, and the digest of its weights."""
    made = TextToImage(TextToImage.Options())
    folder, digest = weights.fetch(made.location(), made.revision(), ReadOnlyFolder)
    made.load(folder, digest, "cpu")
    return made, digest


def drawn(words: ClassWords, templates: Sequence[str], count: int) -> dict[str, np.ndarray]:
    """The first pictures of a class, as ``training_set`` takes them."""
    generator, digest = _generator()
    recipe = lineage.make_recipe(generator="text_to_image", options=plugs.identity(generator.options), weights=digest,
                                 templates=templates, size_px=32, encoding="png", seed=0)
    specs = [lineage.spec(recipe, words, index) for index in range(count)]
    made = [one for at in range(0, count, BATCH) for one in generator.draw(specs[at : at + BATCH])]
    images = [pixels.to_train(one.pixels_HWC, SCHEDULE.size_px) for one in made]   # a Failure has no pixels, and would raise here
    return {"images": np.stack(images), "index": np.arange(count), "label": np.int64(words.label)}


@dataclass(frozen=True, slots=True)
class Trials:
    """A set, its pictures, and the α that are tried on it."""

    split: Split
    grid: tuple[float, ...]
    salting: Salting
    words: tuple[ClassWords, ...]
    real: Mapping[str, Images]                           # by part
    synthetic: Mapping[str, Mapping[str, np.ndarray]]    # by class key
    schedule: Schedule

    def mix(self, alpha: float, arm: str = "") -> Mix:
        train = self.split.part("train")
        there = {key: np.ones(len(one["index"]), bool) for key, one in self.synthetic.items()}
        return mixing.mix(alpha, self.grid, train["id"].to_pylist(), train["label"].to_pylist(), self.words, there, self.salting,
                          arms.find(arm))

    def trial(
        self, alpha: float, judged_on: str, seeds: Sequence[int], arm: str = "", wrong: float = 0.0, mix: Mix | None = None
    ) -> TrialResult:
        """One arm, its seeds one after the other. ``wrong``: share of what stands beside the real images whose label is another.

        ``mix`` stands for the arm's own.
        """
        import torch

        torch.set_num_threads(1)
        mix, train = mix or self.mix(alpha, arm), self.split.part("train")
        images, labels, shares = training_set(mix, train["id"].to_pylist(), self.real["train"], self.synthetic)
        classes, rng = len(self.words), np.random.default_rng(1)
        flipped = (np.arange(len(labels)) >= mix.n_real) & (rng.random(len(labels)) < wrong)
        labels = np.where(flipped, (labels + rng.integers(1, classes, len(labels))) % classes, labels)
        tensors = {name: torch.from_numpy(value) for name, value in zip(
            ("images_NHWC", "targets_N", "judged_MHWC", "judged_targets_M"), (images, labels, *self.real[judged_on]), strict=True)}
        task = Classification(Classification.Options(), classes=classes, size_px=self.schedule.size_px)
        made = [fit(task, self.schedule, seed, "cpu", **tensors, shares=shares) for seed in seeds]
        return TrialResult(f"{arm}-{alpha}-{judged_on}", alpha, mix.realised_alpha, mix.n_real, mix.n_synthetic + mix.n_copies,
                           made[0].samples_seen, tuple(seeds), judged_on, np.stack([one.correct_N for one in made]),
                           tuple(one.first_loss for one in made), tuple(one.loss for one in made),
                           tuple(one.late_gain for one in made), 1.0, arm=arm)

    def sweep(self) -> list[TrialResult]:
        """Every α of the grid on validation. Raises ``AssertionError`` if α = 0 was not trained to its end."""
        found = [self.trial(alpha, "val", SWEEP_SEEDS) for alpha in self.grid]
        assert choosing.convergence(found[0], self.schedule.steps) == ""
        return found

    def advice(self, alpha: float) -> Advice:
        """What a pilot at this α makes one expect: three small trainings, judged on validation."""
        real = self.mix(0.0)
        asked = ((0.0, real), (0.0, pilot.half(real, self.split)), (alpha, self.mix(alpha)))
        whole, half, mixed = (self.trial(at, "val", pilot.seeds(), mix=mix).correct_SN for at, mix in asked)
        facts = advising.Pilot(splitting.counts(self.split, "train"), alpha, self.mix(alpha).n_synthetic, whole, half, mixed, None,
                               None, 0.0, None, None, None)
        return advising.advise(facts, confirm_seeds=len(CONFIRM_SEEDS), n_test=len(self.real["test"][1]))

    def confirm(self, alpha: float, arm: str = "", wrong: float = 0.0) -> TrialResult:
        """Fresh seeds on the locked test."""
        return self.trial(alpha, "test", CONFIRM_SEEDS, arm, wrong)


def trials(split: Split, grid: tuple[float, ...], salting: Salting, templates: Mapping[str, Sequence[str]], steps: int = 150) -> Trials:
    """With as many pictures of each class as the grid needs. ``templates``: by class; a class without gets no picture."""
    words = tuple(lineage.class_words(at, name) for at, name in enumerate(split.classes))
    need = mixing.needed(grid, splitting.counts(split, "train"), salting)
    synthetic = {one.key: drawn(one, templates[one.name], count)
                 for one, count in zip(words, need, strict=True) if count and one.name in templates}
    parts = {part: split.part(part) for part in ("train", "val", "test")}
    real = {part: (np.stack([pixels.to_train(image, SCHEDULE.size_px) for image in DIGITS.load(rows)]),
                   rows["label"].to_numpy().astype(np.int64)) for part, rows in parts.items()}
    return Trials(split, grid, salting, words, real, synthetic, replace(SCHEDULE, steps=steps))


def points(found: Interval | Gain) -> str:
    """A difference in points with its interval, as the report writes it."""
    return f"{100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
