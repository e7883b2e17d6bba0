"""The embedded default as a user runs it: the full grid, one process of its own, every file it leaves. Once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from playwright.sync_api import Browser

from job.settings import PREFIX
from tests.flow.test_browser import browser as browser  # a fixture
from tests.flow.test_browser import look, refuse_flaws

pytestmark = [pytest.mark.flow, pytest.mark.timeout(1200)]
HOME = Path(__file__).parents[2]


def run(verb: str, root: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return subprocess.run([sys.executable, "-m", "job", verb, "--root", str(root)], cwd=HOME, env=environ,
                          capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    root = tmp_path_factory.mktemp("demo")
    told = run("advise", root)   # its images are the run's own
    assert told.returncode == 0, told.stderr
    (root / "advice.txt").write_text(told.stdout)
    return root, run("run", root)


def report_of(root: Path) -> Path:
    return next(root.glob("digits/runs/*/report"))


def test_the_demo_ends_with_a_verdict_on_real_digits_and_says_where_the_report_lies(demo: tuple) -> None:
    root, done = demo
    assert done.returncode == 0, done.stderr
    report = json.loads((report_of(root) / "report.json").read_text())
    assert f"verdict    {report['verdict']}" in done.stdout
    assert str(report_of(root)) in done.stdout
    assert "where the time went" in done.stdout
    assert all(json.loads(line) for line in done.stderr.splitlines()), "stderr holds JSON lines alone"


def test_the_report_follows_its_published_schema_and_adds_up(demo: tuple) -> None:
    report = json.loads((report_of(demo[0]) / "report.json").read_text())
    jsonschema.validate(report, json.loads((HOME / "docs/report.schema.json").read_text()))
    assert [arm["n_synthetic"] for arm in report["arms"]] == [0, 27, 80, 240, 720, 720]
    assert [arm["n_real"] for arm in report["arms"]] == [80, 80, 80, 80, 80, 0]
    assert report["n_test"] == 617
    assert report["counts"]["planned"] == sum(report["counts"][word] for word in ("kept", "rejected", "failed", "unused"))
    assert report["alpha_star"] == (report["candidate"] if report["verdict"] == "helped" else 0)
    assert report["verdict"] == "helped"   # the shipped weights draw digits that 80 real ones lack


def test_the_embedded_generator_helps_and_copies_of_the_real_images_do_not(demo: tuple) -> None:
    report = json.loads((report_of(demo[0]) / "report.json").read_text())
    assert report["verdict"] == "helped"
    assert report["gain_interval"][0] > 0
    beside = {one["arm"]: one for one in report["beside"]}
    assert list(beside) == ["placebo", "reweighted"]
    assert beside["placebo"]["effect_word"] == "no detectable difference"
    assert {one["beyond_word"] for one in beside.values()} == {"helped"}
    assert report["beyond"] in report["sentence"]
    assert sum(one["share"] for one in report["stability"]) == pytest.approx(1)


def test_a_pilot_expects_help_beforehand_and_the_report_says_that_it_was_right(demo: tuple) -> None:
    root, done = demo
    told = (root / "advice.txt").read_text()
    assert told.startswith("expect     synthetic images to help")
    for ground in ("240 of the pilot moved accuracy on validation", "8 real training images per class: scarce", "cover ",
                   "look more like another class"):
        assert ground in " ".join(told.split())
    report = json.loads((report_of(root) / "report.json").read_text())
    assert report["advice"]["right"] is True
    assert "the advice was right" in report["advice"]["sentence"]
    adopted = next(json.loads(line) for line in done.stderr.splitlines() if json.loads(line)["event"] == "generated")
    assert (adopted["asked"], adopted["adopted"]) == (400, 10)   # units of the pilot are not drawn again
    assert not list((root / "digits/looks").rglob("*.json")) or report["test_looks"] == 1   # the pilot left the test alone
    assert run("advise", root).stdout == told   # given once


def test_the_version_is_published_pointed_to_and_verifies(demo: tuple) -> None:
    root, _ = demo
    version = json.loads((root / "digits/versions/000001.json").read_text())
    jsonschema.validate(version, json.loads((HOME / "docs/version.schema.json").read_text()))
    assert json.loads((root / "digits/latest.json").read_text())["version"] == 1
    assert (version["mix"]["alpha"], version["mix"]["n_real"]) == (version["judged"]["alpha_star"], 80)
    assert {path.name for path in (root / "digits/versions/000001").iterdir()} == {"README.md", "croissant.json"}
    verified = run("verify", root)
    assert verified.returncode == 0, verified.stderr
    assert "version 1 is whole" in verified.stdout


def test_the_page_opens_in_a_browser_without_an_error(demo: tuple, browser: Browser) -> None:
    refuse_flaws(look(browser, report_of(demo[0]) / "report.html"))


def test_the_second_run_and_the_report_alone_give_the_same_answer(demo: tuple) -> None:
    root, done = demo
    for verb in ("run", "report"):
        again = run(verb, root)
        assert again.returncode == 0, again.stderr
        assert again.stdout.splitlines()[0] == done.stdout.splitlines()[0]


def test_the_plan_prints_what_would_be_done_and_writes_nothing(tmp_path: Path) -> None:
    told = run("plan", tmp_path / "nothing")
    assert told.returncode == 0, told.stderr
    for word in ("80 train, 200 validation, 617 locked test", "800 in 20 units of 40", "70: 6 alphas × 5 seeds, then 4 × 10",
                 "no price is set"):
        assert word in told.stdout
    assert not list(tmp_path.iterdir())
