"""What every mix of every arm keeps to, whatever the split, the allocation and the supply."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from job import arms
from job.errors import QualityError
from job.ground.lineage import class_words, make_recipe, mix_id, sample_id
from job.mixing import allocate, mix, total_synthetic
from job.records import PARTS, SPLIT_SCHEMA, Mix, Salting, Split

pytestmark = pytest.mark.unit
GRID = (0.0, 0.25, 0.5, 0.9, 1.0)
ALPHAS = st.decimals("0.05", "0.9", places=2).map(float)
ARMS = st.sampled_from(["", *arms.ARMS])


@dataclass(frozen=True)
class Case:
    """A split, how it is to be salted, and which synthetic images of each class are kept."""

    split: Split
    salting: Salting
    kept: dict[str, np.ndarray]

    @property
    def words(self):
        return [class_words(label, name) for label, name in enumerate(self.split.classes)]

    @property
    def labels(self):
        return self.split.part("train")["label"].to_pylist()

    @property
    def counts(self):
        return [self.labels.count(label) for label in range(len(self.split.classes))]

    def ids(self, *parts):
        return [name for part in parts for name in self.split.part(part)["id"].to_pylist()]

    def mix(self, alpha, arm="", kept=None):
        """As the job builds it."""
        return mix(alpha, GRID, self.ids("train"), self.labels, self.words, self.kept if kept is None else kept, self.salting,
                   arms.find(arm))

    def total(self, alpha):
        """Images beside the real ones; an α that comes to none is refused, and no case of these laws."""
        total = round(Fraction(str(alpha)) / (1 - Fraction(str(alpha))) * len(self.labels))
        assume(total)
        return total


@st.composite
def cases(draw, supplies=("matched", "all"), images=1200):
    """Every class has a training image; the images stand in any order, in any part."""
    classes = draw(st.integers(2, 5))
    rows = [(label, "train") for label in range(classes)]
    rows += draw(st.lists(st.tuples(st.integers(0, classes - 1), st.sampled_from(PARTS)), max_size=50))
    rows = draw(st.permutations(rows))
    same = dict.fromkeys(SPLIT_SCHEMA.names, "") | {"width": 8, "height": 8, "dhash": 0}
    table = [same | {"id": f"image-{at}", "label": label, "part": part} for at, (label, part) in enumerate(rows)]
    allocation = draw(st.sampled_from(["proportional", "equal", "only"]))
    only = draw(st.sets(st.integers(0, classes - 1), min_size=1)) if allocation == "only" else ()
    salting = Salting(allocation, tuple(sorted(only)), draw(st.sampled_from(supplies)), draw(st.sampled_from(["draws", "loss"])))
    split = Split(tuple(f"class {label}" for label in range(classes)), pa.Table.from_pylist(table, SPLIT_SCHEMA))
    rng, share = np.random.default_rng(draw(st.integers(0, 9))), draw(st.floats(0.5, 1))
    kept = {class_words(label, name).key: rng.random(images) < share for label, name in enumerate(split.classes)}
    return Case(split, salting, kept)


def taken(made: Mix) -> dict[int, list[int]]:
    return {take.words.label: take.indices().tolist() for take in made.synthetic}


@given(cases(("matched",)), ALPHAS)
def test_every_class_gets_its_exact_count_under_every_allocation(case, alpha):
    total = case.total(alpha)
    made, salting = case.mix(alpha), case.salting
    got = [len(taken(made).get(label, ())) for label in range(len(case.counts))]
    weights = {"proportional": case.counts, "equal": [1] * len(got),
               "only": [count if label in salting.only else 0 for label, count in enumerate(case.counts)]}[salting.allocation]
    exact = [Fraction(total * weight, sum(weights)) for weight in weights]
    up = [number - floor(share) for number, share in zip(got, exact, strict=True)]
    assert sum(got) == made.n_synthetic == total
    assert set(up) <= {0, 1}
    assert not any(number for number, weight in zip(got, weights, strict=True) if not weight)
    first = sorted(range(len(exact)), key=lambda label: (floor(exact[label]) - exact[label], label))   # the largest remainder, the earlier
    assert {label for label, one in enumerate(up) if one} == set(first[: sum(up)])
    assert Counter(made.real_ids) == Counter(case.ids("train"))   # each real image once
    label_of = dict(zip(case.ids("train"), case.labels, strict=True))
    copies = Counter(label_of[name] for name, count in case.mix(alpha, "placebo").copies for _ in range(count))
    assert [copies[label] for label in range(len(got))] == got


@given(cases(), st.one_of(ALPHAS, st.sampled_from([0.0, 1.0])), ARMS)
def test_no_validation_or_test_image_is_ever_inside(case, alpha, arm):
    if 0 < alpha < 1:
        case.total(alpha)
    made = case.mix(alpha, arm)
    inside = {*made.real_ids, *(name for name, _ in made.copies)}
    assert inside <= set(case.ids("train"))
    assert not inside & set(case.ids("val", "test", "aside"))
    assert list(made.real_ids) == ([] if alpha == 1 else case.ids("train"))
    recipe = make_recipe(generator="g", options="{}", weights="w", templates=("{name}",), size_px=8, encoding="png", seed=0)
    drawn = {sample_id(recipe.id, take.words.key, index) for take in made.synthetic for index in take.indices().tolist()}
    assert len(drawn) == made.n_synthetic
    assert not drawn & set(case.split.table["id"].to_pylist())


@given(cases(), ALPHAS, st.sampled_from(["val", "test", "aside"]), ARMS)
def test_what_stands_in_the_other_parts_changes_no_mix(case, alpha, part, arm):
    case.total(alpha)
    rows = [row | {"label": 0 if row["part"] == part else row["label"]} for row in case.split.table.to_pylist()
            if row["part"] in ("train", part)]
    other = Case(Split(case.split.classes, pa.Table.from_pylist(rows, SPLIT_SCHEMA)), case.salting, case.kept)
    assert other.mix(alpha, arm) == case.mix(alpha, arm)


@given(cases(("matched",)), ALPHAS, ALPHAS)
def test_of_two_mixes_each_class_of_one_is_a_prefix_of_the_others(case, alpha, other):
    for one in (alpha, other):
        case.total(one)
    less, more = (taken(case.mix(one)) for one in (alpha, other))
    for label in less.keys() & more.keys():
        short, long = sorted((less[label], more[label]), key=len)
        assert long[: len(short)] == short


@given(cases(("matched",)), ALPHAS, ARMS, st.integers(1, 300))
def test_images_that_are_kept_later_change_no_mix_that_was_supplied(case, alpha, arm, further):
    case.total(alpha)
    grown = {key: np.concatenate([bits, np.ones(further, bool)]) for key, bits in case.kept.items()}
    made, again = case.mix(alpha, arm), case.mix(alpha, arm, grown)
    assert made == again
    assert mix_id(made, "recipe") == mix_id(again, "recipe")


@given(cases(), ALPHAS, ARMS)
def test_the_same_seed_gives_the_same_mix_and_another_one_other_pictures(case, alpha, arm):
    case.total(alpha)
    made, again = case.mix(alpha, arm), case.mix(alpha, arm, dict(reversed([(key, bits.copy()) for key, bits in case.kept.items()])))
    same, other = (make_recipe(generator="g", options="{}", weights="w", templates=("{name}",), size_px=8, encoding="png", seed=seed).id
                   for seed in (7, 8))
    assert made == again
    assert mix_id(made, same) == mix_id(again, same)
    assert (mix_id(made, other) != mix_id(made, same)) == bool(made.n_synthetic)   # real images know no seed


IN_A_PROCESS = """
from tests.unit.test_mix_laws import *
words = [class_words(at, str(at)) for at in range(3)]
kept = {one.key: np.ones(99, bool) for one in words}
ids, labels = [str(at) for at in range(17)], [0] * 5 + [1] * 3 + [2] * 9
for name in ("", *arms.ARMS):
    print(mix_id(mix(0.6, GRID, ids, labels, words, kept, Salting("only", (0, 2)), arms.find(name)), "recipe"))
