"""The verb ``compare`` on made runs in a folder: what it says, what it leaves behind, and what it refuses before it looks."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from job import sweep
from job.__main__ import main
from job.ground import layout, lineage
from job.ground.store import Store
from tests.unit.made_run import Made, flags_of, make_run
from tests.unit.publishing import folder

pytestmark = pytest.mark.unit
FLAGS = {"a": (), "b": ("--generator.options.noise=0.5",), "c": ("--generator.options.noise=0.75", "--filter.kind=none")}
WORDS = {"a": "helped", "b": "no detectable difference", "c": "helped"}   # right on 95, 60 and 95 % of the images


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Made]]:
    """Three finished runs on the same real images, with the answers of their confirmation: c's are those of a."""
    place = tmp_path_factory.mktemp("made")
    store = folder(place / "root")
    made = {name: make_run(store, place / "real", word=WORDS[name], flags=flags) for name, flags in FLAGS.items()}
    for one in made.values():
        assert one.found
        for trial in (one.found.candidate, one.found.baseline):
            sweep._commit(store, one.planned, trial)
    return place / "root", made


@pytest.fixture
def runs(finished: tuple[Path, dict[str, Made]], tmp_path: Path) -> dict[str, Made]:
    """A copy of them that a test may spoil."""
    shutil.copytree(finished[0], tmp_path / "root")
    return {name: replace(one, store=folder(tmp_path / "root")) for name, one in finished[1].items()}


