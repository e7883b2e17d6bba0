"""Real data is read from whatever fsspec knows, archives and chains too; trouble has a name and tells no secret."""

import pickle
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from job.errors import DataError, SettingsError
from job.ground.store import ReadOnlyFolder, Store

pytestmark = pytest.mark.unit


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.mkdir("sub/none")
        for name, data in (("sub/cat/1", b"12"), ("sub/dog/2", b"3"), ("subway", b"4567")):
            file.writestr(name, data)
    return tmp_path / "x.zip"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web" / "cat").mkdir(parents=True)
    (tmp_path / "web" / "cat" / "1").write_bytes(b"12")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path / "web"))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("url", ["zip://::{}", "zip://::file://{}", "zip::{}", "zip://::memory://kept.zip"])
def test_a_whole_archive_is_read_like_a_folder(url: str, archive: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/kept.zip", archive.read_bytes())
    folder = ReadOnlyFolder(url.format(archive), retry_s=0)
    assert folder.list() == [("sub/cat/1", 2), ("sub/dog/2", 1), ("subway", 4)]
    assert [folder.read(path) for path, _ in folder.list()] == [b"12", b"3", b"4567"]


@pytest.mark.parametrize("url", ["zip://sub::{}", "zip://sub/::file://{}", "simplecache::zip://sub::{}"])
def test_a_folder_inside_an_archive_holds_its_own_files_alone(url: str, archive: Path) -> None:
    folder = pickle.loads(pickle.dumps(ReadOnlyFolder(url.format(archive), retry_s=0)))
    assert folder.list() == [("cat/1", 2), ("dog/2", 1)]
    assert folder.read("dog/2") == b"3"
    with pytest.raises(DataError, match="cat/2 does not exist"):
        folder.read("cat/2")


def test_an_archive_beside_the_process_is_found_from_elsewhere(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(archive.parent)
    folder = ReadOnlyFolder("zip://sub::x.zip", retry_s=0)
    monkeypatch.chdir("/")
    assert folder.read("cat/1") == b"12"


def test_memory_is_read_from_its_root_and_below() -> None:
    Store("memory://apart/real").create("cat/1", b"12")
    assert ReadOnlyFolder("memory://apart/real").list() == [("cat/1", 2)]
    assert ("apart/real/cat/1", 2) in ReadOnlyFolder("memory://").list()
    assert ReadOnlyFolder("dir://apart::memory://").read("real/cat/1") == b"12"


def test_a_web_server_that_lists_its_folders_is_read_with_true_sizes(web: str) -> None:
    folder = ReadOnlyFolder(web, retry_s=0)
    assert folder.list() == [("cat/1", 2)]
    assert folder.read("cat/1") == b"12"
    with pytest.raises(DataError, match=r"nothing to read at http://.*/none → .*page of links"):
        ReadOnlyFolder(f"{web}/none", retry_s=0).list()


@pytest.mark.parametrize(("url", "protocol"), [
    ("nosuch://me:hidden@host/x", "nosuch"), ("x::/y", "x"), ("zip://::nosuch://host/x.zip?signature=hidden", "nosuch")])
def test_an_unknown_protocol_is_named_without_secrets(url: str, protocol: str) -> None:
    with pytest.raises(SettingsError, match=f"cannot read from .*unknown protocol '{protocol}'") as caught:
        ReadOnlyFolder(url)
    assert "hidden" not in str(caught.value)


def test_an_archive_that_is_missing_or_none_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"no archive at all")
    for url in (f"zip://::{tmp_path}/none.zip", f"zip://::{tmp_path}/text", f"tar://::{tmp_path}/text"):
        for act in (lambda folder: folder.list(), lambda folder: folder.read("x")):
            with pytest.raises(DataError, match=r"cannot read from (zip|tar)://"):
                act(ReadOnlyFolder(url, retry_s=0))


def test_what_can_be_read_from_is_still_no_root(archive: Path) -> None:
    with pytest.raises(SettingsError, match="cannot store at"):
        Store(f"zip://::{archive}")
