"""The names that the chart renders are the names that settings and plugs accept, both ways, and values arrive as they were."""

import json
import re
from functools import reduce
from typing import Any

import jsonschema
import pytest

from job import plugs
from job.settings import PREFIX, Settings, env_name, leaves, load, refuse_strangers
from job.settings_table import TABLES
from tests.chart import operator_pods
from tests.chart.engine import Object, Refused, Rendered, render
from tests.chart.restricted import containers
from tests.chart.samples import SAMPLES
from tests.chart.settings_schema import described, options, owned

pytestmark = pytest.mark.chart
HEAD = {"head": {"rayCpus": 2}}
GPUS = HEAD | {"workerGroups": [{"name": "draw", "gpus": 1}, {"name": "fit", "role": "train", "gpus": 1}]}
CANDIDATES: tuple[Any, ...] = (   # the first that a field's own schema takes is its sample
    1000000, 60, 3, 0.25, True, [0.0, 0.25], [3, 1000000], ["a photo of a {name}", "Grüße an die Möwe 🪶, \"so\" <&>"],
    ["cat"], ["airplane"],
    {"crane": "Kranich, der Wat‑Vogel"}, {"clipscore": {"batch_size": 1000}}, {"crane": {"minimum": 0.5}}, {"noise": 0.5},
    {"placebo": [0.25]},
    "mädchen-ü ✓ 'quoted' \"twice\" # no comment: {{ nothing }}", "photos-1", "2026-01-31", "EUR", "clipscore.margin", "fp16", "json",
    "DDIMScheduler",
)
ROOTED = {"SALTWORKS_ROOT": "s3://bucket/größe & more"}


def sample(schema: dict[str, Any]) -> Any:
    """A value that the schema takes, none of its defaults where that can be helped."""
    takes = jsonschema.Draft202012Validator(schema)
    choices = schema.get("enum") or [one for branch in schema.get("anyOf", ()) for one in branch.get("enum", ())] or []
    return next(one for one in (*choices[-1:], *CANDIDATES) if takes.is_valid(one))


def samples() -> dict[str, Any]:
    """A value for every setting that is the user's."""
    chosen = {env_name(path): sample(described(field)) for path, field in leaves(Settings) if env_name(path) not in owned()}
    for _, chooser, bag, names in TABLES:
        if chooser != bag:
            chosen |= {env_name(chooser): sorted(names)[0], env_name(bag): {}}
    return chosen | ROOTED


def environment(rendered: Rendered, container: Object) -> dict[str, str]:
    """What a container's processes find under our prefix, what only the cluster knows apart."""
    env = rendered.settings if container.get("envFrom") else {}
    for one in container.get("env", []):
        value = one.get("value", "in-the-pod")
        env = env | {one["name"]: re.sub(r"\$\((\w+)\)", lambda match, env=env: env[match[1]], value)}
    return {name: value for name, value in env.items() if name.startswith(PREFIX)}


def test_the_chart_takes_every_setting_and_the_job_reads_it_as_it_was_written() -> None:
    given = samples()
    on_gpus = {name: 0.25 for name in given if "__GPUS_PER_" in name}   # they ask for a group that has some
    chosen = load([], render(HEAD | {"settings": given | dict.fromkeys(on_gpus, 0)}).settings)
    with_gpus = load([], render(GPUS | {"settings": ROOTED | on_gpus}).settings)
    for path, _ in leaves(Settings):
        if (name := env_name(path)) in on_gpus:
            assert reduce(getattr, path, with_gpus) == on_gpus[name]
        elif name in given:
            found = reduce(getattr, path, chosen)
            want = sorted(given[name]) if path == ("sweep", "alphas") else given[name]
            if name == "SALTWORKS_SWEEP__CURVES":
                found = {arm: list(alphas) for arm, alphas in found.items()}
            assert (list(found) if isinstance(found, tuple) else found) == want, name


