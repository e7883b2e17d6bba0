"""Which runs may be compared, what differs between them, and the laws of the difference: all on made-up plans and answers."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job import comparing, statistics
from job.errors import DataError, JobError
from job.records import Split
from job.results import TrialResult
from job.runplan import Objective, RunPlan
from job.statistics import HELPED, HURT, UNDECIDED
from tests.unit.made_run import make_run
from tests.unit.publishing import folder

pytestmark = pytest.mark.unit
SEEDS, IMAGES = 5, 80


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunPlan, Split]:
    """A plan and its split."""
    place = tmp_path_factory.mktemp("made")
    made = make_run(folder(place / "root"), place / "real", finished=False)
    return made.planned, made.split


def answers(correct_SN: np.ndarray, alpha: float = 0.5) -> TrialResult:
    seeds, each = tuple(range(len(correct_SN))), (1.0,) * len(correct_SN)
    return TrialResult(f"trial-{alpha}", alpha, alpha, 8, 8, 1, seeds, "test", correct_SN.astype(np.uint8), each, each, each, 1.0)


def noisy(seed: int, share: float = 0.7) -> np.ndarray:
    return np.random.default_rng(seed).random((SEEDS, IMAGES)) < share


@given(st.integers(0, 10**6), st.integers(1, 4))
def test_runs_with_the_same_answers_differ_by_exactly_nothing(seed: int, others: int) -> None:
    one = answers(noisy(seed))
    for found in comparing.judged(one, {f"run-{at}": one for at in range(others)}):
        assert (found.gain.mean, found.gain.low, found.gain.high, found.at_worst) == (0, 0, 0, 0)
        assert (found.gain.word, found.gain.p_holm) == (UNDECIDED, 1)
        assert "nothing to decide" in found.why


@given(st.integers(0, 10**6), st.integers(20, 40))
def test_a_run_that_is_right_on_so_many_more_images_is_told_so_and_turned_round_it_is_the_loss(seed: int, more: int) -> None:
    base = noisy(seed)
    base[:, :more] = False
    better = base.copy()
    better[:, :more] = True
    (up,) = comparing.judged(answers(base), {"b": answers(better)})
    (down,) = comparing.judged(answers(better), {"a": answers(base)})
    assert up.gain.mean == pytest.approx(more / IMAGES)
    assert (up.gain.word, down.gain.word, up.why, down.why) == (HELPED, HURT, "", "")
    assert (down.gain.mean, down.gain.low, down.gain.high) == pytest.approx((-up.gain.mean, -up.gain.high, -up.gain.low))


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_each_is_judged_as_the_decision_judges_and_several_are_worse_at_worst(seed: int, others: int) -> None:
    base, its = answers(noisy(seed)), {f"run-{at}": answers(noisy(seed + 1 + at)) for at in range(others)}
    for found, one in zip(comparing.judged(base, its), its.values(), strict=True):
        interval = statistics.interval(one.correct_SN, base.correct_SN)
        (alone,) = comparing.judged(base, {"b": one})
        assert (found.gain.low, found.gain.high) == (interval.low, interval.high)
        assert alone.at_worst == pytest.approx(interval.low)
        assert found.at_worst < alone.at_worst
        assert found.gain.p_holm >= alone.gain.p_holm
        assert alone.smallest_detectable == statistics.smallest_detectable(interval)
        assert found.smallest_detectable == statistics.smallest_detectable(interval, others) > alone.smallest_detectable


@pytest.mark.parametrize("of", [1, 6])
def test_an_effect_that_is_called_detectable_is_found_by_its_word_among_all_that_are_compared(of: int) -> None:
    rng, tries, size = np.random.default_rng(5), 400, 400

    def first(effect: float) -> comparing.Compared:
        """Of so many comparisons, of which this one has a true effect."""
        hard = rng.random(size)   # images that are as hard for every run
        right = [rng.random((SEEDS, size)) < 0.5 + 0.2 * hard + effect * (at == 1) for at in range(of + 1)]
        return comparing.judged(answers(right[0]), {str(at): answers(one) for at, one in enumerate(right[1:])})[0]

    effect = float(np.median([first(0.0).smallest_detectable for _ in range(tries)]))
    found = sum(first(effect).gain.word == HELPED for _ in range(tries))
    assert 0.6 <= found / tries <= 0.9   # 65 to 80 % are said, and this is within two standard errors


def test_from_two_seeds_nothing_is_worse_at_worst_than_all_that_a_difference_could_be() -> None:
    its = {f"run-{at}": answers(noisy(at + 1)[:2]) for at in range(6)}
    assert min(one.at_worst for one in comparing.judged(answers(noisy(0)[:2]), its)) >= -1


def test_all_that_are_compared_lie_above_their_worst_in_975_of_1000_cases() -> None:
    rng, held, tries, of = np.random.default_rng(3), 0, 400, 4
    for _ in range(tries):
        hard = rng.random(300)   # images that are as hard for every run
        right = [(rng.random((SEEDS, 300)) < 0.4 + 0.5 * hard) for _ in range(of + 1)]
        found = comparing.judged(answers(right[0]), {str(at): answers(one) for at, one in enumerate(right[1:])})
        held += all(one.at_worst <= 0 for one in found)
    assert held / tries >= 0.96   # within two standard errors


def test_what_only_the_correction_leaves_open_says_so() -> None:
    base = noisy(0, 0.6)
    base[:, :9], its = False, {f"run-{at}": answers(base) for at in range(30)}
    better = base.copy()
    better[:, :5] = True
    (alone,) = comparing.judged(answers(base), {"a": answers(better)})
    *_, found = comparing.judged(answers(base), {**its, "a": answers(better)})
    assert (alone.gain.word, found.gain.word) == (HELPED, UNDECIDED)
    assert "corrected for 31 comparisons" in found.why


def test_a_gain_in_recall_that_costs_more_accuracy_than_the_guard_allows_is_no_help() -> None:
    base = np.zeros((SEEDS, IMAGES), bool)
    base[:, 20:] = True
    rare = ~base
    rare[:, 40:] = True                          # right on the 20 rare ones, wrong on 20 others of 60
    rare[:, 20:45] = False
    weights = np.r_[np.full(20, 1 / 20), np.zeros(60)]
    (found,) = comparing.judged(answers(base), {"b": answers(rare)}, weights, guard=0.02)
    assert (found.gain.mean, found.gain.word) == (1, UNDECIDED)
    assert found.guarded
    assert found.guarded.mean == pytest.approx(-5 / 80)
    assert "SALTWORKS_SWEEP__GUARD" in found.why
    assert comparing.judged(answers(base), {"b": answers(rare)}, weights, guard=0.1)[0].gain.word == HELPED


def test_answers_under_other_seeds_are_no_pair() -> None:
    with pytest.raises(JobError, match="not paired by seed"):
        comparing.judged(answers(noisy(0)), {"b": replace(answers(noisy(1)), seeds=(5, 6, 7, 8, 9))})


def test_runs_that_were_split_trained_and_judged_alike_may_be_compared_whatever_drew_their_images(planned: tuple) -> None:
    plan, split = planned
    other = replace(plan, run="other", generator_options='{"noise":0.5}', alphas=(0.0, 0.9), sweep_seeds=(1,), source_options="{}")
    comparing.check(planned, (other, split))


@pytest.mark.parametrize(("change", "told", "cure"), [
    ({"task_options": '{"flip":true,"model":"small_cnn","shift_px":0}'}, "task.options.flip is false in the first and true in the second",
     "SALTWORKS_TASK__OPTIONS__FLIP=false"),
    ({"task": "segmentation"}, "task.name is classification in the first and segmentation in the second",
     "SALTWORKS_TASK__NAME=classification"),
    ({"objective": Objective("recall", (1,), 0.02)}, "sweep.objective is accuracy in the first and recall in the second",
     "SALTWORKS_SWEEP__OBJECTIVE=accuracy"),
    ({"steps": 7}, "train.steps is 300 in the first and 7 in the second", "SALTWORKS_TRAIN__STEPS=300"),
    ({"confirm_seeds": (1, 2, 3)}, "sweep.confirm_seeds is 5 in the first and 3 in the second", "SALTWORKS_SWEEP__CONFIRM_SEEDS=5"),
])
def test_runs_that_were_trained_or_judged_otherwise_are_refused_with_what_differs_and_the_cure(
    planned: tuple, change: dict, told: str, cure: str
) -> None:
    plan, split = planned
    if "steps" in change:
        change = {"schedule": replace(plan.schedule, **change)}
    with pytest.raises(DataError) as refused:
        comparing.check(planned, (replace(plan, run="other", **change), split))
    assert told in refused.value.problem
    assert cure in refused.value.cure


@pytest.mark.parametrize(("part", "name"), [("test", "locked test"), ("val", "validation"), ("train", "training set")])
@pytest.mark.parametrize("column", ["digest", "label"])
def test_runs_on_another_split_are_refused_by_the_part_that_differs(planned: tuple, part: str, name: str, column: str) -> None:
    plan, split = planned
    rows = split.table.to_pylist()
    mine = next(row for row in rows if row["part"] == part)
    mine[column] = "another" if column == "digest" else mine["label"] + 1
    with pytest.raises(DataError, match=f"another {name}") as refused:
        comparing.check(planned, (replace(plan, run="other"), Split(split.classes, pa.Table.from_pylist(rows, split.table.schema))))
    assert "SALTWORKS_SPLIT" in refused.value.cure


def test_what_differs_is_told_by_the_name_of_its_setting_and_nothing_else_is(planned: tuple) -> None:
    plan, _ = planned
    assert comparing.differs([plan, replace(plan, run="other", arms=("placebo",), source_options="{}", unit_size=4)]) == {}
    other = replace(plan, generator_options='{"blank_share":0.75,"more":1}', filter=replace(plan.filter, minimum=0.5), alphas=(0.0, 0.5))
    found = comparing.differs([plan, other])
    assert found["generator.options.noise"] == ("0.25", "–")
    assert found["generator.options.more"] == ("–", "1")
    assert found["filter.minimum"] == ("0.0", "0.5")
    assert found["sweep.alphas"] == ("[0.0,0.5,0.75]", "[0.0,0.5]")
    assert "generator.options.blank_share" not in found


def test_it_warns_of_other_alphas_other_machines_and_few_seeds(planned: tuple) -> None:
    plan, _ = planned
    same, base = answers(noisy(0)), answers(noisy(1), alpha=0.0)
    assert comparing.warnings([plan, plan], [same, same], [base, base]) == []
    (alphas,) = comparing.warnings([plan, plan], [same, replace(same, alpha=0.9)], [base, base])
    assert "other α (0.5, 0.9)" in alphas
    (machines,) = comparing.warnings([plan, replace(plan, run="other")], [same, same], [base, answers(np.ones((SEEDS, IMAGES)), 0.0)])
    assert "to other" in machines
    longer = replace(plan, schedule=replace(plan.schedule, epochs=3.0))
    assert "confounded" in comparing.warnings([longer, longer], [same, same], [base, base])[0]
    few = replace(plan, confirm_seeds=(1, 2))
    assert "2 seeds" in comparing.warnings([few, few], [same, same], [base, base])[0]
