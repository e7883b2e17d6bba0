"""Values that cannot work are refused before anything is made, with the path, the value, and the way out."""

import json

import pytest

from tests.chart.engine import Refused, render
from tests.chart.wrong_values import GOOD, RULES, SCHEMA, merged

pytestmark = pytest.mark.chart


def case(wrong: tuple) -> str:
    return json.dumps(wrong[0])[:70]


def test_the_good_values_are_good() -> None:
    assert render(GOOD).rayjob


@pytest.mark.parametrize("wrong", SCHEMA, ids=case)
def test_the_schema_refuses_what_one_value_tells_and_says_where(wrong: tuple) -> None:
    with pytest.raises(Refused, match="specifications of the schema") as refused:
        render(merged(wrong[0]))
    assert not [one for one in wrong[1] if one not in str(refused.value)], str(refused.value)


@pytest.mark.parametrize("wrong", RULES, ids=case)
def test_a_rule_refuses_what_several_values_tell_and_says_the_cure(wrong: tuple) -> None:
    with pytest.raises(Refused, match="execution error") as refused:
        render(merged(wrong[0]))
    lines = str(refused.value).splitlines()[1:]
    assert [line for line in lines if all(one in line for one in wrong[1])], lines


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(Refused) as refused:
        render({"settings": {}, "kueue": {"priorityClass": "p"}, "rayVersion": "2.40.0"})
    assert all(one in str(refused.value) for one in ("head.rayCpus", "SALTWORKS_ROOT", "kueue.priorityClass", "rayVersion"))


@pytest.mark.parametrize("name", ["9lives", "2026-run"])
def test_a_release_name_that_ray_cannot_bear_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="begin with a letter"):
        render(GOOD, name)


def test_no_refusal_repeats_a_secret() -> None:
    for wrong in ({"env": {"HF_TOKEN": "hf_canary"}}, {"settings": {"SALTWORKS_ROOT": "s3://me:canary@host/x"}}):
        with pytest.raises(Refused) as refused:
            render(merged(wrong))
        assert "canary" not in str(refused.value)


@pytest.mark.parametrize("right", [
    {"env": {"TOKENIZERS_PARALLELISM": "false", "AWS_WEB_IDENTITY_TOKEN_FILE": "/t", "PASSES": "3"}},
    {"settings": {"SALTWORKS_REAL__OPTIONS": {"url": "s3://bucket/me:you@here"}}},
    {"settings": {"SALTWORKS_ROOT": "file:///data"}, "storage": {"claim": {"existing": "mine"}}},
    {"settings": {"SALTWORKS_ROOT": "/data/"}, "storage": {"claim": {"existing": "mine"}}},
    {"workerGroups": [{"name": "draw", "gpus": 1}, {"name": "tasks", "role": "cpu", "minReplicas": 1}]},
    {"scaling": "fixed", "workerDefaults": {"replicas": 3}, "workerGroups": [{"name": "draw", "gpus": 1}]},
    {"storage": {"modelCache": {"claim": "models", "size": "500Gi"}}},
    {"scaling": "fixed", "kueue": {"queueName": "lq"}, "workerGroups": [{"name": f"g{at}", "gpus": 1} for at in range(6)]},
], ids=str)
def test_what_only_looks_wrong_is_not_refused(right: dict) -> None:
    assert render(merged(right)).rayjob
