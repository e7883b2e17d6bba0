"""What the verbs refuse and what they do, through the command line, on a made run in a folder."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from job import settings
from job.__main__ import main
from job.errors import SettingsError
from job.ground import layout
from job.ground.store import Store
from job.publish import inventory
from job.publish.gc import gc
from job.verbs import VERBS
from tests.unit.made_run import flags_of, make_run
from tests.unit.publishing import contents, folder

pytestmark = pytest.mark.unit
Told = Callable[..., tuple[int, str]]


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> Told:
    """Run a command: its exit code, and all that it printed."""
    def run(*arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        code = main(list(arguments))
        out = capfd.readouterr()
        return code, out.out + out.err

    return run


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", inventory.SHARED)
def test_no_verb_takes_the_name_of_what_all_datasets_share(verb: str, name: str, told: Told, tmp_path: Path) -> None:
    code, text = told(verb, "--root", str(tmp_path / "root"), "--dataset", name)
    assert (code, f"SALTWORKS_DATASET={name!r}" in text, "use another name" in text) == (64, True, True)
    assert not (tmp_path / "root").exists()


def test_the_refused_names_are_those_that_the_tree_uses_and_no_others() -> None:
    assert set(settings.SHARED) == set(inventory.SHARED)
    assert {layout.SYNTHETIC.rstrip("/"), layout.scores("m", "r", "u").partition("/")[0]} == set(settings.SHARED)
    assert settings.load(["--dataset=synthetics"], {}).dataset == "synthetics"
    with pytest.raises(SettingsError):
        settings.load([], {"SALTWORKS_DATASET": "scores"})


def test_gc_takes_no_shared_object_for_one_of_a_dataset(tmp_path: Path) -> None:
    store = folder(tmp_path / "root")
    make_run(store, tmp_path / "real")
    for shared in inventory.SHARED:
        for key in (f"{shared}/versions/000009/README.md", f"{shared}/runs/{'0' * 8}/stops/p.json"):
            store.create(key, b"{}")
    before = contents(store)
    for dataset in inventory.SHARED:
        assert gc(store, dataset, 0, confirm=True) == ()
    assert contents(store) == before
    gc(store, "pets", 0, confirm=True)
    assert {key for key in before if "/versions/" in key or "/stops/" in key} <= set(contents(store))


def test_a_rollback_without_a_number_is_wrong_usage(told: Told, tmp_path: Path) -> None:
    code, text = told("rollback", "--root", str(tmp_path))
    assert (code, "rollback NUMBER" in text) == (64, True)


def test_an_export_to_memory_would_be_lost_and_is_refused_before_anything_is_read(told: Told, tmp_path: Path) -> None:
    code, text = told("export", "1", "--root", str(tmp_path / "none"), "--publish.export_to", "memory://user:Zq7@there")
    assert (code, "SALTWORKS_PUBLISH__EXPORT_TO" in text, "folder or a bucket" in text, "Zq7" in text) == (64, True, True, False)


def test_the_cure_that_verify_prints_cures(told: Told, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), retry_s=0)
    make_run(store, tmp_path / "real", word="hurt")
    flags = [*flags_of(store, tmp_path / "real"), '--publish.licences=["CC0-1.0"]']
    code, text = told("publish", *flags)
    assert (code, "version 1 of pets" in text) == (0, True)
    code, text = told("verify", *flags)
    assert (code, "SALTWORKS_PUBLISH__MOVE_LATEST=always" in text) == (65, True)
    assert told("publish", *flags, "--publish.move_latest", "always")[0] == 0
    code, text = told("verify", *flags)
    assert (code, "version 1 is whole" in text) == (0, True)
    assert json.loads(store.read(layout.latest("pets")))["version"] == 1