@pytest.fixture
def told(runs: dict[str, Made], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Compare runs by their letters: exit code, and all that was printed."""
    def compare(*names: str) -> tuple[int, str]:
        capfd.readouterr()
        given = [runs[name].planned.run if name in runs else name for name in names]
        root, url = flags_of(runs["a"].store, tmp_path / "real")[:2]
        code = main(["compare", *root.split("=", 1), *given[:1], url, *given[1:]])   # names may stand anywhere
        out = capfd.readouterr()
        return code, out.out + out.err

    return compare


def looks(made: Made) -> list[str]:
    test = lineage.test_id(made.split.part("test")["digest"].to_pylist())
    return [key for key, _ in made.store.list(layout.looks("pets", test))]


def record(made: Made) -> dict:
    (key,) = [key for key, _ in made.store.list("pets/comparisons/") if key.endswith(".json")]
    return json.loads(made.store.read(key))


def change(store: Store, key: str, **fields: object) -> None:
    store.replace(key, json.dumps(json.loads(store.read(key)) | fields).encode())


def test_it_prints_a_table_the_words_what_differs_and_where_the_record_lies(runs: dict[str, Made], told: Callable) -> None:
    code, text = told("a", "b", "c")
    assert code == 0
    a, b, c = (runs[name] for name in "abc")
    assert a.found
    assert b.found
    gap = b.found.candidate.correct_SN.mean(dtype=float) - a.found.candidate.correct_SN.mean(dtype=float)
    found = record(a)
    assert [row["run"] for row in found["rows"]] == [one.planned.run for one in (a, b, c)]
    assert found["rows"][0]["against"] is None
    assert found["rows"][1]["against"]["gain"]["mean"] == pytest.approx(gap)
    assert (found["rows"][1]["against"]["word"], found["rows"][2]["against"]["word"]) == ("hurt", "no detectable difference")
    assert found["rows"][2]["against"]["gain"]["mean"] == 0
    assert found["differs"]["generator.options.noise"] == ["0.25", "0.5", "0.75"]
    assert found["differs"]["filter.kind"] == ["threshold", "threshold", "none"]
    assert [row["accepted"] is None for row in found["rows"]] == [False, False, True]
    assert a.report
    assert found["rows"][0]["cost_per_1000"] == pytest.approx(1000 * a.report.cost_of.kept_image)
    lines = text.splitlines()
    assert max(len(line) for line in lines if not line.startswith("report")) <= 100
    assert "accuracy of the candidates on 24 locked test images × 5 confirm seeds, the same for all" in lines[0]
    assert "differs    generator.options.noise: 0.25 | 0.5 | 0.75" in lines
    table = {line.split()[0]: line for line in lines if line.split()[:1] in [[one.planned.run] for one in (a, b, c)]}
    assert [table[one.planned.run].split()[1:3] for one in (a, b, c)] == [["0.5", "0.5"], ["0.5", "0"], ["0.5", "0.5"]]
    assert any(line.startswith(f"verdict    {b.planned.run} hurt: accuracy −") for line in lines)
    assert lines[-1].endswith(f"pets/comparisons/{found['comparison']}/")
    page = a.store.read(f"pets/comparisons/{found['comparison']}/report.html").decode()
    assert all(one.planned.run in page for one in (a, b, c))
    assert "generator.options.noise" in page


def test_the_look_is_counted_once_per_comparison_and_shown(runs: dict[str, Made], told: Callable) -> None:
    assert looks(runs["a"]) == []   # made without a look
    assert "looks      1 at these" in told("a", "b")[1]
    assert "looks      1 at these" in told("a", "b")[1]
    assert "looks      2 at these" in told("a", "b", "c")[1]
    assert all("/compare-" in key for key in looks(runs["a"]))


def test_it_is_the_reference_that_turns_a_loss_into_a_gain(runs: dict[str, Made], told: Callable) -> None:
    assert f"verdict    {runs['a'].planned.run} helped: accuracy +" in told("b", "a")[1]
    assert record(runs["a"])["rows"][1]["against"]["at_worst"] == pytest.approx(record(runs["a"])["rows"][1]["against"]["gain"]["low"])


def gone(key: Callable[[Made], str]) -> Callable[[Made], None]:
    return lambda made: made.store.delete(key(made))


def another_report(made: Made) -> None:
    key = made.keys.report("report.json")
    confirmed = json.loads(made.store.read(key))["confirmed"]
    confirmed[1]["test_accuracies"][0] /= 2
    change(made.store, key, confirmed=confirmed)


def no_verdict(made: Made) -> None:
    change(made.store, made.keys.report("report.json"), verdict="no verdict", would_decide="one confirm seed gives no verdict")


def other_steps(made: Made) -> None:
    plan = json.loads(made.store.read(made.keys.plan()))
    change(made.store, made.keys.plan(), schedule=plan["schedule"] | {"steps": 7})


def epochs(made: Made) -> None:
    plan = json.loads(made.store.read(made.keys.plan()))
    change(made.store, made.keys.plan(), schedule=plan["schedule"] | {"epochs": 3})


@pytest.mark.parametrize(("spoil", "problem", "cure"), [
    (gone(lambda made: made.keys.done()), "is not finished", "python -m job run"),
    (gone(lambda made: made.keys.report("report.json")), "report of run", "python -m job report"),
    (gone(lambda made: made.keys.trial("test-0.5")), "no stored trial at α = 0.5", "python -m job report"),
    (another_report, "no stored trial at α = 0.5 that is right as often as its report says", "python -m job report"),
    (no_verdict, "has no verdict: one confirm seed", "five confirm seeds and 10 judged images"),
    (other_steps, "train.steps is 300 in the first and 7 in the second", "SALTWORKS_TRAIN__STEPS=300"),
    (epochs, "train.epochs is null in the first and 3 in the second", "under SALTWORKS_TRAIN__EPOCHS=\n"),
])
def test_what_cannot_be_compared_ends_in_65_with_the_cure_and_without_a_look(
    runs: dict[str, Made], told: Callable, spoil: Callable[[Made], None], problem: str, cure: str
) -> None:
    spoil(runs["b"])
    code, text = told("a", "b")
    assert (code, problem in text, cure in text) == (65, True, True), text
    assert not looks(runs["a"])
    assert not runs["a"].store.list("pets/comparisons/")


@pytest.mark.parametrize(("names", "code", "problem"), [
    (("a", "a"), 64, "is named twice"),
    (("a", "b", "b"), 64, "is named twice"),
    (("a", "0" * 16), 65, "there is no run 0000000000000000"),
    (("a",), 64, "needs two runs or more"),
    ((), 64, "needs two runs or more"),
    (("a", "../../secrets"), 64, "is no name of a run"),
])
def test_names_that_are_none_are_refused(runs: dict[str, Made], told: Callable, names: tuple, code: int, problem: str) -> None:
    found, text = told(*names)
    assert (found, problem in text) == (code, True), text
    assert not looks(runs["a"])


def test_a_run_that_took_anothers_images_tells_no_cost_of_them(runs: dict[str, Made], told: Callable) -> None:
    change(runs["b"].store, runs["b"].keys.report("report.json"), reused={"another": 5}, drawing=None)
    text = told("a", "b")[1]
    row = record(runs["a"])["rows"][1]
    assert (row["cost_per_1000"], row["images_per_s"]) == (None, None)
    assert "took images that another drew" in " ".join(text.split())


def test_costs_in_other_prices_are_told_as_they_were_billed(runs: dict[str, Made], told: Callable) -> None:
    assert "priced otherwise" not in told("a", "b")[1]
    key = runs["b"].keys.report("report.json")
    prices = json.loads(runs["b"].store.read(key))["prices"]
    change(runs["b"].store, key, prices=prices | {"currency": "EUR"})
    assert "the runs were priced otherwise: their costs do not compare" in " ".join(told("a", "b")[1].split())


def test_answers_of_other_machines_are_told(runs: dict[str, Made], told: Callable) -> None:
    made = runs["b"]
    assert made.found
    baseline = made.found.baseline
    right = np.ones_like(baseline.correct_SN)
    made.store.delete(made.keys.trial(baseline.trial))
    sweep._commit(made.store, made.planned, replace(baseline, correct_SN=right))
    key = made.keys.report("report.json")
    confirmed = json.loads(made.store.read(key))["confirmed"]
    confirmed[0]["test_accuracies"] = [1.0] * len(right)
    change(made.store, key, confirmed=confirmed)
    assert "machines or libraries differ" in " ".join(told("a", "b")[1].split())
