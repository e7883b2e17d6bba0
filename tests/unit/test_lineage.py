"""Ids: a hash of what a thing is, and of nothing else."""

import json
import re
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.ground import lineage
from job.ground.lineage import canonical, class_words, content_id, make_recipe, mix_id, prompt_of, sample_id, seed_of, spec, specs
from job.records import ClassTake, Mix, Recipe, Unit

pytestmark = pytest.mark.unit
NAMES = st.text(min_size=1, max_size=30)
VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8)
RECIPE: dict[str, Any] = {"generator": "fake", "options": '{"noise":0.25}', "weights": "none",
                          "templates": ("a photo of a {name}", "the {name}"), "size_px": 32, "encoding": "png", "seed": 0}
OTHERS = {"generator": "text_to_image", "options": '{"noise":0.5}', "weights": "ab", "templates": ("a photo of a {name}",), "size_px": 64,
          "encoding": "jpeg", "seed": 1}


def recipe(**changes: Any) -> Recipe:
    return make_recipe(**RECIPE | changes)


@given(VALUES)
def test_canonical_json_is_json_with_one_spelling(value: Any) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text)) == text
    assert text == canonical(json.loads(json.dumps(value, indent=3)))


@given(st.dictionaries(st.text(), VALUES, min_size=2, max_size=5))
def test_the_order_of_keys_means_nothing(value: dict[str, Any]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)
    assert content_id(dict(reversed(value.items()))) == content_id(value)


@given(VALUES, VALUES)
def test_two_values_share_an_id_only_if_they_are_spelt_alike(one: Any, other: Any) -> None:
    assert (content_id(one) == content_id(other)) == (canonical(one) == canonical(other))


def test_neighbours_are_not_glued_together_and_kinds_are_told_apart() -> None:
    values = [("ab", "c"), ("a", "bc"), ("abc",), (["a", "b"],), ("a", "b"), (1,), (1.0,), ("1",), (True,), (None,), ("",), ()]
    assert len({content_id(*one) for one in values}) == len(values)


@pytest.mark.parametrize(("value", "error"), [
    (float("nan"), ValueError), ({"a": float("inf")}, ValueError), ({1, 2}, TypeError), (b"x", TypeError), (object(), TypeError)])
def test_what_is_no_plain_value_has_no_id(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        content_id(value)


def test_ids_are_the_same_for_ever() -> None:
    """Stores hold these ids: another hash, order of fields or spelling would orphan every image that was ever drawn."""
    words = class_words(3, "café", "a house with tables")
    assert words.key == "caf-63716ae3f7bc"
    assert recipe().id == "f507d56cc13edbf1"
    assert asdict(spec(recipe(), words, 5, redraw=1)) == {
        "id": "syn-38794a0cf74f4ba3", "words": asdict(words), "prompt": "the a house with tables", "index": 5, "redraw": 1,
        "seed": 8929096363113679574, "size_px": 32,
    }


@given(st.integers(0, 50), st.integers(1, 40), st.randoms())
def test_a_sample_does_not_depend_on_its_unit_or_on_the_order(lo: int, size: int, random: Any) -> None:
    words, hi = class_words(0, "cat"), lo + size
    cut = random.randint(lo, hi)
    whole = list(specs(recipe(), words, Unit(words.key, 0, lo, hi)))
    assert whole == [one for a, b in ((lo, cut), (cut, hi)) for one in specs(recipe(), words, Unit(words.key, 0, a, b))]
    indices = random.sample(range(lo, hi), size)
    assert {index: spec(recipe(), words, index) for index in indices} == {one.index: one for one in whole}


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), NAMES, st.integers(0, 5))
def test_a_further_class_leaves_the_samples_of_the_others_as_they_are(names: list[str], further: str, at: int) -> None:
    def drawn(all_names: list[str]) -> dict[str, tuple[str, int, str]]:
        every = [(name, spec(recipe(), class_words(label, name), 7)) for label, name in enumerate(all_names)]
        return {name: (one.id, one.seed, one.prompt) for name, one in every}

    before, after = drawn(names), drawn([*names[:at], further, *names[at:]])
    assert {name: after[name] for name in names} == before


