"""Laws of the split: who may be judged on what."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from job import splitting
from job.errors import DataError
from job.ground import lineage
from job.records import INDEX_SCHEMA, PARTS, RealIndex, Split
from job.settings import SplitGroup
from tests.unit.made_index import SMALL, index_of

pytestmark = pytest.mark.unit
ROW = st.tuples(st.integers(0, 1), st.integers(0, 40), st.sampled_from(["", "", "", "g1", "g2", "g3", "g4", "g5"]))


def split_parts(index: RealIndex, **shares: Any) -> dict[str, str]:
    """Part by id."""
    table = splitting.split(index, SplitGroup(**shares)).table
    return dict(zip(table["id"].to_pylist(), table["part"].to_pylist(), strict=True))


def parts_of(index: RealIndex, **shares: Any) -> dict[str, str]:
    """Part by id; an index that lacks a class in a part is no example."""
    try:
        return split_parts(index, **shares)
    except DataError:
        assume(False)


def sides(parts: dict[str, str], rows: list[tuple], column: int) -> list[set[str]]:
    """Per value of a column the parts in which it is used."""
    found: dict[Any, set[str]] = {}
    for number, row in enumerate(rows):
        found.setdefault(row[column] or f"alone-{number}", set()).add(parts[f"real-{number}"])
    return [where - {"aside"} for where in found.values()]


@given(st.lists(ROW, min_size=30, max_size=90))
def test_a_split_is_a_partition_that_keeps_copies_and_groups_on_one_side(rows: list[tuple]) -> None:
    parts = parts_of(index_of(rows))
    split = splitting.split(index_of(rows), SplitGroup())
    assert split.table.select(INDEX_SCHEMA.names).equals(index_of(rows).table)
    assert sorted(one for part in PARTS for one in split.part(part)["id"].to_pylist()) == sorted(parts)
    assert all(bool(row["reason"]) == (row["part"] == "aside") for row in split.table.to_pylist())
    assert all(len(where) <= 1 for column in (1, 2) for where in sides(parts, rows, column))


def whole_by_hash(index: RealIndex) -> bool:
    """Whether the plain hash leaves no class out of a part, so that nothing is repaired. No picture is in two groups."""
    found = set()
    for row in index.table.to_pylist():
        draw = lineage.seed_of(f"split/{row['group'] or row['digest']}") / 2**63
        found.add((row["label"], "test" if draw < 0.2 else "val" if draw < 0.4 else "train"))
    return len(found) == 3 * len(index.classes)


def moved(rows: list[tuple], more: list[tuple], random: Any) -> dict[str, tuple[str, str]]:
    """Who has another part once more rows have come, in whatever order."""
    before = parts_of(index_of(rows))
    named = [(*row, "", f"real-{number}") for number, row in enumerate(rows)] + [(*row, "", f"new-{n}") for n, row in enumerate(more)]
    random.shuffle(named)
    after = parts_of(index_of(named))
    return {name: (part, after[name]) for name, part in before.items() if after[name] != part}


ALONE = st.tuples(st.integers(0, 1), st.integers(0, 40), st.just("")).map(lambda row: (row[0], row[1] + 100 * row[0], ""))
NEW = st.tuples(st.integers(0, 1), st.integers(41, 90), st.just("")).map(lambda row: (row[0], row[1] + 100 * row[0], ""))


@given(st.lists(ROW, min_size=30, max_size=60), st.lists(NEW, max_size=30), st.randoms())
def test_adding_files_in_any_order_moves_nobody(rows: list[tuple], more: list[tuple], random: Any) -> None:
    rows = [(label, f"{label}-{group}-{content}", group and f"{group}-{label}") for label, content, group in rows]
    assume(whole_by_hash(index_of(rows)))
    assert moved(rows, more, random) == {}


@given(st.lists(ALONE, min_size=6, max_size=30, unique=True), st.lists(NEW, max_size=30, unique=True), st.randoms())
def test_where_the_hash_left_a_class_out_at_most_one_image_of_it_and_the_part_may_move_later(
    rows: list[tuple], more: list[tuple], random: Any
) -> None:
    gone = moved(rows, more, random)
    labels = {f"real-{number}": row[0] for number, row in enumerate(rows)}
    steps = [(labels[name], *step) for name, step in gone.items()]
    assert all("aside" not in step for step in steps)
    assert len(set(steps)) == len(steps) <= 3 * 2   # a part gives back what was lent to it, and no more


@pytest.mark.parametrize("count", range(3, 15))
def test_a_class_of_a_few_images_has_one_in_every_part(count: int) -> None:
    for seed in range(40):
        index = index_of([(label, f"{seed}-{label}-{number}", "") for label in (0, 1) for number in range(count)])
        split = splitting.split(index, SplitGroup())
        assert all(min(splitting.counts(split, part)) >= 1 for part in ("train", "val", "test"))
        if whole_by_hash(index):
            draws = [lineage.seed_of(f"split/{digest}") / 2**63 for digest in split.table["digest"].to_pylist()]
            assert split.table["part"].to_pylist() == ["test" if one < 0.2 else "val" if one < 0.4 else "train" for one in draws]


@pytest.mark.parametrize("row", [(1, "d", ""), (1, "d", "g")])
def test_a_class_that_cannot_be_in_every_part_is_refused_with_what_it_has(row: tuple) -> None:
    cats = [(0, number, "") for number in range(40)]
    with pytest.raises(DataError, match=r"class 'dog' has no image in \w+: of its 9 images, 1 are different pictures or groups → add"):
        splitting.split(index_of([*cats, *[row] * 9]), SplitGroup())
    with pytest.raises(DataError, match=r"the real source has one class, 'cat'.* → add images of another class"):
        splitting.split(index_of(cats, ("cat",)), SplitGroup())


@given(st.lists(ROW, min_size=30, max_size=90))
def test_groups_that_share_a_picture_are_on_one_side_and_pictures_that_are_alike_join_nothing(rows: list[tuple]) -> None:
    parts = parts_of(index_of([(*row, "", f"real-{number}", 0) for number, row in enumerate(rows)]))   # one dHash for all
    groups = {row[2] for row in rows} - {""}
    joined = {group: {group} for group in groups}
    for _ in groups:   # the transitive closure, the slow way
        for first in groups:
            for second in groups:
                contents = [{row[1] for row in rows if row[2] in joined[one]} for one in (first, second)]
                if contents[0] & contents[1]:
                    joined[first] = joined[first] | joined[second]
    for group in groups:
        assert len({parts[f"real-{number}"] for number, row in enumerate(rows) if row[2] in joined[group]}) == 1
    assert len(set(parts.values())) == 3


def test_a_published_split_that_divides_a_group_keeps_it_where_it_judges() -> None:
    rows = [(label, f"{label}-{part}-{number}", "", part) for label in (0, 1) for part in ("train", "val", "test") for number in range(3)]
    rows += [(0, "x", "board", "train"), (0, "y", "board", "val"), (0, "z", "board", "test")]
    table = splitting.split(index_of(rows), SplitGroup()).table.to_pylist()[-3:]
    assert [row["part"] for row in table] == ["aside", "aside", "test"]
    assert [row["reason"] for row in table] == ["of one group with real-20 in test"] * 2 + [""]


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60), st.just(""), st.sampled_from(["train", "train", "val", "test", ""])),
                min_size=20, max_size=80), st.booleans())
def test_a_published_part_is_honoured(rows: list[tuple], with_val: bool) -> None:
    rows = [row if with_val or row[3] != "val" else (*row[:3], "train") for row in rows]
    parts = parts_of(index_of(rows))
    in_test = {row[1] for row in rows if row[3] == "test"}
    published_parts = {row[3] for row in rows} - {""}
    for number, (_, content, _, published) in enumerate(rows):
        its = parts[f"real-{number}"]
        if published == "test":
            assert its == "test"
        elif published == "val":
            assert its == ("aside" if content in in_test else "val")
        elif published == "train":
            assert its in {"train", "val", "test", "aside"} - ({"val", "test"} & published_parts)
        elif published_parts:
            assert its == "aside"
    assert all(len(where) <= 1 for where in sides(parts, rows, 1))


@given(st.lists(ROW, min_size=30, max_size=90), st.integers(1, 10))
def test_a_cap_sets_train_images_aside_and_nothing_else(rows: list[tuple], cap: int) -> None:
    free, capped = parts_of(index_of(rows)), parts_of(index_of(rows), train_cap=cap)
    assert {name for name in free if free[name] != capped[name]} <= {name for name in free if free[name] == "train"}
    for label in (0, 1):
        mine = [f"real-{number}" for number, row in enumerate(rows) if row[0] == label]
        assert sum(capped[one] == "train" for one in mine) == min(cap, sum(free[one] == "train" for one in mine))
    table = splitting.split(index_of(rows), SplitGroup(train_cap=cap)).table.to_pylist()
    assert all(f"cap of {cap}" in row["reason"] for row in table if free[row["id"]] != row["part"])


def test_the_shares_are_what_was_asked_for() -> None:
    parts = list(split_parts(index_of([(number % 2, number, "") for number in range(4000)]), val_share=0.3, test_share=0.1).values())
    assert abs(parts.count("val") / 4000 - 0.3) < 0.03
    assert abs(parts.count("test") / 4000 - 0.1) < 0.02


@pytest.mark.parametrize("part", ["train", "val", "test"])
def test_a_class_without_an_image_in_a_part_is_refused_by_name(part: str) -> None:
    table = SMALL.table.filter([not (row["label"] == 1 and row["published"] == part) for row in SMALL.table.to_pylist()])
    with pytest.raises(DataError, match=f"class 'dog' has no image in {part}"):
        splitting.split(RealIndex(SMALL.classes, table, ()), SplitGroup())


def test_a_split_says_how_many_images_a_class_has() -> None:
    split = splitting.split(SMALL, SplitGroup())
    assert isinstance(split, Split)
    assert [splitting.counts(split, part) for part in PARTS] == [(5, 5), (3, 3), (4, 4), (0, 0)]


def test_images_known_to_be_generated_are_drawn_into_train_only() -> None:
    rows = [(label, f"{label}-{number}", "", "", f"real-{label}-{number}", 0, "marked" if number % 3 == 0 else "")
            for label in (0, 1) for number in range(60)]
    parts = split_parts(index_of(rows))
    assert {parts[f"real-{label}-{number}"] for label in (0, 1) for number in range(0, 60, 3)} == {"train"}
    plain = split_parts(index_of([(*row[:6], "") for row in rows]))
    assert {name: part for name, part in plain.items() if parts[name] != part and int(name.split("-")[2]) % 3} == {}


@pytest.mark.parametrize("how", ["mark", "own"])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("consent", [False, True])
def test_a_generated_image_is_refused_where_it_judges_and_let_into_train_by_consent_alone(how: str, part: str, consent: bool) -> None:
    rows = [(label, f"{label}-{its}", "", its) for label in (0, 1) for its in ("train", "val", "test")]
    index = index_of([*rows, (0, "drawn", "", part, "holiday.png", 0, "IPTC" if how == "mark" else "")])
    own = {"ddrawn", "dother"} if how == "own" else set()
    split = splitting.split(splitting.mark_own(index, own), SplitGroup())
    assert dict(zip(split.table["id"].to_pylist(), split.table["part"].to_pylist(), strict=True))["holiday.png"] == part
    for known in (own, ()):   # what was marked before the split needs no second telling
        if part in ("val", "test"):
            with pytest.raises(DataError, match=rf"1 generated images stand in validation or test.*holiday.png in {part}.* → remove them"):
                splitting.check_generated(index, split, known, consent)
        elif part == "train" and not consent:
            with pytest.raises(DataError, match=r"1 of 7 real images are generated: holiday.png in train.*REAL__GENERATED_IN_TRAIN=true"):
                splitting.check_generated(index, split, known, consent)
        else:
            splitting.check_generated(index, split, known, consent)


def test_a_sample_that_was_drawn_after_the_index_was_made_is_found_too() -> None:
    index = index_of([(label, f"{label}-{its}", "", its) for label in (0, 1) for its in ("train", "val", "test")])
    split = splitting.split(index, SplitGroup())
    splitting.check_generated(index, split, {"dother"}, False)
    with pytest.raises(DataError, match="real-5 in test"):
        splitting.check_generated(index, split, {"d1-test"}, True)


@pytest.mark.parametrize("plain", [1, 2, 5])
def test_no_generated_image_is_lent_to_a_part_that_lacks_its_class(plain: int) -> None:
    cats = [(0, number, "") for number in range(40)]
    dogs = [(1, f"dog-{number}", "", "", f"dog-{number}", 0, "" if number < plain else "marked") for number in range(plain + 6)]
    if plain < 2:
        with pytest.raises(DataError, match="class 'dog' has no image in"):
            splitting.split(index_of([*cats, *dogs]), SplitGroup())
        return
    parts = split_parts(index_of([*cats, *dogs]))
    assert {parts[f"dog-{number}"] for number in range(plain, plain + 6)} == {"train"}
    assert {parts[f"dog-{number}"] for number in range(plain)} >= {"val", "test"}


def test_images_that_are_set_aside_publish_nothing_for_the_others() -> None:
    rows = [(label, f"{label}-{number}", "") for label in (0, 1) for number in range(30)]
    before, after = split_parts(index_of(rows)), split_parts(index_of([(*rows[0], "aside"), *rows[1:]]))
    assert after == before | {"real-0": "aside"}
