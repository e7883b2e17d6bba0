"""Laws of the pixel path: lossless where it says so, marked always, the same for real and synthetic."""

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from job.errors import DataError
from job.ground import pixels

pytestmark = pytest.mark.unit

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.just(3))
PICTURES = arrays.arrays(np.uint8, SHAPES)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Something with the smooth gradients of a photo and a little noise: uint8 (H, W, 3)."""
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 9)], axis=2)
    return (ramp + np.random.default_rng(seed).normal(0, 4, ramp.shape)).clip(0, 255).astype(np.uint8)


def file_of(image: Image.Image, format: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


@given(PICTURES)
@settings(max_examples=60, deadline=None)
def test_a_png_gives_back_the_very_pixels_and_is_marked(picture: np.ndarray) -> None:
    data = pixels.encode(picture, "png")
    assert np.array_equal(pixels.decode(data), picture)
    assert pixels.is_marked(data)
    assert data == pixels.encode(picture.copy(), "png")


def test_a_jpeg_is_marked_close_to_its_pixels_and_keeps_full_colour_resolution() -> None:
    picture = photo(160, 200)
    data = pixels.encode(picture, "jpeg")
    assert pixels.is_marked(data)
    assert data == pixels.encode(picture.copy(), "jpeg")
    assert np.abs(pixels.decode(data).astype(int) - picture).mean() < 3
    with Image.open(io.BytesIO(data)) as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}   # sampling factors of 4:4:4


def test_the_encoding_changes_at_128_px() -> None:
    assert [pixels.encoding_for(size) for size in (16, 127, 128, 1024)] == ["png", "png", "jpeg", "jpeg"]


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ValueError, match="webp"):
        pixels.encode(photo(8, 8), "webp")


@pytest.mark.parametrize("bad", [photo(8, 8)[:, :, 0], photo(8, 8).astype(np.float32), np.zeros((8, 8, 4), np.uint8)])
def test_what_is_no_rgb_picture_is_neither_encoded_nor_trained_on(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        pixels.encode(bad, "png")
    with pytest.raises(ValueError, match="uint8"):
        pixels.to_train(bad, 4)


@pytest.mark.parametrize("format", pixels.FORMATS)
def test_an_ordinary_file_of_each_format_is_decoded_and_not_marked(format: str) -> None:
    data = file_of(Image.fromarray(photo(20, 30)), format)
    assert pixels.decode(data).shape == (20, 30, 3)
    assert not pixels.is_marked(data)


def test_the_mark_is_seen_as_an_element_too_and_another_source_type_is_none() -> None:
    image = Image.fromarray(photo(8, 8))
    element = f"<x><Iptc4xmpExt:DigitalSourceType>{pixels.SOURCE_TYPE}</Iptc4xmpExt:DigitalSourceType></x>".encode()
    other = pixels.XMP.replace("trainedAlgorithmicMedia", "digitalCapture").encode()
    longer = pixels.XMP.replace("trainedAlgorithmicMedia", "trainedAlgorithmicMediaNot").encode()
    assert pixels.is_marked(file_of(image, "JPEG", xmp=element))
    assert not pixels.is_marked(file_of(image, "JPEG", xmp=other))
    assert not pixels.is_marked(file_of(image, "JPEG", xmp=longer))


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "I;16"])
def test_every_colour_mode_becomes_rgb(mode: str) -> None:
    grey = photo(9, 7)[:, :, 0]
    image = Image.fromarray(grey.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(grey).convert(mode)
    found = pixels.decode(file_of(image, "PNG"))
    assert found.shape == (9, 7, 3)
    assert found.dtype == np.uint8
    assert found.flags.writeable
    if mode != "1":
        assert np.array_equal(found[:, :, 0], grey)


def test_a_photo_on_its_side_is_turned_upright() -> None:
    turned = Image.fromarray(photo(10, 30))
    exif = turned.getexif()
    exif[0x0112] = 6   # the camera was held upright
    assert pixels.decode(file_of(turned, "JPEG", exif=exif)).shape == (30, 10, 3)


def test_truncated_foreign_and_empty_files_are_data_errors() -> None:
    data = pixels.encode(photo(200, 200), "jpeg")
    for bad in (b"", b"GIF89a", data[: len(data) // 2], file_of(Image.fromarray(photo(8, 8)), "GIF"), b"\x00" * 99):
        with pytest.raises(DataError):
            pixels.decode(bad)
        with pytest.raises(DataError):
            pixels.is_marked(bad)


@given(st.integers(0, 2**32), st.sampled_from(["png", "jpeg"]))
@settings(max_examples=60, deadline=None)
def test_a_damaged_file_is_a_picture_or_a_data_error_and_nothing_else(seed: int, encoding: str) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(pixels.encode(photo(16, 16), encoding))
    for place in rng.integers(0, len(data), 5):
        data[place] = rng.integers(256)
    try:
        found = pixels.decode(bytes(data))
    except DataError:
        return
    assert found.shape[2] == 3


@given(PICTURES, st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_any_picture_becomes_a_square_of_the_asked_size(picture: np.ndarray, size_px: int) -> None:
    found = pixels.to_train(picture, size_px)
    assert found.shape == (size_px, size_px, 3)
    assert found.dtype == np.uint8


@given(PICTURES)
@settings(max_examples=30, deadline=None)
def test_a_picture_whose_short_side_fits_is_only_cut(picture: np.ndarray) -> None:
    height, width, _ = picture.shape
    size = min(height, width)
    top, left = (height - size) // 2, (width - size) // 2
    assert np.array_equal(pixels.to_train(picture, size), picture[top : top + size, left : left + size])


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    found = pixels.to_train(np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8), 8)
    assert np.abs(found.astype(int) - 127).max() < 12   # without antialiasing: only 0 and 255


def test_a_large_training_size_passes_the_jpeg_codec_once() -> None:
    picture = photo(200, 128)
    centre = picture[36:164]
    assert np.array_equal(pixels.to_train(picture, 128), pixels.decode(pixels.encode(centre.copy(), "jpeg")))


def test_real_and_stored_synthetic_pixels_meet_in_the_same_array() -> None:
    picture = photo(32, 32)
    stored = pixels.decode(pixels.encode(picture, pixels.encoding_for(32)))
    assert np.array_equal(pixels.to_train(stored, 16), pixels.to_train(picture, 16))


def test_faults_are_told_by_their_kind() -> None:
    fine = photo(16, 16)
    red = np.zeros((16, 16, 3), np.uint8)
    red[:, :, 0] = 200
    wrong = {
        "not a number": np.full((16, 16, 3), np.nan, np.float32),
        "float32": fine.astype(np.float32),
        "shape (16, 16)": fine[:, :, 0],
        "shape (0, 16, 3)": fine[:0],
        "black": np.zeros((16, 16, 3), np.uint8),
        "uniform": red,
    }
    assert pixels.fault(fine) == ""
    for word, picture in wrong.items():
        assert word in pixels.fault(picture)


def test_one_white_stroke_on_black_is_no_fault() -> None:
    stroke = np.zeros((32, 32, 3), np.uint8)
    stroke[4:28, 15:17] = 255
    assert pixels.fault(stroke) == ""


def test_importing_the_pixel_path_loads_neither_torch_nor_ray() -> None:
    heavy = "{'torch', 'ray', 'diffusers', 'transformers', 'huggingface_hub', 'fsspec'}"
    code = f"import sys, job.ground.pixels, job.ground.weights; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
