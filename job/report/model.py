"""What ``report.json`` holds. Its JSON schema is published in docs/report.schema.json; other programs read it.

Accuracies, gains and shares are fractions of 1. A number never travels alone: n, seeds, interval, versions and
hardware stand beside it.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gain(Part):
    """A paired difference of accuracies with its 95 % interval over seeds and images."""

    mean: float
    low: float
    high: float
    standard_error: float
    n_images: int
    n_seeds: int


class Arm(Part):
    """One α of the sweep, judged on real validation images."""

    alpha: float = Field(description="synthetic share that was asked for")
    realised_alpha: float = Field(description="synthetic share that was trained on")
    n_real: int
    n_synthetic: int
    samples_seen: int = Field(description="images seen in training, the same for every arm")
    seeds: list[int]
    val_accuracy: float = Field(description="mean over the seeds")
    val_standard_error: float = Field(description="standard error of that mean over the seeds; 0 for one seed")
    val_accuracies: list[float] = Field(description="one per seed")
    val_gain: Gain | None = Field(
        default=None, description="minus α = 0 on validation, paired by seed and image; its interval is not corrected for the choice "
                                  "among α. null at α = 0, and where seeds or images are too few for an interval")


class Confirmed(Part):
    """One arm of the confirmation: fresh seeds, judged once on the locked real test."""

    alpha: float
    seeds: list[int]
    test_accuracy: float
    test_accuracies: list[float] = Field(description="one per seed")


class SeedGain(Part):
    """The confirmed difference under one seed: the candidate minus α = 0, both trained with it."""

    seed: int
    gain: float


class Beside(Part):
    """An arm that was confirmed beside the candidate, on the same seeds and images."""

    arm: str
    title: str
    asks: str = Field(description="what the candidate's distance from it tells")
    control: bool = Field(description="whether a gain counts as information only beyond it")
    alpha: float
    n_real: int
    n_synthetic: int
    samples_seen: int
    test_accuracy: float
    test_accuracies: list[float] = Field(description="one per seed")
    effect: Gain = Field(description="this arm minus α = 0")
    effect_word: str = Field(description="verdict on it, corrected for the number of arms (Holm)")
    beyond: Gain = Field(description="the candidate minus this arm")
    beyond_word: str = Field(description="verdict on that, corrected likewise")


class ArmCurve(Part):
    """An arm that the sweep tried at several α, on validation."""

    arm: str
    title: str
    arms: list[Arm]


class Often(Part):
    alpha: float
    share: float = Field(description="how often it would be the candidate, over bootstrap draws of seeds and images")


class ClassRow(Part):
    """One class: what went in, what came out."""

    name: str
    n_real: int = Field(description="real training images")
    rare: bool = Field(default=False, description="whether those are at most half as many as the median class has")
    planned: int
    kept: int
    rejected: int
    failed: int
    unused: int
    scores: dict[str, float] = Field(description="mean of every score over its drawn images")
    flag: str = Field(description="why this class lies far below its peers; empty if it does not")
    n_test: int
    test_accuracy_real_only: float | None
    test_accuracy_candidate: float | None
    test_accuracy_beside: dict[str, float] = Field(default={}, description="of every arm of the confirmation; synthetic_only says how "
                                                                           "much of the class the generator knows")
    gain: Gain | None
    gain_word: str = Field(description="verdict on this class, corrected for the number of classes (Holm)")


class Advised(Part):
    """What a pilot made one expect, before the run was paid for, and whether it came true."""

    word: Literal["helped", "hurt", "no detectable difference"] = Field(description="the verdict that was expected")
    chance: float = Field(description="how sure the advice was")
    chances: dict[str, float] = Field(description="of every verdict")
    alpha: float = Field(description="α of the pilot's mix")
    images: int = Field(description="synthetic images in it")
    why: list[str]
    right: bool | None = Field(description="whether the verdict is the one that was expected; null without a verdict")
    sentence: str


class Counts(Part):
    planned: int
    kept: int
    rejected: int
    failed: int
    unused: int


class Spent(Part):
    """What a room took. Worker seconds are summed over its processes; wall seconds are the driver's."""

    room: str
    wall_s: float
    worker_s: dict[str, float] = Field(description="seconds by kind: load, draw, encode, upload, score, train, start, idle; repeated: "
                                              "what led to no commit of this run")
    gpu: bool
    cost: float | None = Field(description="in the currency of the prices; null without a price")


