"""What a drawn picture is recognised by is known before it is stored, for much less than decoding it."""

import numpy as np
import pytest

from job.ground import pixels
from job.real.pixels import LATTICE_FROM_PX, TOGETHER, digest, lattice, mark, marks_in

pytestmark = pytest.mark.unit


def picture(seed: int, height: int, width: int) -> np.ndarray:
    """Smooth colours, hard edges and noise."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[:height, :width] / max(height, width)
    waves = np.stack([np.sin(7 * down + 3 * across), np.cos(5 * across), (down > across)], axis=2)
    return (128 + 90 * waves + rng.normal(0, 12, (height, width, 3))).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
@pytest.mark.parametrize("size", [(16, 16), (127, 300), (128, 128), (131, 177), (200, 1000), (512, 512), (515, 390)])
def test_the_mark_that_is_expected_is_that_of_the_decoded_file(encoding: str, size: tuple[int, int]) -> None:
    drawn = [picture(seed, *size) for seed in range(3)]
    assert [mark(digest(pixels.decode(pixels.encode(one, encoding)))) for one in drawn] == marks_in(encoding, drawn)


def test_marks_do_not_depend_on_how_many_pictures_are_asked_for_at_once() -> None:
    drawn = [picture(seed, 128, 128) for seed in range(2 * TOGETHER + 1)]
    assert marks_in("jpeg", drawn) == [mark for one in drawn for mark in marks_in("jpeg", [one])]


def test_the_lattice_of_the_decoded_picture_is_the_decoded_lattice() -> None:
    for seed, side in ((0, 128), (1, 256), (2, 512), (3, 333)):
        drawn = picture(seed, side, side)
        there = pixels.decode(pixels.encode(drawn, "jpeg"))
        assert (there != drawn).any()
        assert np.array_equal(lattice(there), pixels.decode(pixels.encode(lattice(drawn), "jpeg")))
        assert min(lattice(drawn).shape[:2]) >= 64


def test_the_lattice_reaches_every_part_of_a_picture() -> None:
    place = np.stack([*np.mgrid[:512, :512], np.zeros((512, 512), int)], axis=2)
    found = lattice((place // 2).astype(np.uint8))
    for axis in (0, 1):
        assert found[..., axis].min() < 512 / 8 / 2
        assert found[..., axis].max() > 255 - 512 / 8 / 2
        assert np.diff(np.unique(found[..., axis])).max() <= 512 / 8 / 2


def test_pictures_of_other_pixels_or_another_size_have_other_digests_and_marks() -> None:
    every = [picture(seed, side, side) for seed in range(20) for side in (64, LATTICE_FROM_PX, 256)]
    every += [picture(0, 128, 256), np.rot90(picture(0, 256, 256))]
    assert len({digest(one) for one in every}) == len({mark(digest(one)) for one in every}) == len(every)
    one = picture(0, 256, 256)
    other = one.copy()
    other[0, 0] ^= 1   # outside the lattice
    assert mark(digest(one)) == mark(digest(other))
    assert digest(one) != digest(other)


def test_what_a_few_pixels_prove_is_what_all_of_them_say() -> None:
    rng = np.random.default_rng(0)
    flat, dots = np.full((64, 64, 3), 200, np.uint8), np.zeros((64, 64, 3), np.uint8)
    dots[3, 5] = 255                                             # seen by none of the few
    faint = (200 + (rng.random((64, 64, 3)) < 0.5) * 1).astype(np.uint8)   # a deviation of half a level
    tinted = flat.copy()
    tinted[:, :, 1] += (np.arange(64) % 4).astype(np.uint8)[None]         # 1.1 levels in one channel
    half = flat.copy()
    half[:32] = 0
    told = [pixels.fault(one) for one in (flat, dots, faint, tinted, half, np.zeros_like(flat), picture(0, 64, 64))]
    assert told == ["uniform", "", "uniform", "", "", "black", ""]