@given(st.lists(NAMES, min_size=2, max_size=6, unique=True), NAMES)
def test_a_description_renames_its_own_class_only(names: list[str], description: str) -> None:
    before = [class_words(label, name) for label, name in enumerate(names)]
    after = [class_words(label, name, description if label == 1 else "") for label, name in enumerate(names)]
    assert [one.key == other.key for one, other in zip(before, after, strict=True)] == [label != 1 for label in range(len(names))]
    assert after[1].words == description
    assert before[1].words == names[1]


@given(NAMES, st.text(max_size=30))
def test_the_key_of_a_class_can_stand_in_a_path(name: str, description: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,40}-[0-9a-f]{12}", class_words(0, name, description).key)


def test_classes_whose_names_have_no_latin_letter_are_told_apart() -> None:
    names = [chr(0x4E00 + one) + chr(0x4E00 + other) for one in range(100) for other in range(100)]
    assert len({class_words(0, name).key for name in names}) == len(names)


@given(st.integers(0, 10**9), st.integers(0, 5), st.integers(0, 5))
def test_a_redraw_changes_the_seed_and_never_the_id(index: int, redraw: int, other: int) -> None:
    one, two = (spec(recipe(), class_words(0, "cat"), index, redraw=number) for number in (redraw, other))
    assert (one.id, one.prompt, one.words) == (two.id, two.prompt, two.words)
    assert (one.seed == two.seed) == (redraw == other)
    assert 0 <= one.seed < 2**63


def test_a_hundred_thousand_samples_have_ids_and_seeds_of_their_own() -> None:
    keys = [class_words(0, name).key for name in ("cat", "dog", "cat ", "Cat")]
    ids = [sample_id(recipe().id, key, index) for key in keys for index in range(25_000)]
    assert len(set(ids)) == 100_000
    assert len({seed_of(one, redraw) for one in ids[:25_000] for redraw in range(4)}) == 100_000
    assert all(re.fullmatch(r"syn-[0-9a-f]{16}", one) for one in ids)


def test_the_condition_of_a_sample_is_part_of_its_id() -> None:
    assert len({sample_id("r", "cat", 0, condition) for condition in ("", "a", "b")}) == 3


@pytest.mark.parametrize("field", OTHERS)
def test_every_field_of_a_recipe_is_part_of_its_id(field: str) -> None:
    changed = recipe(**{field: OTHERS[field]})
    assert changed.id != recipe().id
    assert asdict(changed) == asdict(recipe()) | {field: OTHERS[field], "id": changed.id}
    assert spec(changed, class_words(0, "cat"), 0).id != spec(recipe(), class_words(0, "cat"), 0).id


@given(st.integers(0, 10**6), st.lists(st.sampled_from(["a {name}", "{name}", "the {name} {name}"]), min_size=1, max_size=4))
def test_templates_take_turns(index: int, templates: list[str]) -> None:
    drawn = spec(recipe(templates=templates), class_words(0, "cat"), index)
    assert drawn.prompt == templates[index % len(templates)].replace("{name}", "cat")


def test_words_with_braces_stand_in_a_prompt_as_they_are() -> None:
    assert prompt_of("a {name} of {x}", class_words(0, "{0} {y}")) == "a {0} {y} of {x}"


def test_a_training_set_is_named_by_what_is_in_it() -> None:
    words = class_words(0, "cat")
    take = ClassTake(words, 8, b"\xf0", 4)
    mix = Mix(0.5, 0.5, ("a", "b"), (take,))
    assert mix_id(mix, "r") == mix_id(replace(mix, alpha=0.4, realised_alpha=0.3), "r")   # a share is not in it
    takes = (), (replace(take, bitmap=b"\xe8"),), (replace(take, words=class_words(0, "dog")),)
    others = [*(replace(mix, real_ids=ids) for ids in (("a",), ("b", "a"))), *(replace(mix, synthetic=one) for one in takes)]
    assert len({mix_id(one, "r") for one in [mix, *others]} | {mix_id(mix, "s")}) == 7
    real = replace(mix, synthetic=())
    assert mix_id(real, "r") == mix_id(real, "s") == mix_id(replace(mix, synthetic=(replace(take, bitmap=b"", count=0),)), "r")
    assert lineage.sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