class CostOf(Part):
    """What one of each cost, in the currency of the prices; null without a price, or where there is none of it."""

    million_drawn: float | None = Field(
        default=None, description="the room generate, loading, waiting and repeats included, over the images that this run drew itself, "
                                  "times a million")
    kept_image: float | None = Field(description="drawing and measuring, over the images that were kept")
    published_image: float | None = Field(description="the whole run, over the images that its version holds")
    trial: float | None = Field(description="sweep and confirmation, over their trials")
    point_gained: float | None = Field(description="the whole run, over the percentage points gained, where it helped")


class Drawing(Part):
    """How fast this run drew the images that it drew itself."""

    images: int
    chips: list[str] = Field(default=[], description="names of the GPUs that drew them, or of the processors")
    images_per_s: float | None = Field(description="over the wall time of the room, its start and its waiting included")
    images_per_worker_s: float | None = Field(description="over the seconds in which its workers drew, and nothing else")
    tflop_per_image: float | None = Field(description="as the settings tell; null where they do not")
    peak_tflops: float | None = Field(description="matrix peak of one GPU, likewise")
    mfu: float | None = Field(description="model FLOPs utilisation while drawing: their share of that peak; null unless both are known")


class Prices(Part):
    per_gpu_hour: float | None
    per_cpu_hour: float | None
    currency: str
    source: str
    date: str


class Report(Part):
    schema_version: Literal[1] = 1
    dataset: str
    run: str
    edition: str
    verdict: Literal["helped", "hurt", "no detectable difference", "no verdict"]
    alpha_star: float = Field(description="recommended synthetic share: the candidate if it helped, else 0")
    sentence: str = Field(description="the verdict in words")
    candidate: float = Field(description="the α that validation chose, before the test was looked at")
    gain: float = Field(description="accuracy of the candidate minus that of α = 0 on the locked test")
    gain_interval: tuple[float, float]
    gain_detail: Gain
    smallest_detectable: float = Field(description="smallest true gain that such tests find in 70 to 80 % of cases")
    would_decide: str = Field(description="what would decide an undecided gain; empty where decided")
    test_looks: int = Field(description="how often the locked test was looked at, this time included")
    score_name: str = Field(description="what is maximised")
    argmax_alpha: float = Field(description="plain best α on validation")
    argmax_val_gain: float = Field(description="its gain on validation: optimistic, it is the best of several")
    one_se_alpha: float = Field(description="smallest α within one paired standard error of the best: an annotation")
    interior_optimum: bool = Field(description="whether both neighbours of the best α are lower beyond their interval, on validation")
    arms: list[Arm]
    confirmed: list[Confirmed]
    n_train: int
    n_val: int
    n_test: int
    n_aside: int
    aside: dict[str, int] = Field(description="real images set aside, by reason")
    n_refused: int = Field(description="real files that could not be used; all of them are in refused.json of the run")
    refused: list[str] = Field(description="the first of them, each with its reason")
    counts: Counts
    rounds: int
    classes: list[ClassRow]
    warnings: list[str]
    spent: list[Spent]
    wall_s: float
    cost: float | None
    cost_of: CostOf
    drawing: Drawing | None = Field(default=None, description="null where this run drew nothing itself")
    reused: dict[str, int] = Field(description="images that cost this run nothing: the run that drew them, and how many")
    prices: Prices
    generator: dict[str, str] = Field(description="name, model, revision, licence, weights digest, recipe id")
    settings: dict[str, object]
    versions: dict[str, str]
    hardware: dict[str, str]
    beside: list[Beside] = Field(default=[], description="arms of the confirmation beside the candidate and α = 0")
    beyond: str = Field(default="", description="whether the gain is more than the control arms give, in words")
    curves: list[ArmCurve] = []
    stability: list[Often] = []
    guarded: Gain | None = Field(default=None, description="difference in accuracy, where the objective is another")
    seed_gains: list[SeedGain] = Field(default=[], description="gain of every fresh seed; their mean is the gain")
    held: dict[str, str] = Field(default={}, description="what was held fixed, and what was touched how often")
    advice: Advised | None = Field(default=None, description="what was expected before spending, where a pilot was asked")
