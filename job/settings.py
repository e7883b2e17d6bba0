"""The environment, read once: prefix ``SALTWORKS_``, nested by ``__``, the same names as flags.

The only reader of ``os.environ``. Every field is described and bounded where it stands, and marked as identity (it
decides what comes out, so it is hashed into the run's id) or free (it decides only where, how fast and how loud).
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import reduce
from operator import getitem
from typing import Any, Literal

from pydantic import BaseModel, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, CliSettingsSource, EnvSettingsSource, SettingsConfigDict

from job.errors import AccessError, SettingsError, redact, redact_all
from job.ground.layout import SHARED
from job.settings_groups import (
    NAME,
    DoctorGroup,
    FilterGroup,
    GeneratorGroup,
    Group,
    KubernetesGroup,
    MeasureGroup,
    MixingGroup,
    PriceGroup,
    PublishGroup,
    Real,
    SecretKey,
    SplitGroup,
    StorageGroup,
    SweepGroup,
    TaskGroup,
    TrainGroup,
    free,
    identity,
)

PREFIX = "SALTWORKS_"
TABLE = "see the settings table in README.md"
RAY_DEFAULTS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",   # 2 s by default: a fifth of a short trial
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",   # a process per trial, which tells it in time for a checkpoint: it makes none
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",    # Ray's coming default; unset, it warns at every start
    "RAY_BACKEND_LOG_LEVEL": "fatal",             # Ray Data's own actors warn of their own arguments (ray#53727)
    "RAY_USAGE_STATS_ENABLED": "0",
}
class _Variables(EnvSettingsSource):
    """Reads the variables that it is given, in the order of their names: a single option goes over JSON for all of them."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        super().__init__(Settings)
        self.env_vars = dict(sorted((name.lower(), value) for name, value in variables.items()))

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """What is no JSON goes to the model as it is, so that the complaint names value and limit."""
        try:
            return json.loads(value)
        except ValueError:
            return value


class Settings(BaseSettings):
    """All that a run has; a plug's own options travel as JSON and are checked by the plug."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False, cli_avoid_json=True,
    )

    root: str = free("demo-output", "folder or bucket prefix that receives everything", min_length=1)
    dataset: str = identity("digits", "name of the dataset", pattern=NAME)
    edition: str | None = identity(None, "name of this refresh; default: digest of the real images", pattern=NAME)
    submission: str | None = free(None, "name of this submission, the same for its retries; default: random", pattern=NAME)
    retries: int | None = free(
        None, "how often a failed submission is tried again from outside, as a RayJob's backoffLimit says; unset: a name is used once",
        ge=0, le=1000)
    progress: Literal["auto", "bars", "json"] = free("auto", "bars on a terminal, one JSON line per event elsewhere")
    stop_grace_s: float = free(20, "seconds that work in flight gets after SIGTERM or drain", ge=0, le=3600)
    gpu_wait_s: float = free(1800, "seconds to wait in a joined cluster for the first worker's resources", ge=0, le=604800)
    expects: dict[str, SecretKey] = free(
        {}, "environment variables that must not be empty, each with the secret/key that fills it: JSON, name to secret/key"
    )
    budget_usd: float | None = free(None, "most that the run may cost, all its submissions together; needs prices in USD", ge=0)
    image_digest: str = free("", "digest of the container image that runs, for the published version")
    code_digest: str = free("", "digest or commit of the code, for the published version; empty: sha256 over the package's own files")
    privacy: bool = free(False, "no real pixel and no name of a real file enters report or version")
    real: Real = Real()
    split: SplitGroup = SplitGroup()
    generator: GeneratorGroup = GeneratorGroup()
    measure: MeasureGroup = MeasureGroup()
    filter: FilterGroup = FilterGroup()
    mixing: MixingGroup = MixingGroup()
    task: TaskGroup = TaskGroup()
    train: TrainGroup = TrainGroup()
    sweep: SweepGroup = SweepGroup()
    price: PriceGroup = PriceGroup()
    storage: StorageGroup = StorageGroup()
    publish: PublishGroup = PublishGroup()
    kubernetes: KubernetesGroup = KubernetesGroup()
    doctor: DoctorGroup = DoctorGroup()

    @field_validator("dataset")
    @classmethod
    def _not_shared(cls, name: str) -> str:
        if name in SHARED:
            raise PydanticCustomError("shared", "taken by what all datasets share, use another name")
        return name

    @classmethod
    def settings_customise_sources(cls, settings_cls: Any, **sources: Any) -> tuple[Any, ...]:
        return (sources["init_settings"],)   # ``load`` hands in what flags and environment say

    def identity(self) -> dict[str, Any]:
        """Every field marked identity, as plain JSON values by dotted name; dataset and edition apart."""
        dumped = self.model_dump(mode="json")
        return {".".join(path): reduce(getitem, path, dumped) for path, field in leaves(Settings)
                if field.json_schema_extra["identity"] and path not in (("dataset",), ("edition",))}

    @property
    def crossfits(self) -> bool:
        """Whether all folds of a cross-fitting are asked for."""
        return self.split.folds is not None and self.split.fold is None

    @property
    def all_folds(self) -> int:
        """Folds through all repeats."""
        return (self.split.folds or 0) * self.split.repeats

    def of_fold(self, fold: int) -> "Settings":
        """The settings of one fold's run: names of its own, and nothing is published."""
        named = {name: f"{value}.fold-{fold:03d}" for name in ("edition", "submission") if (value := getattr(self, name))}
        return self.model_copy(update={
            **named, "split": self.split.model_copy(update={"fold": fold}), "publish": self.publish.model_copy(update={"when_done": False}),
        })

    def printable(self) -> dict[str, Any]:
        """All settings by environment name, fit to be shown: user parts and signed queries of URLs are hidden."""
        return {env_name(path): redact_all(reduce(getattr, path, self)) for path, _ in leaves(Settings)}


