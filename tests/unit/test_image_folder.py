"""Laws of the image folder: nothing is lost without a reason, and no thread count changes the index."""

import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from job.errors import AccessError, DataError, TemporaryError
from job.ground import pixels as ground
from job.real import pixels
from job.real.image_folder import ImageFolder
from job.records import RealIndex
from tests.folders import LocalFolder, bomb, class_folders, encoded, picture, write

pytestmark = pytest.mark.unit

FLAT = class_folders({"cat": 3, "dog": 3})
PUBLISHED = class_folders({"train/cat": 2, "train/dog": 2, "val/cat": 1, "val/dog": 1, "test/cat": 1, "test/dog": 1})
LOSSLESS = {"PNG": {}, "BMP": {}, "WEBP": {"lossless": True}}


def source(url: Any, folder: type[LocalFolder] = LocalFolder, **options: Any) -> ImageFolder:
    return ImageFolder(ImageFolder.Options(url=str(url), **options), folder)


def index_of(files: Mapping[str, bytes], **options: Any) -> RealIndex:
    with TemporaryDirectory() as root:
        return source(write(Path(root), files), **options).index()


def column(index: RealIndex, name: str) -> dict[str, Any]:
    return dict(zip(index.table["id"].to_pylist(), index.table[name].to_pylist(), strict=True))


def reasons(files: Mapping[str, bytes], **options: Any) -> dict[str, str]:
    return {one.item: one.reason for one in index_of({**FLAT, **files}, **options).refused}


def test_classes_are_the_folder_names_sorted_and_ids_are_the_paths():
    index = index_of(FLAT)
    assert index.classes == ("cat", "dog")
    assert column(index, "label") == {path: ("cat", "dog").index(path.partition("/")[0]) for path in FLAT}
    assert set(column(index, "published").values()) == {""}
    assert index.refused == ()


def test_listed_classes_set_the_order_of_the_labels_and_leave_the_others_out():
    files = FLAT | class_folders({"bird": 2, "empty": 0}, seed=50) | {"empty/readme.txt": b""}
    index = index_of(files, classes=["dog", "bird"])
    assert index.classes == ("dog", "bird")
    assert {path.partition("/")[0]: label for path, label in column(index, "label").items()} == {"dog": 0, "bird": 1}
    assert index.refused == ()


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_published_folders_are_honoured(val: str):
    index = index_of({path.replace("val/", f"{val}/"): data for path, data in PUBLISHED.items()})
    assert index.classes == ("cat", "dog")
    assert len(index.table) == len(PUBLISHED)
    for path, part in column(index, "published").items():
        assert part == (path.partition("/")[0] if path.startswith(("train", "test")) else "val")


def test_classes_may_be_called_like_parts_where_no_split_is_published():
    index = index_of(class_folders({"train": 2, "bus": 2, "test": 2}))
    assert index.classes == ("bus", "test", "train")
    assert set(column(index, "published").values()) == {""}


