"""Retries of a hopeless submission end at once; what may pass, and what was repaired under whatever name, goes on."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from job import admit, lives, plan
from job.__main__ import main
from job.errors import AccessError, BudgetError, ConflictError, DataError, JobError, SettingsError, TemporaryError
from job.ground import layout
from job.ground.store import Store
from job.lives import remembered
from job.settings import Settings, load
from tests.conftest import forget_memory
from tests.folders import class_folders, encoded, picture, write

pytestmark = pytest.mark.unit
HOPELESS = (SettingsError, DataError, ConflictError, JobError)
PASSING = (TemporaryError, BudgetError, AccessError)


def chosen(root: str, retries: int | None = None, submission: str = "uid-1", **more: str) -> Settings:
    environ = {"ROOT": root, "SUBMISSION": submission, **({} if retries is None else {"RETRIES": str(retries)}), **more}
    return load([], {f"SALTWORKS_{name}": value for name, value in environ.items()})


def attempt(root: Path | str, error: BaseException | None, retries: int | None = None, **more: Any) -> str | None:
    """The submission id under which the attempt got as far as doing anything, or None."""
    settings = chosen(str(root), retries, **more)
    begun = None
    with remembered(Store(settings.root, 0), settings) as mine:
        begun = mine.submission
        if error:
            raise error
    return begun


def fails(root: Path | str, error: BaseException | None, retries: int | None = None, **more: Any) -> bool:
    """Whether an attempt that would end so was refused before it did anything."""
    try:
        attempt(root, error, retries, **more)
    except JobError as met:
        return "has met this before" in str(met)
    return False


@pytest.mark.parametrize("error", [kind("a", "b") for kind in HOPELESS] + [KeyError("x")])
def test_a_hopeless_error_is_met_again_without_doing_anything(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        attempt(tmp_path, error)
    for _ in range(3):   # without a number of retries there is no end to it
        with pytest.raises(JobError, match="has met this before") as caught:
            attempt(tmp_path, None)
        assert caught.value.exit_code == getattr(error, "exit_code", 70)
    assert attempt(tmp_path, None, submission="uid-2")   # a repaired submission starts


@pytest.mark.parametrize("error", [*(kind("a") for kind in PASSING), KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("retries", [None, 2])
def test_what_may_pass_blocks_nobody(error: BaseException, retries: int | None, tmp_path: Path) -> None:
    with pytest.raises(type(error)):
        attempt(tmp_path, error, retries)
    assert Store(str(tmp_path)).list("digits/terminal/") == []
    assert attempt(tmp_path, None, retries) == "uid-1"


def test_what_is_written_down_tells_no_secret(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        attempt(tmp_path, DataError("nothing at s3://key:hunter2@bucket/x?sig=hunter2", "look"), 1,
                REAL__NAME="image_folder", REAL__OPTIONS__URL="s3://key:hunter2@bucket/x")
    data = Store(str(tmp_path)).read(layout.terminal("digits", "uid-1", 0))
    assert b"hunter2" not in data


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_with_retries_a_hopeless_submission_is_refused_as_often_and_then_lives_again(retries: int, tmp_path: Path) -> None:
    for life in ("uid-1", "uid-1.1", "uid-1.2"):
        assert not fails(tmp_path, DataError("torn"), retries)
        assert [fails(tmp_path, None, retries) for _ in range(retries)] == [True] * retries
        assert lives.present(Store(str(tmp_path)), chosen(str(tmp_path), retries)).submission != life


def test_a_refusal_counts_itself_and_names_the_cure(tmp_path: Path) -> None:
    assert not fails(tmp_path, DataError("torn", "mend it"), 2)
    with pytest.raises(DataError, match=r"met this before.*: torn → mend it; .* submit again \(refused 1 of 2 times\)"):
        attempt(tmp_path, None, 2)


def test_a_success_ends_a_life_and_only_with_retries(tmp_path: Path) -> None:
    assert [attempt(tmp_path, None, 1) for _ in range(3)] == ["uid-1", "uid-1.1", "uid-1.2"]
    assert [attempt(tmp_path, None, submission="uid-2") for _ in range(3)] == ["uid-2"] * 3
    assert Store(str(tmp_path)).list(layout.terminals("digits", "uid-2")) == []


def test_repaired_settings_begin_a_new_life_at_once(tmp_path: Path) -> None:
    assert not fails(tmp_path, DataError("too many failed"), 3)
    assert fails(tmp_path, None, 3)
    assert attempt(tmp_path, None, 3, GENERATOR__FAILED_SHARE=".5") == "uid-1.1"


def test_a_life_that_planned_a_run_with_other_settings_is_anothers(tmp_path: Path) -> None:
    store, monday = Store(str(tmp_path)), chosen(str(tmp_path), 2)
    identity = lives._identity(monday)
    store.create(layout.submission("digits", "uid-1"), json.dumps({"run": "r", "identity": identity}).encode())
    assert lives.present(store, monday).submission == "uid-1"
    other = chosen(str(tmp_path), 2, SWEEP__SEEDS="7")
    assert lives.present(store, other).submission == "uid-1.1"
    assert lives.present(store, chosen(str(tmp_path), 2, BUDGET_USD="7")).submission == "uid-1"   # a raised budget goes on
    assert lives.present(store, chosen(str(tmp_path), None, SWEEP__SEEDS="7")).submission == "uid-1"   # which is a conflict


def test_whoever_creates_the_rayjob_ends_what_a_former_one_met(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    assert not fails(tmp_path, DataError("torn"), 3)
    assert lives.renew(store, chosen(str(tmp_path), 3)).submission == "uid-1.1"
    assert attempt(tmp_path, None, 3) == "uid-1.1"
    assert not fails(tmp_path, DataError("torn"), submission="uid-2")
    with pytest.raises(DataError, match="has met this before"):
        lives.renew(store, chosen(str(tmp_path), submission="uid-2"))
    assert lives.renew(store, chosen(str(tmp_path), submission="")).submission is None


def test_a_finished_run_is_found_by_the_life_that_planned_it(tmp_path: Path) -> None:
    store, settings = Store(str(tmp_path)), chosen(str(tmp_path), 1)
    assert lives.last(store, settings) == settings
    store.create(layout.submission("digits", "uid-1"), json.dumps({"run": "r", "identity": lives._identity(settings)}).encode())
    assert attempt(tmp_path, None, 1) == "uid-1"
    assert lives.last(store, settings).submission == "uid-1"
    assert lives.looked_up(store, settings).submission == "uid-1.1"


WORLD = st.lists(st.sampled_from(["start", "repair", "break", "outage", "calm", "create"]), max_size=40)


@hypothesis_settings(max_examples=150)
@given(steps=WORLD, retries=st.integers(0, 3))
def test_whatever_happened_a_repaired_submission_heals_within_its_retries_and_a_hopeless_one_is_never_paid_twice(
    steps: list[str], retries: int
) -> None:
    """A world with data that are torn or whole, and a storage that passes or not. A RayJob is its starts: 1 + retries at most."""
    forget_memory()
    root, torn, outage, starts, paid = "memory://lives", False, False, 0, 0
    ended = False
    for step in [*steps, "repair", "calm", "create"]:
        if step == "create":
            starts, paid, ended = 0, 0, False
        elif step in ("repair", "break"):
            torn = step == "break"
        elif step in ("outage", "calm"):
            outage = step == "outage"
        elif not ended and starts <= retries:
            starts += 1
            error = TemporaryError("away") if outage else DataError("torn") if torn else None
            refused = fails(root, error, retries)
            paid += not refused and isinstance(error, DataError)
            ended = not refused and error is None
            assert paid <= 1   # whatever a former RayJob of the name left behind
    outcomes = []
    for _ in range(retries + 1):
        outcomes.append(fails(root, None, retries))
        if not outcomes[-1]:
            break
    assert outcomes[-1] is False


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_starts_at_the_same_time_lose_no_record_and_end_every_life(retries: int, tmp_path: Path) -> None:
    at_once, settings = Barrier(4), chosen(str(tmp_path), retries)

    def meet(_: int) -> None:
        with suppress(DataError), remembered(Store(settings.root), settings):
            at_once.wait()
            raise DataError("torn")

    def start(_: int) -> bool:
        at_once.wait()
        return fails(tmp_path, None, retries)

    with ThreadPoolExecutor(4) as starts:
        list(starts.map(meet, range(4)))
        refused = sum(starts.map(start, range(4)))
    assert refused >= retries
    store = Store(settings.root)
    told = [json.loads(store.read(key))["what"] for key, _ in store.list(layout.terminals("digits", "uid-1"))]
    assert sorted(told) == ["done"] * (4 - refused) + ["hopeless"] * 4 + ["refused"] * refused
    assert attempt(tmp_path, None, retries)


def test_a_name_that_was_used_for_years_is_still_one_listing_and_one_read_each(tmp_path: Path) -> None:
    for number in range(40):
        assert attempt(tmp_path, None, 1) == (f"uid-1.{number}" if number else "uid-1")


def test_a_finished_rayjob_that_is_created_anew_looks_at_the_data_and_repeats_nothing_unless_they_changed(tmp_path: Path) -> None:
    photos = write(tmp_path / "photos", class_folders({"cat": 40, "dog": 40}, seed=5))
    settings = chosen(str(tmp_path / "root"), 1, REAL__NAME="image_folder", REAL__OPTIONS__URL=photos, GENERATOR__NAME="fake",
                      MEASURE__METRICS="{}", FILTER__KIND="none", SWEEP__ALPHAS="0,.5")
    store = Store(settings.root)

    def start(error: JobError | None = None) -> str:
        """What a start does before its first room; the run that it found or planned."""
        run = ""
        with suppress(TemporaryError), remembered(store, settings) as mine:
            plugs = plan.choose_plugs(mine)
            planned = admit.known(store, mine, plugs) or admit.freeze(store, mine, plugs, *admit.draft(store, mine, plugs))
            run = planned[0].run
            if error:
                raise error
        return run

    first = start(TemporaryError("preempted"))
    write(tmp_path / "photos", {"cat/new.png": encoded(picture(9999))})
    assert start() == first                       # a retry finds its run, whatever became of the data
    second = start()
    assert second != first                        # the next life looks at them
    assert start() == second                      # and the one after it finds that they are the same
    assert lives.last(store, settings).submission == "uid-1.2"


def test_through_the_front_door_a_retry_ends_with_the_same_code_and_a_repaired_submission_gets_further(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write(tmp_path / "photos", class_folders({"cat": 12, "dog": 12}) | {"eel/readme.md": b"no image"})
    flags = ["--root", str(tmp_path / "root"), "--real.name", "image_folder", "--real.options.url", photos, "--real.refused_share", "1",
             "--generator.name", "fake"]
    assert main(["run", *flags, "--submission", "uid-1"]) == 65
    first = capsys.readouterr().err
    write(tmp_path / "photos", {f"eel/{number}.png": encoded(picture(9000 + number)) for number in range(40)})
    assert main(["run", *flags, "--submission", "uid-1"]) == 65
    assert "has met this before" in capsys.readouterr().err
    assert "eel" in first
    assert main(["plan", *flags, "--submission", "uid-2"]) == 0
