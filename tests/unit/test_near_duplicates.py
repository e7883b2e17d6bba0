"""Nearly identical pictures: the quick search finds what the slow one does, and train gives way to what judges."""

import io
import time
from typing import Any

import imagehash
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from job import splitting
from job.errors import DataError
from job.near_duplicates import nearest
from job.real import pixels
from job.records import RealIndex
from job.settings import SplitGroup
from tests.folders import picture
from tests.unit.made_index import index_of

pytestmark = pytest.mark.unit
SEEDS = (0, 0xFFFF_FFFF_FFFF_FFFF, 0x0123_4567_89AB_CDEF)
FLIPS = st.lists(st.integers(0, 63), max_size=20)
NEARBY = st.builds(lambda seed, flips: seed ^ sum({1 << flip for flip in flips}), st.sampled_from(SEEDS), FLIPS)
HASH = st.one_of(st.integers(0, 2**64 - 1), NEARBY)


def slow(these: list[int], others: list[int], bits: int) -> list[tuple[int, int]]:
    """Place and distance of the nearest, one pair after another."""
    found = []
    for one in these:
        near = [((one ^ other).bit_count(), place) for place, other in enumerate(others) if (one ^ other).bit_count() <= bits]
        distance, place = min(near, default=(-1, -1))
        found.append((place, distance))
    return found


@given(st.lists(HASH, max_size=30), st.lists(HASH, max_size=30), st.integers(0, 64))
def test_the_nearest_are_those_that_comparing_every_pair_finds(these: list[int], others: list[int], bits: int) -> None:
    place, distance = nearest(np.array(these, np.uint64), np.array(others, np.uint64), bits)
    assert list(zip(place.tolist(), distance.tolist(), strict=True)) == slow(these, others, bits)


@pytest.mark.parametrize("bits", [0, 3, 7, 8, 16])
def test_blocks_do_not_matter(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(bits)
    these, others = (rng.integers(0, 4, count).astype(np.uint64) * np.uint64(0x1111_0000_2222_0101) for count in (300, 70))
    these[:50] ^= np.uint64(1) << rng.integers(0, 64, 50).astype(np.uint64)
    whole = nearest(these, others, bits)
    monkeypatch.setattr("job.near_duplicates.BLOCK", 3)
    assert all(np.array_equal(one, other) for one, other in zip(whole, nearest(these, others, bits), strict=True))


@pytest.mark.parametrize("bits", [4, 16])
def test_a_hundred_thousand_against_ten_thousand_take_seconds(bits: int) -> None:
    rng = np.random.default_rng(0)
    these, others = (rng.integers(0, 2**63, count).astype(np.uint64) for count in (100_000, 10_000))
    these[7] = others[9] ^ np.uint64(0b101)
    begun = time.process_time()
    place, distance = nearest(these, others, bits)
    assert time.process_time() - begun < 30   # comparing pair by pair in Python takes ten minutes
    assert (place[7], distance[7]) == (9, 2)


def test_more_bits_than_a_hash_has_are_refused() -> None:
    with pytest.raises(ValueError, match="0 to 64, not 65"):
        nearest(np.zeros(1, np.uint64), np.zeros(1, np.uint64), 65)


@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(2, 40))
def test_the_hash_of_a_picture_is_that_of_the_library(seed: int, width: int, height: int) -> None:
    image = picture(seed, width, height)
    assert f"{pixels.dhash(image):016x}" == str(imagehash.dhash(Image.fromarray(image)))


def test_a_picture_that_was_saved_again_smaller_lies_near_and_its_negative_far() -> None:
    y, x = np.mgrid[0:90, 0:120]
    waves = [127 + 100 * np.sin(x / 17 + y / 29), 127 + 90 * np.cos(x / 23), 127 + 100 * np.sin(y / 13 - x / 31)]
    scene = np.stack(waves, axis=2).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(scene).resize((100, 75)).save(out, "JPEG", quality=60)
    again, other = np.array(Image.open(out)), 255 - scene
    assert (pixels.dhash(scene) ^ pixels.dhash(again)).bit_count() <= 3
    assert (pixels.dhash(scene) ^ pixels.dhash(other)).bit_count() > 16


PARTS = {   # who chose the parts, as a function of a row's number
    "a hash": lambda number: "",
    "the source or the user": lambda number: ("train", "val", "test", "train")[number % 4],
    "the source, but for validation": lambda number: ("train", "test", "train")[number % 3],
    "somebody, for most": lambda number: ("train", "", "val", "test", "aside", "train")[number % 6],
}


@given(st.lists(st.tuples(st.integers(0, 1), HASH), min_size=12, max_size=60), st.sampled_from(sorted(PARTS)), st.integers(0, 16))
def test_whoever_chose_the_judges_no_image_near_them_stays_in_train_once_bits_are_set_and_no_judge_goes(
    rows: list[tuple[int, int]], who: str, bits: int
) -> None:
    index = index_of([(label, number, "", PARTS[who](number), f"real-{number}", one) for number, (label, one) in enumerate(rows)])
    try:
        free = splitting.split(index, SplitGroup()).table.to_pylist()
        near = splitting.split(index, SplitGroup(near_duplicate_bits=bits))
    except DataError:   # a class is left without an image in a part
        assume(False)
    judged = [row for row in free if row["part"] in ("val", "test")]
    for before, after in zip(free, near.table.to_pylist(), strict=True):
        distance, one = min((((before["dhash"] ^ one["dhash"]).bit_count(), one) for one in judged), key=lambda pair: pair[0])
        if before["part"] == "train" and distance <= bits:
            assert after["part"] == "aside"
            assert after["reason"] == f"its perceptual hash differs in {distance} of 64 bits from that of {one['id']} in {one['part']}"
        else:
            assert after == before
    assert splitting.near_published(near, bits) == ()


HASHES = {"train": [0, 0xFF, 0xFFFF], "val": [0xFF], "test": [1, 0xF0F0_F0F0_F0F0_F0F0]}


def published(*parts: str) -> RealIndex:
    rows: list[Any] = [(label, f"{part}-{label}-{number}", "", part if part in parts else "train", f"{part}-{label}-{number}", one)
                       for part in HASHES for label in (0, 1) for number, one in enumerate(HASHES[part])]
    return index_of(rows)


def test_unless_bits_are_set_images_like_published_ones_are_reported_and_stay() -> None:
    split = splitting.split(published("train", "val", "test"), SplitGroup())
    assert splitting.counts(split, "train") == (3, 3)
    (warning,) = splitting.near_published(split, None)
    assert warning.startswith("2 of 6 train images look like published validation or test images, and "
                              "SALTWORKS_SPLIT__NEAR_DUPLICATE_BITS sets such aside (at most 0 of 64 bits differ): ")
    assert "train-0-1 is 0 bits from val-0-0 in val" in warning
    assert "train-0-0" not in warning   # one bit away


def test_parts_that_a_hash_drew_are_not_told_of() -> None:
    rows = [(number % 2, number, "", "", f"real-{number}", 0) for number in range(40)]
    split = splitting.split(index_of(rows), SplitGroup())
    assert splitting.near_published(split, None) == ()
