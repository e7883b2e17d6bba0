"""What α means: how many synthetic images, of which class, and which ones."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from job.arms import find
from job.errors import DataError, QualityError, SettingsError
from job.ground.lineage import class_words, mix_id
from job.mixing import allocate, check_supply, mix, needed, sweep_alphas, total_synthetic
from job.records import Salting

pytestmark = pytest.mark.unit

GRID = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
RULES = st.sampled_from(["proportional", "equal"])
COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)
BETWEEN = st.decimals("0.05", "0.95", places=2).map(float)


def law(*strategies):
    """``given`` without a deadline: on a busy machine the first example pays for imports."""
    return lambda test: settings(deadline=None)(given(*strategies)(test))


def words_of(counts):
    return [class_words(label, f"class {label}") for label in range(len(counts))]


def real(counts):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [f"real-{at}" for at in range(len(labels))], labels


def supply(words, images, share=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return {one.key: rng.random(images) < share for one in words}


@pytest.mark.parametrize(("alpha", "n_real", "total"), [
    (0.0, 80, 0), (0.9, 80, 720), (0.75, 800, 2400), (0.5, 81, 81), (0.25, 800, 267), (0.2, 2, 0.5), (1.0, 80, 720),
    (0.99, 80, 7920), (np.float32(0.5), 10, 10),
])
def test_the_total_is_alpha_over_its_rest_times_the_real_images(alpha, n_real, total):
    if total == 0.5:   # half an image rounds to the even 0, and a share of nothing is refused
        with pytest.raises(SettingsError, match="less than one synthetic image"):
            total_synthetic(alpha, n_real, GRID)
    else:
        assert total_synthetic(alpha, n_real, GRID) == total


@law(st.decimals("0.001", "0.999", places=3), st.integers(1, 5000))
def test_the_total_is_exact_to_half_an_image_however_alpha_is_written(alpha, n_real):
    exact = Fraction(alpha) / (1 - Fraction(alpha)) * n_real
    assume(exact > Fraction(1, 2))
    assert abs(total_synthetic(float(alpha), n_real, GRID) - exact) <= Fraction(1, 2)


def test_all_synthetic_needs_an_alpha_to_follow():
    with pytest.raises(SettingsError, match="there is none"):
        total_synthetic(1.0, 80, (0.0, 1.0))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_beyond_the_whole_is_refused_everywhere(alpha):
    with pytest.raises(SettingsError, match="no share"):
        total_synthetic(alpha, 80, GRID)
    with pytest.raises(SettingsError, match="no share"):
        sweep_alphas((0.0, 0.5, alpha))


def test_the_grid_is_sorted_and_each_alpha_stands_once():
    assert sweep_alphas((0.9, 0, 0.5, 0.9, -0.0, 1)) == (0.0, 0.5, 0.9, 1.0)
    assert str(sweep_alphas((-0.0, 0.5))[0]) == "0.0"


@pytest.mark.parametrize("alphas", [(), (0.5, 0.9), (0.0,), (0.0, 1.0)])
def test_a_grid_that_can_answer_nothing_is_refused_with_the_cure(alphas):
    with pytest.raises(SettingsError) as refused:
        sweep_alphas(alphas)
    assert "SALTWORKS_SWEEP__ALPHAS" in refused.value.cure


@law(st.integers(0, 10_000), COUNTS, RULES)
def test_the_classes_get_their_exact_share_rounded_down_or_up_and_the_whole_total(total, counts, rule):
    takes = allocate(total, counts, Salting(rule))
    weights = counts if rule == "proportional" else [1] * len(counts)
    assert sum(takes) == total
    for take, weight in zip(takes, weights, strict=True):
        assert 0 <= take - total * weight // sum(weights) <= 1
        assert weight or not take


@law(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 6))
def test_among_equal_classes_the_earlier_ones_get_the_remainder(total, count, classes):
    takes = allocate(total, [count] * classes)
    assert list(takes) == sorted(takes, reverse=True)
    assert takes == allocate(total, [count] * classes, Salting("equal"))


@law(st.integers(0, 1000), COUNTS, st.integers(1, 50))
def test_only_the_proportions_of_the_real_classes_count(total, counts, factor):
    assert allocate(total, counts) == allocate(total, [factor * count for count in counts])


def test_an_unknown_rule_and_a_set_without_real_images_are_refused():
    with pytest.raises(SettingsError, match="'fair'"):
        allocate(10, [1, 2], Salting("fair"))
    with pytest.raises(DataError, match="no class"):
        allocate(10, [0, 0])


@law(COUNTS, st.lists(BETWEEN, min_size=1, max_size=4), RULES)
def test_what_is_needed_serves_every_alpha_and_not_one_image_less_would(counts, alphas, rule):
    assume(sum(counts) >= 20)
    alphas = (0.0, *alphas, 1.0)
    words, (ids, labels) = words_of(counts), real(counts)
    need = needed(alphas, counts, Salting(rule))
    kept = {one.key: np.ones(count, dtype=bool) for one, count in zip(words, need, strict=True)}
    for alpha in alphas:
        mix(alpha, alphas, ids, labels, words, kept, Salting(rule))
    for at, one in enumerate(words):
        if need[at]:
            poorer = kept | {one.key: kept[one.key][1:]}
            with pytest.raises(QualityError, match="1 missing"):
                [mix(alpha, alphas, ids, labels, words, poorer, Salting(rule)) for alpha in alphas]


def test_a_plan_that_is_too_small_is_refused_by_name_and_number_before_anything_is_drawn():
    check_supply((72, 72), (72, 80), ("zero", "one"))
    with pytest.raises(SettingsError) as refused:
        check_supply((72, 40, 72, 72, 72), (60, 40, 70, 0, 71), ("zero", "one", "two", "three", "four"))
    assert "87 missing: zero 12 (60 of 72), two 2 (70 of 72), three 72 (0 of 72) and 1 more classes" in refused.value.problem
    assert "SALTWORKS_GENERATOR__IMAGES_PER_CLASS to 72 or auto" in refused.value.cure
    assert refused.value.exit_code == 64


def test_a_short_class_is_refused_never_capped():
    words, (ids, labels) = words_of([8, 8]), real([8, 8])
    with pytest.raises(QualityError, match=r"class 1 2 \(70 of 72\)") as refused:
        mix(0.9, GRID, ids, labels, words, {words[0].key: np.ones(72, bool), words[1].key: np.ones(70, bool)})
    assert refused.value.exit_code == 65


@law(COUNTS, st.one_of(BETWEEN, st.just(0.0)), RULES)
def test_the_realised_share_is_the_asked_one_to_half_an_image(counts, alpha, rule):
    assume(sum(counts) >= 20)
    words, (ids, labels) = words_of(counts), real(counts)
    made = mix(alpha, GRID, ids, labels, words, supply(words, 3000), Salting(rule))
    assert made.real_ids == tuple(ids)
    assert made.realised_alpha == made.n_synthetic / (made.n_synthetic + made.n_real)
    assert abs(made.realised_alpha - alpha) <= 1 / (2 * (made.n_real + made.n_synthetic)) + 1e-12


def test_zero_is_real_only_and_one_is_synthetic_only_with_as_many_images_as_the_largest_below():
    words, (ids, labels) = words_of([8] * 10), real([8] * 10)
    kept = supply(words, 100)
    none, most, all_of_it = (mix(alpha, GRID, ids, labels, words, kept) for alpha in (0.0, 0.9, 1.0))
    assert (none.real_ids, none.synthetic, none.realised_alpha) == (tuple(ids), (), 0.0)
    assert (all_of_it.real_ids, all_of_it.synthetic, all_of_it.realised_alpha) == ((), most.synthetic, 1.0)
    assert most.n_synthetic == 720


@law(COUNTS, BETWEEN, RULES, st.floats(0.5, 1), st.integers(0, 9))
def test_a_mix_takes_the_first_kept_images_of_each_class_and_no_other(counts, alpha, rule, share, seed):
    assume(sum(counts) >= 20)
    words, (ids, labels) = words_of(counts), real(counts)
    kept = supply(words, 9000 // len(words) * 2, share, seed)
    made = mix(alpha, GRID, ids, labels, words, kept, Salting(rule))
    takes = {take.words.key: take for take in made.synthetic}
    for one, asked in zip(words, allocate(made.n_synthetic, counts, Salting(rule)), strict=True):
        assert (one.key in takes) == (asked > 0)
        if asked:
            indices = takes[one.key].indices()
            assert takes[one.key].count == len(indices) == asked
            assert takes[one.key].hi == indices[-1] + 1
            assert (indices == np.flatnonzero(kept[one.key])[:asked]).all()


@law(COUNTS, BETWEEN, BETWEEN, RULES)
def test_mixes_are_nested_wherever_a_class_grows_by_an_image(counts, one, other, rule):
    assume(sum(counts) >= 20)
    words, (ids, labels) = words_of(counts), real(counts)
    kept = supply(words, 3000, 0.8)
    less, more = (mix(alpha, GRID, ids, labels, words, kept, Salting(rule)) for alpha in sorted((one, other)))
    larger = {take.words.key: set(take.indices()) for take in more.synthetic}
    weights = dict(zip((word.key for word in words), counts if rule == "proportional" else [1] * len(counts), strict=True))
    for take in less.synthetic:
        lost = set(take.indices()) - larger.get(take.words.key, set())
        grows = (more.n_synthetic - less.n_synthetic) * weights[take.words.key] >= sum(weights.values())
        assert len(lost) <= (0 if grows or rule == "equal" else 1)


@law(BETWEEN, st.integers(1, 500))
def test_images_kept_beyond_the_taken_ones_leave_the_mix_and_its_id_alone(alpha, further):
    words, (ids, labels) = words_of([10, 15]), real([10, 15])
    kept = supply(words, 600, 0.9)
    grown = {key: np.concatenate([bits, np.ones(further, bool)]) for key, bits in kept.items()}
    made, again = (mix(alpha, GRID, ids, labels, words, bits) for bits in (kept, grown))
    assert made == again
    assert mix_id(made, "recipe") == mix_id(again, "recipe")


def test_labels_that_nobody_described_and_sets_without_real_images_are_bad_data():
    words = words_of([1, 1])
    with pytest.raises(DataError, match="unknown label 5"):
        mix(0.0, GRID, ["a", "b"], [0, 5], words, {})
    for ids, labels in (([], []), (["a"], [0, 1])):
        with pytest.raises(DataError, match="real training images"):
            mix(0.0, GRID, ids, labels, words, {})


SALTINGS = st.builds(Salting, st.sampled_from(["proportional", "equal"]), st.just(()), st.sampled_from(["matched", "all"]),
                     st.sampled_from(["draws", "loss"]))


@law(COUNTS.filter(lambda counts: min(counts) > 0), BETWEEN, SALTINGS)
def test_a_placebo_stands_where_the_synthetic_images_stood_class_by_class(counts, alpha, salting):
    assume(round(alpha / (1 - alpha) * sum(counts)))
    ids, labels = real(counts)
    words = words_of(counts)
    arguments = (alpha, GRID, ids, labels, words, supply(words, 1200), salting)
    salted, placebo = mix(*arguments), mix(*arguments[:5], {}, salting, find("placebo"))
    assert placebo.synthetic == ()
    assert placebo.shares == salted.shares
    label_of = dict(zip(ids, labels, strict=True))
    for one in words:
        copies = [count for name, count in placebo.copies if label_of[name] == one.label]
        taken = sum(take.count for take in salted.synthetic if take.words.key == one.key)
        if salting.supply == "matched":
            assert sum(copies) == taken
            spread = [*copies, *[0] * (counts[one.label] - len(copies))]
            assert max(spread) - min(spread) <= 1   # every real image as often as every other
    assert set(label_of) >= {name for name, _ in placebo.copies}   # nothing but training images
    assert len({mix_id(salted, "r"), mix_id(placebo, "r"), mix_id(mix(0.0, *arguments[1:]), "r")}) == 3


@law(COUNTS, BETWEEN, SALTINGS.filter(lambda salting: salting.supply == "all"))
def test_all_that_was_kept_stands_there_and_shares_what_alpha_gives_it(counts, alpha, salting):
    assume(round(alpha / (1 - alpha) * sum(counts)))
    ids, labels = real(counts)
    words = words_of(counts)
    made = mix(alpha, GRID, ids, labels, words, supply(words, 1200), salting)
    asked = allocate(total_synthetic(alpha, len(ids), GRID), counts, salting)
    assert {take.words.label: take.count for take in made.synthetic} == {
        label: max(1200, count) for label, count in enumerate(asked) if count}
    assert sum(one.share for one in made.shares) == pytest.approx(1)
    assert sum(one.share for one in made.shares if not one.real) == pytest.approx(alpha)
    for one in made.shares:   # as if as many stood there as were asked for
        of = asked[one.label] * alpha / sum(asked) if not one.real else counts[one.label] * (1 - alpha) / len(ids)
        assert one.share == pytest.approx(of)
    assert made.in_loss == (salting.weighting == "loss")


@law(st.lists(st.integers(1, 60), min_size=2, max_size=6), BETWEEN, st.data())
def test_only_the_named_classes_get_synthetic_images_and_in_all_as_many(counts, alpha, data):
    assume(round(alpha / (1 - alpha) * sum(counts)))
    total = total_synthetic(alpha, sum(counts), GRID)
    only = tuple(data.draw(st.sets(st.integers(0, len(counts) - 1), min_size=1)))
    takes = allocate(total, counts, Salting("only", only))
    assert sum(takes) == total
    assert {at for at, count in enumerate(takes) if count} <= set(only)


def test_only_without_a_class_and_a_class_without_only_are_refused():
    for salting in (Salting("only"), Salting("equal", (0,))):
        with pytest.raises(SettingsError, match="classes are named for it"):
            allocate(5, [1, 2], salting)


def test_a_reweighted_set_is_real_alone_and_every_class_gets_the_same():
    ids, labels = real([30, 0, 6])
    made = mix(0.0, GRID, ids, labels, words_of([30, 0, 6]), {}, Salting(), find("reweighted"))
    assert (made.real_ids, made.synthetic, made.copies) == (tuple(ids), (), ())
    assert [(one.label, one.real, one.share) for one in made.shares] == [(0, True, 0.5), (2, True, 0.5)]
