"""A plan is frozen as JSON and comes back as it was."""

import json
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.records import Recipe, Salting
from job.results import CostLine
from job.runplan import FilterPlan, MetricPlan, Objective, Price, RunPlan, Schedule, from_plain, plain

pytestmark = pytest.mark.unit
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RATES = st.none() | NUMBERS


def built(kind: Any, **floats: Any) -> Any:
    """Any noun of the kind; floats are finite, as settings make sure."""
    return st.builds(kind, **floats)


PLANS = built(
    RunPlan, failed_share=NUMBERS, unit_deadline_s=NUMBERS, fit_deadline_s=NUMBERS, alphas=st.lists(NUMBERS, max_size=4).map(tuple),
    filter=built(FilterPlan, minimum=NUMBERS, oversample=NUMBERS),
    schedule=built(Schedule, learning_rate=NUMBERS, weight_decay=NUMBERS, epochs=RATES),
    curves=st.lists(st.tuples(st.text(), NUMBERS), max_size=3).map(tuple), objective=built(Objective, guard=NUMBERS),
    price=built(Price, per_gpu_hour=RATES, per_cpu_hour=RATES),
)


def kinds(value: Any) -> Any:
    """The value with its type, all the way down: 1 == 1.0 == True would hide a change."""
    if isinstance(value, tuple):
        return tuple(kinds(one) for one in value)
    if hasattr(value, "__slots__") and hasattr(value, "__dataclass_fields__"):
        return type(value), tuple(kinds(getattr(value, field.name)) for field in fields(value))
    return type(value), value


@given(PLANS)
def test_a_plan_comes_back_from_json_as_it_was(made: RunPlan) -> None:
    text = json.dumps(plain(made), indent=1, sort_keys=True)
    back = from_plain(RunPlan, json.loads(text))
    assert back == made
    assert kinds(back) == kinds(made)
    assert json.dumps(plain(back), indent=1, sort_keys=True) == text


@given(PLANS)
def test_what_is_written_is_plain_json(made: RunPlan) -> None:
    def walk(value: Any) -> None:
        assert value is None or type(value) in (str, int, float, bool, list, dict)
        for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(one)

    walk(plain(made))
    assert set(plain(made)) == {field.name for field in fields(RunPlan)}


@pytest.mark.parametrize("kind", [Recipe, MetricPlan, FilterPlan, Salting, Objective, Schedule, Price, CostLine])
def test_every_noun_of_a_plan_comes_back_on_its_own(kind: Any) -> None:
    made = kind(**{field.name: ("a", "b") if "tuple" in str(field.type) else f"<{field.name}>" for field in fields(kind)})
    assert from_plain(kind, plain(made)) == made
    assert replace(made) == made


@pytest.mark.parametrize("field", [field.name for field in fields(RunPlan)])
def test_a_plan_without_one_of_its_fields_is_no_plan(field: str) -> None:
    made = plain(RunPlan(**{one.name: () for one in fields(RunPlan)} | {
        "recipe": Recipe("", "", "", "", (), 0, "", 0), "filter": FilterPlan("", "", 0, 0, 0), "schedule": Schedule(1, 1, 0, 0, 8, 1),
        "price": Price(None, None, "", "", ""), "salting": Salting(), "objective": Objective(),
    }))
    del made[field]
    with pytest.raises(KeyError, match=field):
        from_plain(RunPlan, made)


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_every_training_sees_as_many_samples_as_steps_and_batch_say(steps: int, batch: int) -> None:
    made = Schedule(steps, batch, 0.1, 0.0, 16, 1)
    assert made.samples_seen == steps * batch
    assert "samples_seen" not in asdict(made)   # computed, never stored: it cannot disagree