@given(seed=st.integers(0, 99), readers=st.integers(1, 64))
@settings(max_examples=8, deadline=None)
def test_no_number_of_readers_changes_the_index_or_the_order_of_the_pixels(seed: int, readers: int):
    files = class_folders({"a": 9, "b": 8, "c": 7}, seed) | {"b/x.txt": b"", "c/y.png": b"no"}
    with TemporaryDirectory() as root:
        alone, together = (source(write(Path(root), files), readers=count) for count in (1, readers))
        index = alone.index()
        assert index.table.equals(together.index().table)
        assert index.refused == together.index().refused
        rows = index.table.take(np.random.default_rng(seed).permutation(24))
        for one, other in zip(alone.load(rows), together.load(rows), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_order_in_which_a_folder_lists_its_files_does_not_matter(tmp_path: Path):
    class Backwards(LocalFolder):
        def list(self) -> list[tuple[str, int]]:
            return super().list()[::-1]

    strays = {"cat/b.txt": b"", "a.txt": b"", "dog/kittens/a.png": b"", "z.txt": b""}
    url = write(tmp_path, FLAT | strays)
    forth, back = source(url).index(), source(url, Backwards).index()
    assert forth.table.equals(back.table)
    assert forth.table["id"].to_pylist() == sorted(FLAT)
    assert [one.item for one in forth.refused] == [one.item for one in back.refused] == sorted(strays)


@given(width=st.integers(1, 30), height=st.integers(1, 30), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_the_digest_is_the_picture_s_whatever_its_format(width: int, height: int, seed: int):
    pixels_HWC = picture(seed, width, height)
    index = index_of(FLAT | {f"cat/{name}.{name}": encoded(pixels_HWC, name, **how) for name, how in LOSSLESS.items()})
    found = {column(index, "digest")[f"cat/{name}.{name}"] for name in LOSSLESS}
    assert found == {pixels.digest(pixels_HWC)}
    assert {column(index, "width")[f"cat/{name}.{name}"] for name in LOSSLESS} == {width}


def test_pictures_of_the_same_bytes_and_another_shape_have_different_digests():
    pixels_HWC = picture(0, 2, 8)
    assert pixels.digest(pixels_HWC) != pixels.digest(pixels_HWC.reshape(4, 4, 3))


def test_an_image_stands_upright_by_its_exif_orientation():
    exif = Image.Exif()
    exif[0x0112] = 6   # to be turned by a quarter, clockwise
    pixels_HWC = picture(1, width=7, height=5)
    index = index_of(FLAT | {"cat/turned.png": encoded(pixels_HWC, exif=exif)})
    assert (column(index, "width")["cat/turned.png"], column(index, "height")["cat/turned.png"]) == (5, 7)
    assert column(index, "digest")["cat/turned.png"] == pixels.digest(np.rot90(pixels_HWC, -1))


@given(format=st.sampled_from(["PNG", "JPEG", "WEBP", "BMP"]), share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_refused_or_gives_the_whole_picture(format: str, share: float):
    data = encoded(picture(3, 24, 24), format)
    try:
        pixels_HWC, _ = pixels.read_picture(data[: int(share * len(data))], 10_000)
    except DataError as error:
        reason = error.problem
    else:
        reason = ""
        np.testing.assert_array_equal(pixels_HWC, pixels.read_picture(data, 10_000)[0])
    assert not re.search("0x|BytesIO", reason), "a memory address would make two indices differ"


@pytest.mark.parametrize(("path", "data", "says"), [
    ("cat/half.png", encoded(picture(3, 40, 40))[:2000], "truncated"),
    ("cat/half.jpg", encoded(picture(3, 40, 40), "JPEG")[:900], "truncated"),
    ("cat/text.png", b"no picture", "unknown format"),
    ("cat/film.gif", encoded(picture(3), "GIF"), "unknown format"),
    ("cat/film.png", encoded(picture(3), "GIF"), "unknown format"),
    ("cat/labels.csv", b"a,b", "unknown format"),
    ("cat/nothing.png", b"", "0 bytes"),
    ("cat/secret.png", encoded(picture(3)), "no permission"),
    ("cat/bomb.png", bomb(9_000, 9_000), "9000×9000 px; 1 to max_pixels=64000000"),
    ("cat/huge.png", bomb(60_000, 60_000), "decompression bomb"),
    ("cat/kittens/a.png", encoded(picture(3)), "directly in <class>/"),
    ("README.md", b"# cats", "directly in <class>/"),
])
def test_a_file_that_cannot_be_used_is_refused_with_a_reason(path: str, data: bytes, says: str):
    found = reasons({path: data})
    assert set(found) == {path}
    assert says in found[path]


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_a_generated_image_stands_in_the_index_with_its_mark(encoding: str):
    index = index_of(FLAT | {f"cat/drawn.{encoding}": ground.encode(picture(70), encoding)})
    assert index.refused == ()
    assert {name: mark for name, mark in column(index, "generated").items() if mark} == {f"cat/drawn.{encoding}": ground.IPTC_MARK}


@pytest.mark.parametrize("path", ["cat/a\nb.png", "cat/a\\..\\x.png", "cat/" + "x" * 1024 + ".png"])
def test_a_name_that_leads_elsewhere_is_refused_unread(path: str, tmp_path: Path):
    class Bucket(LocalFolder):
        """A key of a bucket may be any text."""

        def list(self) -> list[tuple[str, int]]:
            return [*super().list(), (path, 99)]

    index = source(write(tmp_path, FLAT), Bucket).index()
    assert set(column(index, "id")) == set(FLAT)
    assert [one.item for one in index.refused] == [path]


def test_limits_are_the_options():
    data = encoded(picture(3, 100, 100))
    assert "max_pixels=9999" in reasons({"cat/a.png": data}, max_pixels=9_999)["cat/a.png"]
    assert f"max_bytes={len(data) - 1}" in reasons({"cat/a.png": data}, max_bytes=len(data) - 1)["cat/a.png"]
    assert reasons({"cat/a.png": data}, max_pixels=10_000, max_bytes=len(data)) == {}


def test_only_names_with_a_leading_dot_are_ignored():
    assert reasons({"cat/.DS_Store": b"x", ".git/config": b"x", ".hidden.png": b"x", "cat/.thumbs/1.png": b"x"}) == {}


def test_beside_published_folders_a_file_in_no_part_is_refused():
    index = index_of(PUBLISHED | {"dog/a.png": encoded(picture(70)), "test/unknown.png": encoded(picture(71))})
    assert [one.item for one in index.refused] == ["dog/a.png", "test/unknown.png"]
    assert "train/<class>/" in index.refused[0].reason


def test_one_picture_under_two_labels_is_refused_both_times_naming_the_other():
    index = index_of(FLAT | {"cat/x.png": encoded(picture(9)), "dog/y.bmp": encoded(picture(9), "BMP")})
    found = {one.item: one.reason for one in index.refused}
    assert set(found) == {"cat/x.png", "dog/y.bmp"}
    assert set(column(index, "id")) == set(FLAT)
    assert "dog/y.bmp" in found["cat/x.png"]
    assert "cat/x.png" in found["dog/y.bmp"]


def test_copies_under_one_label_are_left_to_the_split():
    assert reasons({"cat/x.png": encoded(picture(9)), "cat/y.png": encoded(picture(9))}) == {}


def lacking(path: str) -> dict[str, bytes]:
    return {name: data for name, data in PUBLISHED.items() if not name.startswith(path)}


@pytest.mark.parametrize(("files", "options", "says"), [
    (FLAT, {"classes": ["cat", "bird"]}, "class 'bird' has no usable image → add images of it below bird/"),
    (FLAT | {"bird/.gitkeep": b""}, {}, "class 'bird' has no usable image"),
    (FLAT | {"bird/notes.txt": b""}, {}, "class 'bird' has no usable image"),
    (FLAT | {"bird/a.png": b"x"}, {}, "class 'bird' has no usable image (bird/a.png: unknown format"),
    (FLAT | class_folders({"bird": 1}, 60), {}, "(bird/0.png: it is the only usable image of its class"),
    (lacking("val/dog"), {}, "class 'dog' has no usable image in val, though it has some in train, test"),
    (lacking("train/cat"), {}, "class 'cat' has no usable image in train"),
    (lacking("train"), {}, "class 'cat' has no usable image in train, though it has some in val, test"),
    (PUBLISHED | {"test/dog/0.png": b"x"}, {}, "class 'dog' has no usable image in test"),
    (PUBLISHED | class_folders({"test/bird": 3}, 60), {}, "class 'bird' has no usable image in train, val"),
    ({"README": b"", "a.png": b""}, {}, "no class folder was found"),
])
def test_a_class_without_images_ends_the_job_naming_class_and_cure(files: dict[str, bytes], options: Any, says: str):
    with pytest.raises(DataError, match=re.escape(says)) as caught:
        index_of(files, **options)
    assert caught.value.cure


def test_a_class_missing_in_a_part_is_no_trouble_when_it_is_not_among_the_listed_ones():
    assert index_of(lacking("val/dog"), classes=["cat"]).classes == ("cat",)


def test_if_no_image_may_be_read_the_permission_is_what_ends_the_job():
    with pytest.raises(AccessError, match="no permission"):
        index_of({"cat/secret.png": b"x", "dog/secret.png": b"x"})


@pytest.mark.parametrize("method", ["list", "read"])
def test_trouble_that_passes_and_a_folder_that_cannot_be_listed_are_not_blamed_on_files(tmp_path: Path, method: str):
    def fail(*ignored: Any) -> Any:
        raise TemporaryError("the storage is away", "run again")

    with pytest.raises(TemporaryError):
        source(write(tmp_path, FLAT), type("Away", (LocalFolder,), {method: fail})).index()


@pytest.mark.parametrize("now", [encoded(picture(99)), b"broken"])
def test_an_image_that_changed_after_the_index_ends_the_job_when_it_is_loaded(tmp_path: Path, now: bytes):
    images = source(write(tmp_path, FLAT))
    rows = images.index().table
    write(tmp_path, {"dog/1.png": now})
    with pytest.raises(DataError, match=r"'dog/1\.png' changed after the index was frozen.* start a new edition"):
        list(images.load(rows))


def test_loading_may_stop_early(tmp_path: Path):
    images = source(write(tmp_path, FLAT), readers=2)
    loading = images.load(images.index().table)
    assert next(loading).shape == (5, 7, 3)
    loading.close()


@pytest.mark.parametrize("options", [
    {"classes": []}, {"classes": ["a", "a"]}, {"classes": [""]}, {"readers": 0}, {"max_pixels": 0}, {"max_pixels": 10**9},
    {"url": ""},
])
def test_impossible_options_are_refused_before_anything_is_read(options: dict[str, Any]):
    with pytest.raises(ValidationError):
        ImageFolder.Options(**{"url": "x", **options})
