"""Real data is read from folders, buckets and the web, never through a URL inside another; trouble tells no secret."""

import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from job.errors import DataError, SettingsError
from job.ground.store import ReadOnlyFolder, Store

pytestmark = pytest.mark.unit


class Silent(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


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


def test_memory_is_read_from_its_root_and_below() -> None:
    Store("memory://apart/real").create("cat/1", b"12")
    assert ReadOnlyFolder("memory://apart/real").list() == [("cat/1", 2)]
    assert ("apart/real/cat/1", 2) in ReadOnlyFolder("memory://").list()


def test_a_web_server_that_lists_its_folders_is_read_with_true_sizes(web: str) -> None:
    folder = ReadOnlyFolder(web, retry_s=0)
    assert folder.list() == [("cat/1", 2)]
    assert folder.read("cat/1") == b"12"
    with pytest.raises(DataError, match=r"nothing to read at http://.*/none → .*page of links"):
        ReadOnlyFolder(f"{web}/none", retry_s=0).list()


def test_a_page_that_is_not_there_is_not_waited_for(web: str) -> None:
    with pytest.raises(DataError, match="cat/2 does not exist"):
        ReadOnlyFolder(web, retry_s=60).read("cat/2")


@pytest.mark.parametrize("url", [
    "nosuch://me:hidden@host/x", "ftp://me:hidden@host/x", "sftp://host/x", "github://o:r@main/x", "local://etc", "data://x", "zip://x.zip"])
def test_only_folders_buckets_and_the_web_are_read_from(url: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot read from .* use a folder or one of file, s3, .*https://") as caught:
        ReadOnlyFolder(url)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("url", [
    "zip://::/a.zip", "zip://sub::s3://me:hidden@bucket/x.zip", "simplecache::s3://me:hidden@bucket/x", "simplecache::https://host/x?signature=hidden",
    "filecache::file:///etc", "blockcache::memory://x", "dir://sub::memory://", "x::y", "reference://::http://host/x.json", "file:///a::s3://b/c"])
@pytest.mark.parametrize("kind", [ReadOnlyFolder, Store])
def test_a_url_inside_another_is_refused_wherever_it_could_lead(kind: type, url: str) -> None:
    with pytest.raises(SettingsError, match=r"URL inside another.*unpack archives") as caught:
        kind(url)
    assert "hidden" not in str(caught.value)


def test_what_can_be_read_from_is_still_no_root(web: str) -> None:
    ReadOnlyFolder(web)
    with pytest.raises(SettingsError, match="cannot store at"):
        Store(web)


def test_a_folder_that_is_read_can_be_sent(web: str) -> None:
    assert pickle.loads(pickle.dumps(ReadOnlyFolder(web, retry_s=0))).read("cat/1") == b"12"
