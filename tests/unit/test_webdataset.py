"""Laws of the WebDataset source: samples are told by their names, and nothing in a tar file leads anywhere."""

import gzip
import io
import json
import struct
import subprocess
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from job.errors import AccessError, DataError
from job.ground import pixels as ground
from job.real import pixels
from job.real.webdataset import WebDataset
from job.records import RealIndex
from tests.folders import LocalFolder, bomb, encoded, picture, samples, tar, write

pytestmark = pytest.mark.unit
PLAIN = samples([0, 1, 0, 1])
WHOLE = tar(PLAIN)


def source(url: Any, **options: Any) -> WebDataset:
    return WebDataset(WebDataset.Options(url=str(url), **options), LocalFolder)


def index_of(files: Mapping[str, bytes], **options: Any) -> RealIndex:
    with TemporaryDirectory() as root:
        return source(write(Path(root), files), **options).index()


def column(index: RealIndex, name: str) -> list[Any]:
    return index.table[name].to_pylist()


def labels(index: RealIndex) -> list[str]:
    return [index.classes[label] for label in column(index, "label")]


def member(name: str, bytes_: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "", **pax: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.pax_headers = bytes_, kind, link, pax
    return info


def test_what_the_library_writes_is_read(tmp_path: Path) -> None:
    with webdataset.ShardWriter(str(tmp_path / "train-%03d.tar"), maxcount=3, verbose=0) as writer:
        for number in range(8):
            writer.write({"__key__": f"a/{number:03d}", "png": encoded(picture(number)), "cls": number % 2, "json": {"board": number // 2}})
    index = source(tmp_path, names=["cat", "dog"], group_key="board").index()
    assert labels(index) == ["cat", "dog"] * 4
    assert column(index, "group") == ["0", "0", "1", "1", "2", "2", "3", "3"]
    assert column(index, "digest") == [pixels.digest(picture(number)) for number in range(8)]
    assert column(index, "id")[3:5] == ["train-001.tar#a/003", "train-001.tar#a/004"]
    assert set(column(index, "published")) == {"train"}
    assert index.refused == ()


@pytest.mark.parametrize(("words", "options", "classes", "found"), [
    ("3 10 3 10", {}, ("3", "10"), ["3", "10", "3", "10"]),
    ("0 1 0 1", {"names": ["ox", "ant"]}, ("ox", "ant"), ["ox", "ant", "ox", "ant"]),
    ("0 1 0 1", {"names_file": "n.txt"}, ("ox", "ant"), ["ox", "ant", "ox", "ant"]),
    ("ox ant ox ant", {"names": ["ox", "ant"], "classes": ["ant", "ox"]}, ("ant", "ox"), ["ox", "ant", "ox", "ant"]),
    ("ox ant ox ant", {}, ("ant", "ox"), ["ox", "ant", "ox", "ant"]),
    ("ox ant ox ant", {"classes": ["ox"]}, ("ox",), ["ox", "ox"]),
])
def test_labels_are_numbers_or_texts(words: str, options: dict[str, Any], classes: tuple[str, ...], found: list[str]) -> None:
    index = index_of({"x.tar": tar(samples(words.split())), "n.txt": b"ox\n\n ant \n"}, **options)
    assert (index.classes, labels(index), index.refused) == (classes, found, ())


def test_the_label_may_stand_in_json_and_an_image_may_have_a_longer_kind() -> None:
    files = [one for number, label in enumerate(["ox", 1, "ox", 1]) for one in (
        (f"./d.1/{number}.left.JPG", encoded(picture(number), "BMP")), (f"./d.1/{number}.json", json.dumps({"what": label}).encode()))]
    index = index_of({"x.tar": tar(files)}, label="json", label_key="what")
    assert labels(index) == ["ox", "1", "ox", "1"]
    assert column(index, "id") == [f"x.tar#d.1/{number}" for number in range(4)]


@given(st.integers(0, 99), st.integers(1, 64))
def test_no_number_of_readers_changes_the_index_or_the_order_of_the_pixels(seed: int, readers: int) -> None:
    with TemporaryDirectory() as root:
        url = write(Path(root), {"a.tar": tar([*samples([0, 1] * 4, seed), ("z.cls", b"0")]), "b.tar": tar(samples([0, 1], seed + 20))})
        alone, together = (source(url, readers=count) for count in (1, readers))
        index = alone.index()
        assert index.table.equals(together.index().table)
        assert index.refused == together.index().refused
        rows = index.table.take(np.random.default_rng(seed).permutation(10))
        assert [pixels.digest(image) for image in alone.load(rows)] == rows["digest"].to_pylist()
        assert [pixels.digest(image) for image in together.load(rows)] == rows["digest"].to_pylist()


PIC = encoded(picture(70))


def pair(name: str, data: bytes = PIC, label: bytes = b"0") -> list[tuple[str, bytes]]:
    return [(f"{name}.png", data), (f"{name}.cls", label)]


@pytest.mark.parametrize(("members", "item", "says"), [
    (pair("../../etc/cron"), "../../etc/cron.png", "leads out of the folder"),
    (pair("a/../../b"), "a/../../b.png", "leads out of the folder"),
    (pair("/etc/cron"), "/etc/cron.png", "leads out of the folder"),
    (pair("a\\b"), "a\\b.png", "leads out of the folder"),
    (pair("a\nb"), "a�b.png", "control character"),
    ([(member("x.png", kind=tarfile.SYMTYPE, link="/etc/passwd"), b"")], "x.png", "it is a link, a device or a sparse file"),
    ([(member("x.png", kind=tarfile.LNKTYPE, link="0000.png"), b"")], "x.png", "it is a link"),
    ([(member("x.png", kind=tarfile.CHRTYPE), b"")], "x.png", "it is a link"),
    ([("readme", b"")], "readme", "its name has no dot"),
    ([("x.cls", b"0")], "x", "it has 0 images (cls), and a sample has one"),
    ([("x.png", PIC), ("x.jpg", PIC), ("x.cls", b"0")], "x", "it has 2 images (png, jpg, cls)"),
    ([("x.png", b"?"), ("x.png", PIC), ("x.cls", b"0")], "x.png", "its sample has a member of that kind already"),
    ([("x.png", PIC)], "x", "it has no member cls, where its label would be"),
    (pair("x", label=b""), "x", "its label '' has 0 characters"),
    (pair("x", label=b"\xff"), "x", "its member cls is no text in UTF-8"),
    (pair("x", label=b"a\0b"), "x", "its label 'a\\x00b' has 3 characters; 1 to 200 printable ones"),
    (pair("x", label=b"x" * 300), "x", "its label"),
    (pair("x", label=b"-1"), "x", "its label -1 is none of 0 to 1"),
    (pair("x", label=b"7"), "x", "its label 7 is none of 0 to 1"),
    (pair("x", label=b"cow"), "x", "its label 'cow' is none of the 2 class names"),
    (pair("x", label=b"0" * (2**20 + 1)), "x.cls", "it has 1048577 bytes; 1048576 are allowed"),
    (pair("x", data=b"no picture"), "x", "unknown format"),
    (pair("x", data=encoded(picture(3, 40, 40))[:2000]), "x", "truncated"),
    (pair("x", data=bomb(50_000, 50_000)), "x", "decompression bomb"),
    (pair("x", data=bytes(60_001)), "x.png", "it has 60001 bytes; 60000 are allowed"),
])
def test_a_member_or_sample_that_cannot_be_used_is_refused_with_a_reason(members: Sequence[Any], item: str, says: str) -> None:
    index = index_of({"x.tar": tar([*PLAIN[:6], *members, *PLAIN[6:]])}, names=["cat", "dog"], max_bytes=60_000)
    assert column(index, "id") == [f"x.tar#{number:04d}" for number in range(4)]
    assert (f"x.tar#{item}", True) in [(one.item, says in one.reason) for one in index.refused]


def test_a_sample_whose_members_stand_apart_is_refused_the_second_time() -> None:
    index = index_of({"x.tar": tar([*PLAIN, *pair("0001")])})
    assert column(index, "digest")[1] == pixels.digest(picture(1))
    assert {(one.item, one.reason) for one in index.refused} == {
        (f"x.tar#0001.{kind}", "its sample stands at another place of the file already") for kind in ("png", "cls")}


def test_the_same_key_in_two_shards_is_two_images() -> None:
    index = index_of({"a.tar": WHOLE, "b.tar": tar(samples([0, 1], 0))})
    assert len(set(column(index, "id"))) == 6


def test_folders_hidden_files_and_kinds_that_nobody_reads_are_no_trouble() -> None:
    extra = [(member("d", kind=tarfile.DIRTYPE), b""), (".DS_Store", b"x"), ("d/._0000.png", b"x"), ("0003.depth", b"x" * 10**6)]
    index = index_of({"x.tar": tar([*extra[:3], *PLAIN, extra[3]]), "x.idx": b"", "notes.md": b""})
    assert len(index.table) == 4
    assert index.refused == ()


def test_a_generated_image_stands_in_the_index_with_its_mark() -> None:
    index = index_of({"x.tar": tar([*PLAIN, *pair("drawn", ground.encode(picture(60), "jpeg"))])})
    assert column(index, "generated") == [""] * 4 + [ground.IPTC_MARK]


def lying(size: int) -> bytes:
    """A header that claims another size than what follows."""
    return member("x.png", size).tobuf() + bytes(512) + WHOLE


def negative() -> bytes:
    """A base-256 size below zero, which sends a naive reader back for ever."""
    header = bytearray(member("x.png", 1).tobuf())
    header[124:136] = struct.pack(">iq", -1, -1024)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header[:512])
    return WHOLE[:512] + WHOLE[512:1024] + bytes(header) + WHOLE


@pytest.mark.parametrize(("files", "options", "says"), [
    ({"x.txt": b""}, {}, "no file ends in .tar → check"),
    ({"x.tar": WHOLE[:1500]}, {}, "x.tar is .*truncated"),
    ({"x.tar": WHOLE[:512]}, {}, "x.tar is .*truncated"),
    ({"x.tar": WHOLE[:700]}, {}, "x.tar is .*truncated"),
    ({"x.tar": WHOLE.rstrip(b"\0") + bytes(-len(WHOLE.rstrip(b"\0")) % 512)}, {}, "x.tar is truncated: no block of zeros ends it"),
    ({"x.tar": WHOLE[:1024] + b"\x01" * 512 + WHOLE[1024:]}, {}, "x.tar is "),
    ({"x.tar": b""}, {}, "x.tar is .*no tar file"),
    ({"x.tar": b"no tar" * 1000}, {}, "x.tar is .*no tar file"),
    ({"x.tar": gzip.compress(WHOLE)}, {}, "x.tar is .*compressed or no tar file"),
    ({"x.tar": lying(10**12)}, {}, "x.tar is .*(truncated|damaged)"),
    ({"x.tar": lying(8 * 2**30 - 1)}, {}, "x.tar is .*(truncated|damaged)"),
    ({"x.tar": negative()}, {}, "x.tar is .*(truncated|damaged)"),
    ({"x.tar": tar([(member("x.png", 0, size="999999999999"), b""), *PLAIN])}, {}, "x.tar is .*(truncated|damaged)"),
    ({"x.tar": tar([(member("x.png", 0, size="-512"), b""), *PLAIN])}, {}, "x.tar is .*(truncated|damaged)"),
    ({"x.tar.gz": gzip.compress(WHOLE), "y.tar": WHOLE}, {}, "x.tar.gz is compressed.* → unpack it"),
    ({"x.tar": WHOLE}, {"max_file_bytes": 999}, f"x.tar has {len(WHOLE)} bytes; max_file_bytes=999 are allowed"),
    ({"x.tar": WHOLE}, {"classes": ["0", "5"]}, "class '5' has 0 usable images"),
    ({"x.tar": WHOLE}, {"names_file": "n.txt"}, "there is no 'n.txt' below `url`"),
    ({"x.tar": WHOLE, "n.txt": b"a\na\n"}, {"names_file": "n.txt"}, "n.txt has 2 class names, 1 of them different"),
    ({"x.tar": WHOLE, "n.txt": b"a\n\0\n"}, {"names_file": "n.txt"}, "n.txt is no list of class names"),
    ({"x.tar": WHOLE, "n.txt": b"\n" * (2**20 + 1)}, {"names_file": "n.txt"}, "n.txt has 1048577 bytes"),
    ({"x.tar": WHOLE}, {"label": "txt2"}, "no usable image was found.*it has no member txt2"),
])
def test_what_cannot_be_a_data_set_ends_the_job_with_a_cure(files: dict[str, bytes], options: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says) as caught:
        index_of(files, **options)
    assert caught.value.cure


@pytest.mark.parametrize("text", [
    b"{", b"[" * 100_000, b"[]", b'{"other": 1}', b'{"what": [1]}', b'{"what": true}', b'{"what": null}', b"\xff",
], ids=range(8))
def test_json_that_tells_no_label_refuses_its_sample(text: bytes) -> None:
    good = [(name.replace(".cls", ".json"), b'{"what": ' + data + b"}" if name.endswith(".cls") else data) for name, data in PLAIN]
    index = index_of({"x.tar": tar([*good, ("x.png", PIC), ("x.json", text)])}, label="json", label_key="what")
    assert len(index.table) == 4
    assert [one.item for one in index.refused] == ["x.tar#x"]


@given(st.integers(0, 2**32))
def test_a_damaged_file_is_an_index_or_a_data_error_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = bytearray(WHOLE)
    for place in rng.integers(0, len(data) - 8000, 5):
        data[place] = rng.integers(256)
    try:
        index_of({"x.tar": bytes(data)})
    except DataError:
        return


@given(st.integers(0, len(WHOLE)))
def test_a_file_cut_anywhere_before_its_end_is_refused(length: int) -> None:
    whole = len(WHOLE.rstrip(b"\0"))
    if length < whole:
        with pytest.raises(DataError, match="truncated"):
            index_of({"x.tar": WHOLE[:length]})


def test_if_a_shard_may_not_be_read_the_permission_is_what_ends_the_job() -> None:
    with pytest.raises(AccessError, match="no permission"):
        index_of({"secret.tar": WHOLE})


@pytest.mark.parametrize("now", [tar(samples([0, 1, 0, 1], 90)), WHOLE[:2000], tar(PLAIN[1:])])
def test_an_image_that_changed_after_the_index_ends_the_job_when_it_is_loaded(now: bytes, tmp_path: Path) -> None:
    images = source(write(tmp_path, {"x.tar": WHOLE}))
    rows = images.index().table
    write(tmp_path, {"x.tar": now})
    with pytest.raises(DataError, match=r"'x\.tar#000\d' changed after the index was frozen.* start a new edition"):
        list(images.load(rows))


def test_a_forged_locator_loads_nothing(tmp_path: Path) -> None:
    images = source(write(tmp_path, {"x.tar": WHOLE}))
    rows = images.index().table.slice(0, 1)
    for locator in ("x.tar#0000", "x.tar#-5+10", "x.tar#99999999+10", "x.tar#0+999999999999"):
        forged = rows.set_column(rows.schema.get_field_index("locator"), "locator", pa.array([locator]))
        with pytest.raises(DataError, match=r"'x\.tar#0000' changed after the index was frozen"):
            list(images.load(forged))


def test_many_bombs_take_little_memory(tmp_path: Path) -> None:
    """In a process of its own: pictures that claim 7.5 GB each, and ones that fill the limit."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for number in range(300):
            data = bomb(50_000, 50_000) if number % 2 else bytes(2**20)
            for name, content in ((f"{number}.png", data), (f"{number}.cls", b"0")):
                file.addfile(member(name, len(content)), io.BytesIO(content))
    url = write(tmp_path, {"x.tar": out.getvalue()})
    code = """
import resource, sys
from job.errors import DataError
from job.real.webdataset import WebDataset
from tests.folders import LocalFolder
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    WebDataset(WebDataset.Options(url=sys.argv[1], max_bytes=2**20), LocalFolder).index()
except DataError as error:
    print(error.problem)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    found = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    told, grown = found.stdout.splitlines()
    assert "no usable image was found (x.tar#0: unknown format" in told
    assert int(grown) < 3 * len(out.getvalue()) // 1024   # the file, a copy while it is read, and little else


@pytest.mark.parametrize("options", [
    {"classes": []}, {"names": ["a", "a"]}, {"label": "A b"}, {"readers": 0}, {"max_bytes": 0}, {"url": ""},
])
def test_impossible_options_are_refused_before_anything_is_read(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WebDataset.Options(**{"url": "x", **options})