def leaves(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every field that is no group: (path, field)."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Group):
            yield from leaves(field.annotation, (*above, name))
        else:
            yield (*above, name), field


def env_name(path: Sequence[str]) -> str:
    """The environment name of a field."""
    return PREFIX + "__".join(path).upper()


def load(flags: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from flags, then environment, then defaults.

    Raises ``SettingsError`` naming every wrong or unknown name, its value, its limit and the cure.
    """
    environ = os.environ if environ is None else environ
    refuse_strangers(environ)
    given = _variables(flags)
    above = tuple(f"{name}__" for name in given)   # a flag for all options of a plug replaces single ones, too
    named = {name.upper(): value for name, value in environ.items() if value and not f"{name.upper()}__".startswith(above)}
    try:
        return Settings(**_Variables(named | given)())
    except ValidationError as error:
        raise SettingsError("; ".join(map(_complaint, error.errors())), TABLE) from None


def _variables(flags: Sequence[str]) -> dict[str, str]:
    """Flags by environment name, so that both mean the same: ``--sweep.seeds 3``, ``--generator.options.steps=7``."""
    known = {f"--{'.'.join(path)}": field for path, field in leaves(Settings)}
    bags = tuple(f"{name}." for name, field in known.items() if _is_bag(field))
    found, given = {}, iter(flags)
    for flag in given:
        name, equals, value = flag.partition("=")
        if flag in ("-h", "--help"):
            CliSettingsSource(Settings, cli_parse_args=["--help"], cli_prog_name="python -m job")   # prints it and exits
        if not name.startswith("--"):
            raise SettingsError(f"{redact(flag)!r} belongs to no flag", "write --name value, or --name=value")
        if name not in known and not name.startswith(bags):
            raise SettingsError(f"unknown flag {redact(name)}", _near(name, known))
        if not equals and (value := next(given, "--")).startswith("--"):
            raise SettingsError(f"{name} stands without a value", f"write {name}=VALUE")
        found[env_name(name[2:].split("."))] = value
    return found


def refuse_strangers(environ: Mapping[str, str]) -> None:
    """Raise ``SettingsError`` for names under our prefix that no setting claims: a typo must not run the default."""
    known = {env_name(path): field for path, field in leaves(Settings)}
    groups = {name.rpartition("__")[0] for name in known} - {""}
    bags = tuple(f"{name}__" for name, field in known.items() if _is_bag(field))
    ours = {name: name.upper() for name in environ if name.upper().startswith(PREFIX)}
    strangers = sorted(name for name, one in ours.items() if one not in known and one not in groups and not one.startswith(bags))
    if strangers:
        raise SettingsError(f"unknown setting {', '.join(strangers)}", _near(strangers[0].upper(), known))


def _is_bag(field: FieldInfo) -> bool:
    return str(field.annotation).startswith("dict")


def _near(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else TABLE


def _complaint(error: Any) -> str:
    """One wrong value: its environment name, the value, and the limit."""
    path = tuple(str(part) for part in error["loc"])
    field = next((field for known, field in leaves(Settings) if known == path[: len(known)]), None)
    name = env_name([part for part in path if re.match(r"^[a-z0-9_]+$", part) and not part.isdigit()][:2])
    if field is None and error["type"] == "extra_forbidden":
        return f"unknown setting {env_name(path)}, {_near(env_name(path), map(env_name, dict(leaves(Settings))))}"
    return f"{name}={redact_all(error['input'])!r}: {error['msg']}" + (f" ({field.description})" if field else "")


def kubeconfig() -> str | None:
    """Where the environment says that the access to Kubernetes is described, if it does."""
    return os.environ.get("KUBECONFIG") or None


def check_expected(expects: Mapping[str, str], environ: Mapping[str, str] | None = None) -> None:
    """Raise ``AccessError`` for every variable that a secret should have filled and did not."""
    environ = os.environ if environ is None else environ
    there = {name for name, value in environ.items() if value}
    empty = [(name, *place.split("/")) for name, place in sorted(expects.items()) if not there & {name, name.upper()}]
    if empty:
        said = [f"the secret {secret} lacks the key {key}, or there is no such secret (variable {name} is empty)"
                for name, secret, key in empty]
        _, secret, key = empty[0]
        raise AccessError("; ".join(said), f"add it (kubectl create secret generic {secret} --from-literal={key}=…) and submit again")


def cluster_address() -> str | None:
    """The Ray cluster to join, if the environment names one."""
    return os.environ.get("RAY_ADDRESS") or None


def calm_ray() -> None:
    """Defaults for Ray's own variables where the user set none: poll finished trials sooner, export no unread metrics."""
    for name, value in RAY_DEFAULTS.items():
        os.environ.setdefault(name, value)