"""


def test_the_same_mix_bears_the_same_id_in_every_process():
    told = {subprocess.run([sys.executable, "-c", IN_A_PROCESS], env=os.environ | {"PYTHONHASHSEED": seed}, check=True,
                           capture_output=True, text=True).stdout for seed in ("1", "2")}
    assert len(told) == 1
    assert len(set(told.pop().split())) == 3   # salted, placebo, reweighted; the other arms differ in what they are given


@given(cases(("matched",), images=12), ALPHAS)
def test_a_refusal_names_the_whole_shortfall_and_its_classes_and_nothing_else_is_refused(case, alpha):
    total = case.total(alpha)
    assert total == total_synthetic(alpha, len(case.labels), GRID)
    want = allocate(total, case.counts, case.salting)
    have = [int(case.kept[one.key].sum()) for one in case.words]
    short = [(name, asked, there) for name, asked, there in zip(case.split.classes, want, have, strict=True) if there < asked]
    if not short:
        assert case.mix(alpha).n_synthetic == total
        return
    with pytest.raises(QualityError) as refused:
        case.mix(alpha)
    said = refused.value.problem
    assert f"α = {alpha}" in said
    assert f" {sum(asked - there for _, asked, there in short)} missing: " in said
    for name, asked, there in short[:3]:
        assert f"{name} {asked - there} ({there} of {asked})" in said
    assert (f"{len(short) - 3} more classes" in said) == (len(short) > 3)
    assert not [name for name in case.split.classes if name in said and name not in {one for one, _, _ in short}]
    assert case.mix(alpha, "placebo").n_copies == total   # copies need no picture
