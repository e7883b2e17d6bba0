"""Scores and a rule → kept, rejected, failed, unused: nothing is lost, and every loss has a reason."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from job.errors import JobError, QualityError, SettingsError
from job.filtering import Rule, bitmap, decide, flag_classes, next_units, refuse_short, shortfall, tally
from job.ground.lineage import class_words
from job.records import DECISION_SCHEMA, STATES

pytestmark = pytest.mark.unit

UNIT = 8
FAILED = "failed"   # stands in a list of scores for a sample that never became an image
SCORE = st.one_of(st.floats(-3, 3, width=32), st.sampled_from([0.0, 1.0, float("nan"), FAILED]))
SCORES = st.lists(SCORE, max_size=40)
QUOTA = st.integers(0, 25)
NONE, THRESHOLD, BEST = (Rule(kind, "clipscore.margin", 0.0) for kind in ("none", "threshold", "quota"))
RULES = st.sampled_from([NONE, THRESHOLD, BEST, Rule("threshold", "clipscore.margin", 0.7)])


def law(*strategies):
    """``given`` without a deadline: on a busy machine the first example pays for imports."""
    return lambda test: settings(deadline=None)(given(*strategies)(test))


def drawn(scores, start=0):
    index = range(start, start + len(scores))
    return pa.table({
        "id": pa.array([f"syn-{at}" for at in index], pa.string()),
        "unit": pa.array([f"cat-{at // UNIT}" for at in index], pa.string()),
        "class_key": pa.array(["cat"] * len(scores), pa.string()),
        "index": pa.array(index, pa.int64()),
        "failed_reason": pa.array(["blank" if one is FAILED else "" for one in scores], pa.string()),
        "score": pa.array([None if one is FAILED else one for one in scores], pa.float32()),
    })


def states(decisions):
    return decisions["state"].to_pylist()


def reasons(decisions):
    return decisions["reason"].to_pylist()


@law(RULES, QUOTA, SCORES)
def test_every_drawn_image_gets_one_state_and_every_loss_a_reason(rule, quota, scores):
    table = drawn(scores)
    found = decide(rule, quota, table)
    assert found.schema == DECISION_SCHEMA
    assert found.select(["id", "unit", "class_key", "index"]) == table.select(["id", "unit", "class_key", "index"])
    assert set(states(found)) <= set(STATES)
    for state, reason, score in zip(states(found), reasons(found), scores, strict=True):
        assert (state == "kept") == (reason == "")
        assert (state == "failed") == (score is FAILED)
    assert states(found).count("kept") + shortfall(found, quota) == max(quota, states(found).count("kept"))
    assert states(found).count("kept") <= quota


@law(st.sampled_from([NONE, THRESHOLD]), QUOTA, SCORES, SCORES)
def test_a_further_round_takes_nothing_back(rule, quota, scores, further):
    before, after = decide(rule, quota, drawn(scores)), decide(rule, quota, drawn(scores + further))
    assert after.slice(0, len(scores)).equals(before)


@law(QUOTA, SCORES)
def test_a_threshold_keeps_the_first_that_reach_it(quota, scores):
    passing = [at for at, one in enumerate(scores) if one is not FAILED and one >= 0]
    found = states(decide(THRESHOLD, quota, drawn(scores)))
    assert [at for at, state in enumerate(found) if state == "kept"] == passing[:quota]
    assert [at for at, state in enumerate(found) if state == "unused"] == passing[quota:]


@law(st.floats(-2, 2), st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=30))
def test_the_reason_of_a_threshold_is_true_as_it_is_printed(minimum, scores):
    minimum = float(f"{minimum:g}")
    found = decide(Rule("threshold", "clipscore.margin", minimum), 99, drawn(scores))
    for state, reason in zip(states(found), reasons(found), strict=True):
        if state == "rejected":
            score, limit = re.fullmatch(r"clipscore\.margin (\S+) < (\S+)", reason).groups()
            assert float(score) < float(limit) == minimum


def test_a_score_at_the_limit_is_kept_though_it_is_stored_in_fewer_bits():
    found = decide(Rule("threshold", "clipscore.margin", 0.7), 9, drawn([0.7, 0.69999, 0.71]))
    assert states(found) == ["kept", "rejected", "kept"]
    assert reasons(found)[1] == "clipscore.margin 0.69999 < 0.7"


def test_the_reasons_read_as_sentences_about_numbers():
    assert reasons(decide(THRESHOLD, 1, drawn([-0.314, FAILED, 1.0, 2.0, float("nan")]))) == [
        "clipscore.margin -0.314 < 0", "blank", "", "beyond the quota of 1", "clipscore.margin could not be measured",
    ]
    assert reasons(decide(BEST, 2, drawn([3.1, 5.0, 4.0, FAILED, 3.05]))) == [
        "clipscore.margin 3.1 ranks 3 of 4; quota 2", "", "", "blank", "clipscore.margin 3.05 ranks 4 of 4; quota 2",
    ]


@law(QUOTA, SCORES)
def test_the_quota_rule_keeps_the_best_and_of_equals_the_earlier(quota, scores):
    seen = [(-one, at) for at, one in enumerate(scores) if one is not FAILED and one == one]
    found = states(decide(BEST, quota, drawn(scores)))
    assert {at for at, state in enumerate(found) if state == "kept"} == {at for _, at in sorted(seen)[:quota]}
    assert "unused" not in found


@law(QUOTA, SCORES)
def test_without_a_rule_scores_are_neither_looked_at_nor_written_down(quota, scores):
    table = drawn(scores)
    found = decide(NONE, quota, table)
    assert found["score"].null_count == len(scores)
    assert "rejected" not in states(found)
    assert decide(Rule("none"), quota, table.drop_columns(["score"])) == found


@pytest.mark.parametrize("spoil", [
    lambda table: table.take([1, 0]),
    lambda table: table.take([0, 0]),
    lambda table: table.set_column(2, "class_key", pa.array(["cat", "dog"])),
    lambda table: table.set_column(3, "index", pa.array([-1, 0])),
])
def test_rows_out_of_order_or_of_several_classes_are_a_defect(spoil):
    with pytest.raises(JobError, match="one class at a time"):
        decide(THRESHOLD, 2, spoil(drawn([1.0, 2.0])))


@pytest.mark.parametrize(("arguments", "cure"), [
    (("best", "clipscore.margin"), "none, threshold or quota"),
    (("threshold",), "SALTWORKS_FILTER__SCORE"),
    (("quota",), "SALTWORKS_FILTER__SCORE"),
    (("threshold", "clipscore.margin", float("nan")), "SALTWORKS_FILTER__MINIMUM"),
])
def test_a_rule_that_cannot_decide_is_refused_with_the_cure(arguments, cure):
    with pytest.raises(SettingsError) as refused:
        Rule(*arguments)
    assert cure in refused.value.cure


@law(RULES, QUOTA, SCORES, st.integers(0, 9))
def test_the_bitmap_has_a_bit_at_every_kept_index_and_nowhere_else(rule, quota, scores, start):
    found = decide(rule, quota, drawn(scores, start))
    kept = bitmap(found, "kept", start + len(scores))
    assert kept.dtype == bool
    assert np.flatnonzero(kept).tolist() == [start + at for at, state in enumerate(states(found)) if state == "kept"]


def test_a_kept_index_that_was_never_drawn_is_a_defect():
    with pytest.raises(JobError, match="index 2 is kept"):
        bitmap(decide(NONE, 9, drawn([1.0] * 3)), "kept", 2)


@law(st.sampled_from([NONE, THRESHOLD]), QUOTA, SCORES, st.integers(1, 16))
def test_further_units_are_ordered_exactly_when_images_are_lacking(rule, quota, scores, unit_size):
    found = decide(rule, quota, drawn(scores))
    lacking, units = shortfall(found, quota), next_units(found, quota, unit_size)
    assert (units > 0) == (lacking > 0)
    if lacking:
        passed = sum(state in ("kept", "unused") for state in states(found))
        assert (units - 1) * unit_size < max(1, len(scores) * (1 + passed), lacking if not scores else 0)   # never runs away


@law(st.integers(1, 200), st.integers(1, 30), st.data())
def test_the_units_ordered_suffice_if_the_pass_rate_holds(drawn_images, unit_size, data):
    passed = data.draw(st.integers(1, drawn_images))
    quota = passed + data.draw(st.integers(1, passed * (1 + passed)))   # what the evidence allows to order at once
    found = decide(THRESHOLD, quota, drawn([1.0] * passed + [-1.0] * (drawn_images - passed)))
    further = next_units(found, quota, unit_size) * unit_size
    assert further * passed >= shortfall(found, quota) * drawn_images
    assert (further - unit_size) * passed < shortfall(found, quota) * drawn_images


def test_a_class_of_which_nothing_passed_at_most_doubles():
    assert next_units(decide(THRESHOLD, 1000, drawn([-1.0] * 32)), 1000, UNIT) == 4
    assert next_units(decide(THRESHOLD, 3, drawn([-1.0] * 32)), 3, UNIT) == 1
    assert next_units(decide(THRESHOLD, 20, drawn([])), 20, UNIT) == 3


def test_a_class_that_stays_short_ends_the_run_with_its_numbers_and_a_cure():
    crane = tally(class_words(0, "crane"), decide(NONE, 72, drawn([1.0] * 60)), pa.table({"unit": []}), 72, UNIT)
    error = refuse_short([crane], [72], 3)
    assert isinstance(error, QualityError)
    assert error.exit_code == 65
    assert error.problem == "crane has 60 of 72 images after 3 rounds: 12 missing"
    assert "SALTWORKS_FILTER__MAX_ROUNDS" in error.cure


@law(RULES, QUOTA, SCORES)
def test_a_tally_says_what_the_decisions_say(rule, quota, scores):
    found = decide(rule, quota, drawn(scores))
    told = tally(class_words(0, "cat"), found, pa.table({"unit": ["u"] * 3, "index": [0, 1, 2], "m.x": [1.0, None, 3.0]}), quota, UNIT)
    assert told.drawn == sum(told.states.values()) == len(scores)
    assert {state: states(found).count(state) for state in STATES} == told.states
    assert told.kept.tolist() == [one == "kept" for one in states(found)]
    assert (told.short, told.further) == (shortfall(found, quota), next_units(found, quota, UNIT))
    assert told.means == {"m.x": 2.0}
    shown = ["kept"] * min(6, told.states["kept"]) + ["rejected"] * min(3, told.states["rejected"])
    assert [row["state"] for row in told.examples] == shown


def test_a_class_far_below_its_peers_is_flagged_and_no_other():
    means = {"a": 1.0, "b": 1.1, "c": 0.9, "d": -2.0, "e": 1.05}
    ((key, reason),) = flag_classes(means, score="clipscore.margin", floor=0.5)
    assert key == "d"
    assert reason.startswith("mean clipscore.margin -2 lies 3.02 below the median 1.02 of the other 4 classes")


@law(st.lists(st.floats(-5, 5), max_size=8), st.floats(0, 2), st.floats(-10, 10))
def test_a_flag_does_not_depend_on_where_the_score_has_its_zero(values, floor, shift):
    values = [round(one, 3) for one in values]

    def flagged(means):
        found = flag_classes({str(at): one for at, one in enumerate(means)}, score="s.t", floor=floor + 1e-6)
        return {key for key, _ in found}

    assert flagged(values) == flagged([one + round(shift, 3) for one in values])
    assert len(flagged(values)) <= len(values) / 2
    if values:
        assert str(int(np.argmax(values))) not in flagged(values)


@law(st.lists(st.floats(-5, 5), min_size=3, max_size=8))
def test_classes_within_the_floor_of_each_other_are_peers(values):
    means = {str(at): one for at, one in enumerate(values)}
    assert flag_classes(means, score="s.t", floor=10.0) == ()


def test_two_classes_have_too_few_peers_and_a_mean_of_nothing_is_flagged():
    assert flag_classes({"a": 9.0, "b": -9.0}, score="s.t", floor=0.1) == ()
    assert flag_classes({"a": 9.0, "b": float("nan")}, score="s.t", floor=0.1) == (("b", "no mean s.t could be taken"),)
