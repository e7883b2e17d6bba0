"""Content credentials: a file that says a model made it is found, and a camera's is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from job.errors import DataError
from job.ground import c2pa, pixels
from tests.folders import picture
from tests.unit.c2pa_files import NEWSCODES, actions, picture_with, store

pytestmark = pytest.mark.unit
DRAWN = actions(NEWSCODES + "trainedAlgorithmicMedia")
PHOTO = actions(NEWSCODES + "digitalCapture")
EDITED = actions("", action="c2pa.cropped")
FORMATS = ("PNG", "JPEG", "WEBP")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("manifests", "generated"), [
    (store(DRAWN), True),
    (store(actions(NEWSCODES.replace("http:", "https:") + "trainedAlgorithmicMedia")), True),
    (store(actions(NEWSCODES + "trainedAlgorithmicMedia", as_json=True)), True),
    (store(DRAWN, EDITED), True),                                                      # cropped after it was drawn
    (store(PHOTO), False),
    (store(EDITED), False),
    (store(PHOTO, EDITED), False),
    (store(actions(NEWSCODES + "compositeWithTrainedAlgorithmicMedia")), False),       # a photo with something drawn into it
    (store(actions(NEWSCODES + "trainedAlgorithmicMediaNot")), False),
    (store(actions(NEWSCODES + "trainedAlgorithmicMediaNot", as_json=True)), False),
    (DRAWN, False),                                                                    # no manifest store around it
])
def test_the_source_type_of_the_manifests_tells(format: str, manifests: bytes, generated: bool) -> None:
    data = picture_with(manifests, format, picture(1, 20, 16))
    found, mark = pixels.decode_marked(data)
    assert found.shape == (16, 20, 3)
    assert mark == (pixels.C2PA_MARK if generated else "")
    assert pixels.is_marked(data) == generated


@given(st.integers(10, 3000), st.integers(0, 5000), st.booleans())
def test_a_manifest_that_is_cut_into_segments_is_put_together_again(segment: int, padding: int, backwards: bool) -> None:
    image = picture(2)
    assert c2pa.is_generated(picture_with(store(DRAWN, padding=padding), "JPEG", image, segment, backwards))
    assert not c2pa.is_generated(picture_with(store(PHOTO, padding=padding), "JPEG", image, segment, backwards))


def test_words_about_the_mark_in_pixels_or_behind_the_picture_are_no_mark() -> None:
    for format in FORMATS:
        data = picture_with(store(PHOTO), format, picture(3))
        assert not c2pa.is_generated(data + store(DRAWN))


@given(st.sampled_from(FORMATS), st.integers(0, 2**32))
def test_a_damaged_file_ends_in_an_answer(format: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(picture_with(store(DRAWN), format, picture(4)))
    for place in rng.integers(0, len(data), 6):
        data[place] = rng.integers(256)
    data = bytes(data[: rng.integers(1, len(data) + 1)])
    assert c2pa.is_generated(data) in (True, False)
    try:
        assert pixels.decode_marked(data)[1] in ("", pixels.C2PA_MARK)
    except DataError:
        return