@pytest.mark.parametrize("path", options(), ids=env_name)
def test_the_chart_takes_every_option_and_its_plug_reads_it_as_it_was_written(path: tuple[str, ...]) -> None:
    for kind, chooser, bag, names in TABLES:
        for name in sorted(names) if path[: len(bag)] == bag else ():
            plug, several = plugs.find(names, name, kind), chooser == bag
            field = plug.Options.model_fields.get(path[-1])
            if field is None or (several and path[len(bag)] != name):
                continue
            value = sample(described(field))
            chosen = load([], render(HEAD | {"settings": ROOTED | {env_name(path): value}}).settings)
            bags = reduce(getattr, bag, chosen)
            found = getattr(plugs.options(plug, _with_required(plug, bags[name] if several else bags), kind), path[-1])
            assert (list(found) if isinstance(found, tuple) else found) == value


def _with_required(plug: Any, given: dict[str, Any]) -> dict[str, Any]:
    return {name: "x" for name, field in plug.Options.model_fields.items() if field.is_required()} | given


@pytest.mark.parametrize("values", SAMPLES.values(), ids=SAMPLES)
def test_the_job_knows_every_name_that_the_chart_renders(values: dict) -> None:
    rendered = render(values)
    for part, pod in operator_pods.pods(rendered).items():
        for container in containers(pod):
            env = (rendered.settings if container.get("envFrom") else {}) | {
                one["name"]: one.get("value", "in-the-pod") for one in container.get("env", [])}
            refuse_strangers(env)
            assert load([], {name: value for name, value in env.items() if name.startswith(PREFIX)}), part


@pytest.mark.parametrize("name", sorted(owned()))
def test_who_sets_what_the_chart_sets_is_told_where_it_is_set(name: str) -> None:
    assert name in {env_name(path) for path, _ in leaves(Settings)}
    with pytest.raises(Refused, match=rf"settings\.{name}: .x. is not yours to set: .+"):
        render(HEAD | {"settings": ROOTED | {name: "x"}})


def test_what_the_chart_sets_by_itself_arrives() -> None:
    rendered = render(SAMPLES["all fixed"])
    pods = operator_pods.pods(rendered)
    for part in ("head", "worker-draw", "preflight"):
        chosen = load([], environment(rendered, pods[part]["spec"]["containers"][0]))
        assert (chosen.submission, chosen.retries, chosen.stop_grace_s, chosen.progress) == (
            rendered.rayjob["metadata"]["name"], 2, 60, "json")
        assert chosen.expects == {"AWS_ACCESS_KEY_ID": "bucket/id", "HF_TOKEN": "hub/token"}
        assert chosen.image_digest == SAMPLES["all fixed"]["image"]["digest"]
    assert chosen.kubernetes.owner == "in-the-pod/in-the-pod"
    assert json.loads(rendered.one("ConfigMap", rendered.rayjob["metadata"]["name"])["data"]["rayjob.json"])["kind"] == "RayJob"


def test_no_number_arrives_as_a_float_or_rounded() -> None:
    whole = {"SALTWORKS_GENERATOR__SEED": 2**53 - 1, "SALTWORKS_TRAIN__STEPS": 1000000, "SALTWORKS_STORAGE__RETRY_S": 86400}
    assert {name: render(HEAD | {"settings": ROOTED | whole}).settings[name] for name in whole} == {
        "SALTWORKS_GENERATOR__SEED": "9007199254740991", "SALTWORKS_TRAIN__STEPS": "1000000", "SALTWORKS_STORAGE__RETRY_S": "86400"}
    with pytest.raises(Refused, match="SALTWORKS_GENERATOR__SEED"):
        render(HEAD | {"settings": ROOTED | {"SALTWORKS_GENERATOR__SEED": 2**53 + 2}})


def test_no_setting_is_a_secret() -> None:
    for path, field in leaves(Settings):
        assert "Secret" not in str(field.annotation), f"{env_name(path)}: the chart must refuse it and take it from a Secret"


def test_null_takes_a_setting_back() -> None:
    names = [env_name(path) for path, _ in leaves(Settings)]
    assert set(render(HEAD | {"settings": dict.fromkeys(names) | ROOTED}).settings) == {
        "SALTWORKS_ROOT", "SALTWORKS_PROGRESS", "SALTWORKS_RETRIES", "SALTWORKS_STOP_GRACE_S"}
