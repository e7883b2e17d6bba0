"""Compiled code is kept below the run's root, read by the next process, and never run if it is not what was kept."""

import json
import shutil
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from job import plan
from job.compiled import Kept
from job.errors import DataError, TemporaryError
from job.generate import Drawer
from job.generators import GENERATORS
from job.generators.fake import Fake
from job.ground import layout
from job.ground.store import Store
from job.pool import Place
from job.records import Failure, Sample, SampleSpec
from job.runplan import Pool
from tests.unit.made_run import make_run

pytestmark = [
    pytest.mark.contract,
    pytest.mark.skipif(not shutil.which("g++"), reason="PyTorch compiles with a C++ compiler"),
]
RUN = layout.Run("digits", "run")


def compile_something() -> None:
    """A product that PyTorch compiles."""
    torch._dynamo.reset()
    layer = torch.nn.Linear(3, 3)
    with torch.no_grad():
        torch.compile(layer, dynamic=False)(torch.ones(2, 3))


class Process:
    """What a process begins with: no compiled code of its own anywhere."""

    def __init__(self) -> None:
        from torch._inductor.utils import fresh_cache
        from torch.compiler._cache import CacheArtifactManager

        self._both = (fresh_cache(), CacheArtifactManager.with_fresh_cache())

    def __enter__(self) -> None:
        for one in self._both:
            one.__enter__()

    def __exit__(self, *_: object) -> None:
        for one in self._both[::-1]:
            one.__exit__(None, None, None)
        torch._dynamo.reset()


def kept(store: Store, good_for: str = "this machine") -> Kept:
    """A first process has compiled and kept."""
    with Process():
        one = Kept(store, RUN, "recipe", good_for)
        assert not one.take()
        compile_something()
        one.collect()
        one.keep()
    return one


def compiled(how: str) -> int:
    """So far: graphs that were found (``hit``), or compiled anew (``miss``)."""
    from torch._dynamo.utils import counters

    return counters["inductor"][f"fxgraph_cache_{how}"]


@pytest.mark.parametrize("place", ["folder", "memory"])
def test_what_one_process_compiled_the_next_one_does_not_compile_again(place: str, tmp_path: Path) -> None:
    store = Store(str(tmp_path) if place == "folder" else f"memory://{uuid.uuid4().hex}", 0)
    kept(store)
    keys = [key for key, _ in store.list("")]
    assert [key.rpartition(".")[2] for key in keys] == ["bin", "json"]
    assert all(key.startswith(f"{RUN.root}compiled/") for key in keys)
    with Process():
        later = Kept(store, RUN, "recipe", "this machine")
        assert later.take()
        before = compiled("hit")
        compile_something()
        assert compiled("hit") == before + 1
        later.collect()
        later.keep()
    assert [key for key, _ in store.list("")] == keys   # written once
    for other in (Kept(store, RUN, "recipe", "another machine"), Kept(store, RUN, "another recipe", "this machine")):
        assert not other.take()


class Compiling(Fake):
    """Compiles before it draws."""

    def compiled_for(self, batch_size: int, size_px: int) -> str:
        return f"this machine, {batch_size} × {size_px}"

    def draw(self, specs: Sequence[SampleSpec]) -> list[Sample | Failure]:
        compile_something()
        return super().draw(specs)


def test_a_worker_begins_with_what_an_earlier_one_of_its_run_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATORS, "compiling", f"{__name__}:Compiling")
    made = make_run(Store(f"memory://{uuid.uuid4().hex}", 0), tmp_path / "real", finished=False)
    planned = replace(made.planned, recipe=replace(made.planned.recipe, id="another", generator="compiling"))
    units, anew = plan.first_round(planned), []
    for at, run in enumerate((RUN, RUN, layout.Run("digits", "another run"))):
        place = Place(made.store.url, 0, run, "generate", Pool(1, 1, 0), "stop", 60, "session")
        with Process():
            before = compiled("miss")
            worker = Drawer(place, planned)
            assert worker._row(units[at])["ours"]
            anew.append(compiled("miss") - before)
    assert anew == [1, 0, 1]   # the cache is a run's own


@pytest.mark.parametrize("damage", ["data", "size", "record"])
def test_code_that_is_not_what_was_kept_is_refused_and_not_read(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(str(tmp_path), 0)
    kept(store)
    (data_key, _), (record_key, _) = store.list("")
    record = json.loads(store.read(record_key))
    if damage == "data":
        store.replace(data_key, b"other" + store.read(data_key)[5:])
    elif damage == "size":
        store.replace(record_key, json.dumps({**record, "bytes": record["bytes"] - 1}).encode())
    else:
        store.replace(record_key, b"[]")
    monkeypatch.setattr(torch.compiler, "load_cache_artifacts", lambda data: pytest.fail("it was read"))
    with pytest.raises(DataError) as caught:
        Kept(store, RUN, "recipe", "this machine").take()
    assert "SALTWORKS_GENERATOR__OPTIONS__COMPILE_CACHE=false" in caught.value.cure


def test_two_units_that_end_at_once_keep_all_of_it(tmp_path: Path) -> None:
    class Slow(Store):
        asked, going = threading.Event(), threading.Event()

        def get(self, key: str) -> bytes | None:
            self.asked.set()
            assert self.going.wait(60)
            return super().get(key)

    slow = Kept(Slow(str(tmp_path), 0), RUN, "recipe", "this machine")
    with Process():
        compile_something()
        slow.collect()
    with ThreadPoolExecutor(1) as other:
        first = other.submit(slow.keep)
        assert Slow.asked.wait(60)
        slow.keep()
        Slow.going.set()
        first.result()
    with Process():
        assert Kept(Store(str(tmp_path), 0), RUN, "recipe", "this machine").take()


def test_where_it_is_off_nothing_is_read_or_written(tmp_path: Path) -> None:
    class Untouched(Store):
        def get(self, key: str) -> bytes | None:
            pytest.fail(f"read {key}")

        def create(self, key: str, data: bytes) -> bool:
            pytest.fail(f"wrote {key}")

    off = Kept(Untouched(str(tmp_path), 0), RUN, "recipe", "")
    assert not off.take()
    compile_something()
    off.collect()
    off.keep()


def test_storage_trouble_costs_the_warm_start_and_no_work(tmp_path: Path) -> None:
    class Down(Store):
        def get(self, key: str) -> bytes | None:
            raise TemporaryError("not today")

        create = get   # type: ignore[assignment]

    kept(Down(str(tmp_path), 0))
    store = Store(str(tmp_path / "gone"), 0)
    kept(store)
    data_key = store.list("")[0][0]
    store.delete(data_key)
    assert not Kept(store, RUN, "recipe", "this machine").take()   # a record without its data: compiled anew
