"""The groups of settings: every field described and bounded where it stands, and marked as identity or free.

Identity decides what comes out, so it is hashed into the run's id; free decides only where, how fast and how loud.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from job.errors import redact

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def identity(default: Any, description: str, **bounds: Any) -> Any:
    """A field that decides what comes out."""
    return Field(default, description=description, json_schema_extra={"identity": True}, **bounds)


def free(default: Any, description: str, **bounds: Any) -> Any:
    """A field that decides only where, how fast and how loud."""
    return Field(default, description=description, json_schema_extra={"identity": False}, **bounds)


def _comma_list(value: Any) -> Any:
    """``0,.25,.5`` is as good as JSON for a list; a single number is one, too."""
    if isinstance(value, str):   # redacted, because a part of a URL is none any more
        return [part.strip() for part in redact(value).strip("[]").split(",")]
    return [value] if type(value) in (int, float) else value


Fraction = Annotated[float, Field(ge=0, le=1)]
SecretKey = Annotated[str, Field(pattern=r"^[^/\s]+/[^/\s]+$")]
CUSTOM = r"^[A-Za-z0-9_.-]*$"   # a custom resource of Ray


class Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)   # neither is JSON: no identity could hold it


class Real(Group):
    name: str = identity("digits", "source of the real images")
    options: dict[str, JsonValue] = identity({}, "options of that source, as JSON or one by one")
    refused_share: Fraction = free(0.01, "share of unusable real files that is tolerated")
    generated_in_train: bool = identity(False, "whether images known to be generated may stand in the real training set")


class SplitGroup(Group):
    val_share: Annotated[float, Field(gt=0, lt=0.9)] = identity(0.2, "share for validation, where none is published")
    test_share: Annotated[float, Field(gt=0, lt=0.9)] = identity(0.2, "share for the locked test, where none is published")
    near_duplicate_bits: int | None = identity(
        None, "training images whose perceptual hash differs from a judged image's in at most so many of 64 bits are set "
        "aside, in published parts too; unset: only identical pictures", ge=0, le=16
    )
    table: str = free(
        "", "CSV or Parquet file with id, and part or group or both: overrides what the source says (its content is identity)"
    )
    folds: int | None = identity(
        None, "cross-fitting for sets too small for a locked test: so many folds judge in turn, each with a choice of its own; "
        "unset: one locked test", ge=3, le=20)
    repeats: int = identity(2, "how often cross-fitting draws its folds anew", ge=1, le=20)
    fold: int | None = identity(
        None, "the one fold, counted through all repeats, that this run judges; unset: all, one after another", ge=0)
    train_cap: int | None = identity(None, "most real training images per class; the rest is set aside", ge=1)


class GeneratorGroup(Group):
    name: str = identity("text_to_image", "what draws the images")
    options: dict[str, JsonValue] = identity({}, "options of that generator, as JSON or one by one")
    templates: tuple[str, ...] = identity(
        ("a photo of a {name}",), "prompts in rotation, a JSON list; {name} is the class", min_length=1
    )
    descriptions: dict[str, str] = identity({}, "words that stand for ambiguous class names in prompts: JSON, name to words")
    size_px: int = identity(32, "height and width of a drawn image", ge=8, le=4096)
    seed: int = identity(0, "base seed of all samples", ge=0)
    images_per_class: Literal["auto"] | Annotated[int, Field(ge=0)] = identity(
        "auto", "kept images per class; auto is what the largest alpha needs"
    )
    unit_size: Literal["auto"] | Annotated[int, Field(ge=1, le=65536)] = identity(
        "auto", "samples per shard and commit; auto is at most 256 and gives a class at least two units"
    )
    batch_size: int = free(40, "images drawn at once, at most; the largest divisor of the unit below it is used", ge=1, le=4096)
    failed_share: Fraction = free(0.05, "share of samples that may fail to become images")
    unit_deadline_s: float = free(1800, "seconds after which a unit's process is ended and the unit begun again", gt=0, le=86400)
    actors: Literal["auto"] | Annotated[int, Field(ge=1)] = free("auto", "processes that draw; auto is what the cluster holds")
    cpus_per_actor: float = free(1, "CPUs of each", gt=0)
    gpus_per_actor: float = free(0, "GPUs of each; fractions share one", ge=0)
    device: Literal["auto", "cpu"] = free(
        "auto", "auto draws on CUDA where an actor holds GPUs, cpu never: for clusters whose GPUs are only counted"
    )
    resource: str = free("", "custom Ray resource of which each actor takes 0.001: tells the nodes that draw; empty: none", pattern=CUSTOM)
    peak_tflops: float | None = free(
        None, "matrix peak of one GPU in TFLOP/s, as doctor measured it; with tflop_per_image the report tells the utilisation", gt=0)
    tflop_per_image: float | None = free(None, "TFLOP that one image takes, as doctor counted them", gt=0)


class MeasureGroup(Group):
    metrics: dict[str, dict[str, JsonValue]] = identity({"clipscore": {}}, "metrics per image and their options, as JSON")


class FilterGroup(Group):
    kind: Literal["none", "threshold", "quota"] = identity(
        "threshold", "keep all, those at or above the minimum, or the best of each class up to its quota"
    )
    score: str = identity("clipscore.margin", "the score that decides", pattern=r"^[a-z0-9_]+\.[a-z0-9_]+$")
    minimum: float = identity(0.0, "least score that is kept (threshold)")
    oversample: float = identity(1.5, "images drawn per image kept (quota)", ge=1, le=100)
    max_rounds: int = identity(3, "rounds of drawing until every class has its images", ge=1, le=50)


class MixingGroup(Group):
    allocation: Literal["proportional", "equal", "only"] = identity(
        "proportional", "how the synthetic images go to the classes: as the real ones, alike, or to named ones alone"
    )
    only: tuple[str, ...] = identity((), "the classes that get synthetic images, where the allocation is only: a JSON list")
    supply: Literal["matched", "all"] = identity(
        "matched", "matched takes as many synthetic images as alpha asks for; all takes every kept one and gives them that share"
    )
    weighting: Literal["draws", "loss"] = identity("draws", "what that share is a share of, where the supply is all")


class TaskGroup(Group):
    name: str = identity("classification", "what is learned and what counts as right")
    options: dict[str, JsonValue] = identity({}, "options of that task, as JSON or one by one")


class TrainGroup(Group):
    size_px: int = identity(16, "height and width the classifier sees, real and synthetic alike", ge=8, le=1024)
    steps: int = identity(300, "optimiser steps of every training, whatever its alpha", ge=1)
    batch_size: int = identity(64, "images per step, always full", ge=1)
    learning_rate: float = identity(1e-3, "Adam's peak learning rate", gt=0, le=1)
    weight_decay: float = identity(0.0, "decoupled weight decay", ge=0, le=1)
    epochs: float | None = identity(
        None, "passes over the training set instead of steps: confounded, as more images are then trained for longer", gt=0, le=10_000
    )
    precision: Literal["fp32", "bf16"] = identity("fp32", "bf16 computes in mixed precision")
    threads: int = identity(1, "CPU threads of a training; more change the last digits", ge=1, le=256)
    compile: bool = identity(
        False, "compile the model once per trial: for large nets on a GPU (for small_cnn on a CPU it does not pay); changes the last digits"
    )
    together: Literal["auto", "always", "never"] = identity(
        "auto", "train the seeds of a trial as one stacked net: auto where it can pay, on CUDA without compile and for nets of up to a "
        "million weights without buffers or dropout; changes the last digits"
    )


class SweepGroup(Group):
    alphas: Annotated[   # sorted: the order of writing makes no other run
        tuple[Fraction, ...], BeforeValidator(_comma_list), AfterValidator(lambda alphas: tuple(sorted(set(alphas))))
    ] = identity((0.0, 0.25, 0.5, 0.75, 0.9, 1.0), "synthetic shares to try, 0 among them")
    seeds: int = identity(5, "trainings per alpha, judged on validation", ge=1, le=1000)
    halving: bool = identity(
        False, "stop early: after 2, 4, 8 … seeds the worse half of alpha on validation gets no more; worth it for many alphas and seeds")
    confirm_seeds: int = identity(
        10, "fresh trainings of the candidate, of alpha 0 and of each arm, judged on the locked test", ge=1, le=1000)
    arms: tuple[str, ...] = identity(
        ("placebo", "reweighted"), "arms confirmed beside the candidate: placebo, reweighted, synthetic_only, unfiltered, "
        "augmented, augmented_mix; a JSON list"
    )
    curves: dict[str, tuple[Fraction, ...]] = identity(
        {}, "arms that the sweep tries, too, with their alphas, as JSON; an empty list of alphas is all above 0"
    )
    augmentation: dict[str, JsonValue] = identity({"shift_px": 1}, "task options of the augmented arms, laid over the task's, as JSON")
    objective: Literal["accuracy", "balanced_accuracy", "recall"] = identity("accuracy", "what the best alpha maximises")
    objective_classes: tuple[str, ...] = identity((), "the classes whose recall is the objective, a JSON list")
    guard: Fraction = identity(0.02, "by how much accuracy may fall where it is not the objective")
    parallel_trials: Literal["auto"] | Annotated[int, Field(ge=1)] = free("auto", "trials side by side; auto is what fits")
    fit_deadline_s: float = free(14400, "seconds after which a training's process is ended and its trial begun again", gt=0, le=604800)
    cpus_per_trial: float = free(1, "CPUs of each trial", gt=0)
    gpus_per_trial: float = free(0, "GPUs of each trial; fractions share one", ge=0)
    resource: str = free("", "custom Ray resource of which each trial takes 0.001: tells the nodes that train; empty: none", pattern=CUSTOM)


class PriceGroup(Group):
    per_gpu_hour: float | None = free(None, "price of a GPU-hour; without it no cost is stated", ge=0)
    per_cpu_hour: float | None = free(None, "price of a CPU-hour; without it no cost is stated", ge=0)
    currency: str = free("USD", "currency of the prices", pattern=r"^[A-Z]{3}$")
    source: str = free("", "who said so: stands beside every cost")
    date: str = free("", "when they said so, as YYYY-MM-DD", pattern=r"^(\d{4}-\d{2}-\d{2})?$")


class StorageGroup(Group):
    retry_s: float = free(300, "seconds for which storage trouble is waited out", ge=0, le=86400)


class PublishGroup(Group):
    when_done: bool = free(True, "publish a version at the end of every run")
    move_latest: Literal["helped", "always", "never"] = free(
        "helped", "when latest.json moves to the new version: after helped only, always, never"
    )
    licences: tuple[str, ...] = free(
        ("CC0-1.0", "CC-BY-4.0", "MIT", "Apache-2.0", "BSD-3-Clause", "creativeml-openrail-m", "openrail", "openrail++"),
        "licences of models whose images may be drawn and published, a JSON list"
    )
    version: int | None = free(None, "the version that verify, export and rollback mean; unset: latest", ge=1)
    confirm: bool = free(False, "gc deletes only with it; without, it says what it would delete")
    gc_grace_s: float = free(7 * 86400, "age in seconds from which an object that nothing names may be deleted", ge=0)
    export_to: str = free("", "folder or bucket prefix that export writes to; empty: below the dataset")
    export_format: Literal["parquet", "webdataset"] = free("parquet", "what export writes")
    export_what: Literal["mix", "kept"] = free("mix", "images that export takes: the recommended mix, or all kept synthetic ones")
    export_mb: int = free(512, "size aimed at for an exported file, in MB", ge=1, le=4096)


class DoctorGroup(Group):
    gpu: bool = free(False, "doctor measures this machine's GPU, too: compiler, matrix peak, best batch size of the generator that is set")
    cpu: bool = free(False, "it measures the same on the CPU where there is no GPU")
    most_images: int = free(256, "largest batch that it tries", ge=1, le=4096)


class KubernetesGroup(Group):
    manifest: str = free("", "file with the RayJob that preflight and refresh create, JSON or YAML")
    namespace: str = free("", "namespace of that RayJob; empty: the one that the manifest names", pattern=r"^[a-z0-9-]{0,63}$")
    tick: str = free(
        "", "name of the CronJob's Job that calls refresh: edition and name of the RayJob come from it", pattern=f"^$|{NAME}")
    owner: str = free(
        "", "name/uid of the Job that calls: preflight makes it the RayJob's owner, refresh files its events there",
        pattern=r"^$|^[^/\s]+/[^/\s]+$")
    history: int = free(3, "finished RayJobs of the dataset that refresh keeps", ge=0, le=1000)
