"""Cross-fitting: every image judges once per repeat, and what all folds say is said carefully."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bench.crossfit import World, crossed, truth
from job import folds, plan
from job.errors import DataError, JobError, SettingsError
from job.real.image_folder import ImageFolder
from job.records import Split
from job.settings import SplitGroup, load
from job.splitting import split
from job.statistics import HELPED, HURT, UNDECIDED
from tests.folders import LocalFolder, class_folders, write
from tests.unit.made_index import index_of

pytestmark = pytest.mark.unit
LABELS = st.lists(st.integers(5, 30), min_size=2, max_size=4).map(lambda counts: [c for c, n in enumerate(counts) for _ in range(n)])


def fold(number: int, gain: float, candidate: float = 0.5, **more: object) -> folds.Fold:
    return replace(folds.Fold(number, f"run-{number}", "", candidate, 60, 20, 5, 0.8, gain, None, ()), **more)


@settings(max_examples=25)
@given(LABELS, st.integers(3, 5), st.integers(1, 3), st.randoms())
def test_every_image_judges_once_per_repeat_and_the_parts_are_stratified(labels: list, k: int, repeats: int, random) -> None:
    random.shuffle(labels)
    names, groups = [str(label) for label in sorted(set(labels))], [f"image-{number}" for number in range(len(labels))]
    judged: Counter[int] = Counter()
    for number in range(k * repeats):
        parts = folds.assign(labels, groups, names, k, number)
        assert parts == folds.assign(labels, groups, names, k, number)   # the same for ever
        assert set(parts) == {"train", "val", "test"}
        judged.update(at for at, part in enumerate(parts) if part == "test")
        for label in set(labels):
            mine = [part for part, its in zip(parts, labels, strict=True) if its == label]
            for part in ("val", "test"):
                assert abs(mine.count(part) - len(mine) / k) < 1
    assert set(judged.values()) == {repeats}
    assert len(judged) == len(labels)


def test_repeats_draw_other_folds() -> None:
    labels, groups = [0, 1] * 20, [str(number) for number in range(40)]
    first, other = (folds.assign(labels, groups, ["a", "b"], 5, number) for number in (0, 5))
    assert first != other


def test_what_belongs_together_is_never_divided() -> None:
    labels, groups = [0, 1] * 30, [f"group-{number // 3}" for number in range(60)]
    for number in range(10):
        parts = folds.assign(labels, groups, ["a", "b"], 5, number)
        assert all(len({part for part, its in zip(parts, groups, strict=True) if its == group}) == 1 for group in set(groups))


def test_a_class_of_too_few_pictures_is_refused_with_the_number_of_folds_that_it_allows() -> None:
    with pytest.raises(DataError, match=r"class 'b' has 4 different pictures") as refused:
        folds.assign([0] * 9 + [1] * 4, [str(number) for number in range(13)], ["a", "b"], 5, 0)
    assert "SALTWORKS_SPLIT__FOLDS to 4" in refused.value.cure


@given(st.integers(3, 6), st.integers(1, 4), st.data())
def test_the_interval_is_a_t_interval_in_which_repeats_count_as_one(k: int, repeats: int, data: st.DataObject) -> None:
    gains = data.draw(st.lists(st.floats(-0.3, 0.3), min_size=k * repeats, max_size=k * repeats))
    found = folds.over_folds(gains, k)
    mean, error = float(np.mean(gains)), float(np.std(gains, ddof=1)) / k**0.5
    low, high = stats.t.interval(0.95, len(gains) - 1, mean, error) if error > 1e-12 else (mean, mean)
    assert (found.mean, found.low, found.high) == (pytest.approx(mean), pytest.approx(low, abs=1e-9), pytest.approx(high, abs=1e-9))


def test_one_fold_has_no_variance() -> None:
    with pytest.raises(JobError, match="no variance"):
        folds.over_folds([0.1], 5)


def test_the_word_follows_the_interval_and_alpha_star_is_what_most_folds_chose_ties_to_less_salt() -> None:
    up = [fold(number, 0.1 + 0.01 * (number % 3), candidate) for number, candidate in enumerate([0.5, 0.9, 0.9, 0.5, 0.25])]
    found = folds.verdict(up, 5, 0.0)
    assert (found.word, found.alpha_star, found.chosen) == (HELPED, 0.5, ((0.25, 1), (0.5, 2), (0.9, 2)))
    down = folds.verdict([replace(one, gain=-one.gain) for one in up], 5, 0.0)
    assert (down.word, down.alpha_star) == (HURT, 0.0)
    mixed = folds.verdict([replace(one, gain=one.gain * (-1) ** one.number) for one in up], 5, 0.0)
    assert (mixed.word, mixed.alpha_star) == (UNDECIDED, 0.0)
    assert mixed.smallest_detectable > abs(mixed.gain.mean)


def test_folds_that_all_gain_the_same_tell_nothing_of_how_sure_that_is() -> None:
    found = folds.verdict([fold(number, 0.1) for number in range(5)], 5, 0.0)
    assert (found.word, found.alpha_star) == (UNDECIDED, 0.0)
    assert "every fold gained the same" in found.why


def test_a_gain_in_recall_that_costs_more_accuracy_than_the_guard_allows_is_no_help_over_folds_either() -> None:
    found = folds.verdict([fold(number, 0.2 + 0.01 * number, guarded=-0.05) for number in range(5)], 5, 0.02)
    assert found.word == UNDECIDED
    assert "accuracy fell by 5" in found.why
    assert folds.verdict([fold(number, 0.2 + 0.01 * number, guarded=-0.05) for number in range(5)], 5, 0.1).word == HELPED


def test_what_the_candidate_exceeds_is_said_with_holms_correction_over_the_arms() -> None:
    each = [fold(number, 0.1 + 0.01 * number, beyond=(("placebo", 0.1 + 0.01 * number), ("reweighted", 0.1 * (-1) ** number)))
            for number in range(6)]
    words = {one.name: one.word for one in folds.verdict(each, 3, 0.0).beyond}
    assert words == {"placebo": HELPED, "reweighted": UNDECIDED}
    with pytest.raises(JobError, match="other arms"):
        folds.verdict([*each, fold(6, 0.1)], 3, 0.0)


def test_whole_procedures_without_effect_are_seldom_said_to_help_and_a_plain_t_test_over_all_folds_is_surer() -> None:
    world, rng = World("no gain", 1.6, 1.32), np.random.default_rng(4)
    true = truth(world, 90, 30, repetitions=1000)
    assert abs(true) < 0.004
    found = [crossed(world, 150, 5, 2, rng) for _ in range(150)]
    ours, plain = ([folds.over_folds(gains, by) for gains in found] for by in (5, 10))
    assert sum(one.low > 0 for one in ours) / 150 <= 0.05
    assert sum(one.low <= true <= one.high for one in ours) / 150 >= 0.93
    assert sum(one.low <= true <= one.high for one in plain) < sum(one.low <= true <= one.high for one in ours)


def test_a_small_locked_test_is_told_with_the_way_out_and_a_large_one_is_not() -> None:
    def of(tests: int, published: str = "") -> str:
        index = index_of([(number % 2, f"{number}", "", published) for number in range(tests + 80)])
        parts = pa.array(["test"] * tests + ["train"] * 80)
        table = index.table.append_column("part", parts).append_column("reason", pa.array([""] * len(parts)))
        return folds.small_test(Split(("cat", "dog"), table))

    assert of(100) == ""
    assert "20 images, which find effects of about 20 points or more: SALTWORKS_SPLIT__FOLDS=5 judges on all 100 real images" in of(20)
    assert of(20, "test").endswith("publish a larger one")   # cross-fitting would train on it


@pytest.mark.parametrize(("flags", "published", "error", "told"), [
    ((None, 0, 2), False, SettingsError, "there are no folds"),
    ((5, 10, 2), False, SettingsError, "beyond the last of 5 folds × 2 repeats"),
    ((5, 0, 2), True, SettingsError, "publishes validation or test"),
    ((5, None, 2), False, JobError, "fold by fold"),
])
def test_folds_that_cannot_be_are_refused(flags: tuple, published: bool, error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        folds.check(*flags, published)


def test_the_split_of_a_fold_holds_every_image_and_its_settings_name_another_run(tmp_path: Path) -> None:
    url = write(tmp_path, class_folders({"a": 10, "b": 12}))
    index = ImageFolder(ImageFolder.Options(url=url), LocalFolder).index()
    judged = [name for number in range(5)
              for name in split(index, SplitGroup(folds=5, repeats=1, fold=number)).part("test")["id"].to_pylist()]
    assert sorted(judged) == sorted(index.table["id"].to_pylist())
    chosen = load(["--split.folds", "5", "--edition", "spring"])
    assert chosen.crossfits
    assert chosen.all_folds == 10
    first, last = chosen.of_fold(0), chosen.of_fold(9)
    assert not first.crossfits
    assert (first.edition, last.edition) == ("spring.fold-000", "spring.fold-009")
    assert not first.publish.when_done
    plugs = plan.choose_plugs(first)
    assert plan.identity(first, plugs) != plan.identity(last, plugs)
