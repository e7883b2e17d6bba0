"""The nouns of what was decided before a GPU is rented, and their conversion to and from plain JSON values."""

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from job.records import ClassWords, Recipe, Salting

SLIVER = 0.001   # of a custom resource: enough to be on its node, and a thousand fit


@dataclass(frozen=True, slots=True)
class MetricPlan:
    """One metric per image; ``digest`` names metric, options, weights and class words in the store."""

    name: str
    options: str
    weights: str
    digest: str


@dataclass(frozen=True, slots=True)
class FilterPlan:
    """The rule that keeps or rejects, and how often a class is refilled."""

    kind: str
    score: str
    minimum: float
    oversample: float
    max_rounds: int


@dataclass(frozen=True, slots=True)
class Schedule:
    """One training, the same for every α: equal samples seen, constant batches."""

    steps: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    size_px: int
    threads: int
    precision: str = "fp32"          # or bf16: mixed precision
    epochs: float | None = None      # instead of steps, for comparison: a larger training set is then trained for longer
    compile: bool = False            # once per trial, by torch.compile
    together: str = "never"          # the seeds of a trial, stacked: auto, always, never

    @property
    def samples_seen(self) -> int:
        """By every training alike, unless epochs are asked for."""
        return self.steps * self.batch_size


@dataclass(frozen=True, slots=True)
class Objective:
    """What is maximised: accuracy, balanced_accuracy, or the recall of the classes with ``labels``.

    ``guard``: by how much accuracy may fall below that of α = 0, where it is not itself what is maximised.
    """

    kind: str = "accuracy"
    labels: tuple[int, ...] = ()
    guard: float = 0.0


@dataclass(frozen=True, slots=True)
class Price:
    """What the user says an hour costs. None: unknown, and no cost is stated."""

    per_gpu_hour: float | None
    per_cpu_hour: float | None
    currency: str
    source: str
    date: str

    @property
    def known(self) -> bool:
        """Whether any cost can be stated."""
        return self.per_gpu_hour is not None or self.per_cpu_hour is not None


@dataclass(frozen=True, slots=True)
class Chip:
    """What one GPU can do and what one image takes of it, as measured and told by the user. Never identity."""

    peak_tflops: float               # sustained matrix products in the format that is drawn in
    tflop_per_image: float


@dataclass(frozen=True, slots=True)
class PublishPolicy:
    """What may be published, and when the pointer moves. Never identity."""

    move_latest: str                 # helped, always, never
    licences: tuple[str, ...]
    privacy: bool


@dataclass(frozen=True, slots=True)
class RunPlan:
    """All that can be decided before a GPU is rented. Rooms take parts of it; none sees the settings."""

    run: str
    dataset: str
    edition: str
    source: str                      # real source and its options
    source_options: str
    classes: tuple[ClassWords, ...]
    n_train: tuple[int, ...]         # real training images per class
    n_val: int
    n_test: int
    n_aside: int
    near_duplicate_bits: int | None
    fold: int | None                 # of a cross-fitting, counted through all repeats
    split_sha256: str                # of split.parquet
    recipe: Recipe
    generator_options: str           # all of them, those that are not identity too
    unit_size: int
    batch_size: int
    quotas: tuple[int, ...]          # kept synthetic images per class
    failed_share: float
    unit_deadline_s: float
    fit_deadline_s: float
    metrics: tuple[MetricPlan, ...]
    filter: FilterPlan
    salting: Salting
    alphas: tuple[float, ...]
    task: str
    task_options: str
    augmented_options: str           # of the arms with classical augmentation
    arms: tuple[str, ...]            # beside the candidate and α = 0 in the confirmation
    curves: tuple[tuple[str, float], ...]   # further trials of the sweep: arm and α
    objective: Objective
    schedule: Schedule
    sweep_seeds: tuple[int, ...]
    halving: bool                    # whether the worse half of α gets no further seeds
    confirm_seeds: tuple[int, ...]
    price: Price


@dataclass(frozen=True, slots=True)
class Pool:
    """How many processes work side by side and what each holds. Never identity."""

    workers: int
    cpus: float
    gpus: float
    device: str = "cpu"              # cuda: where it works, or the job ends
    resource: str = ""               # custom resource of Ray of which each takes a sliver; empty: none
    wait_s: float | None = None      # seconds to wait until the cluster has room for the first; None: it has

    @property
    def custom(self) -> dict[str, float]:
        """The sliver, as Ray wants it told."""
        return {self.resource: SLIVER} if self.resource else {}

    @property
    def each(self) -> dict[str, float]:
        """What one worker takes of its node, in Ray's words."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {}), **self.custom}


def plain(noun: Any) -> Any:
    """A noun as plain JSON values (tuples become lists)."""
    return json.loads(json.dumps(asdict(noun)))


def from_plain(kind: Any, value: Any) -> Any:
    """The inverse of ``plain`` for nouns of numbers, strings, tuples and nouns."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return kind(**{field.name: from_plain(hints[field.name], value[field.name]) for field in fields(kind)})
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return tuple(from_plain(inner, one) for one in value)
    return value
