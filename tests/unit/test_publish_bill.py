"""What a report and a version say of seconds and money, against numbers computed by hand; and which code they name."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import job
from job.ground import layout, lineage
from job.publish import code, gather, paid
from job.publish.card import text as card
from job.publish.versions import publish
from job.report.assemble import assemble
from job.results import CostLine
from job.runplan import PublishPolicy
from tests.unit.made_run import SPENT, Made, make_run
from tests.unit.publishing import ALLOWED, memory, publish_it

pytestmark = pytest.mark.unit


def images(made: Made) -> int:
    """Pictures in the shards of the run."""
    return sum(one.made for one in made.committed)


def test_images_that_an_earlier_run_drew_are_told_and_those_of_the_run_itself_are_not(made: Made, real: Path) -> None:
    assert made.report
    assert made.report.reused == {}
    same = make_run(made.store, real, edition="e2")
    assert same.report
    assert same.report.reused == {made.planned.run: images(same)}
    assert images(same) < sum(one.unit.hi - one.unit.lo for one in same.committed)   # what failed is no image


def test_of_a_run_that_draws_some_and_reuses_some_only_the_reused_are_told(real: Path) -> None:
    store = memory()
    few = make_run(store, real, edition="few", flags=("--sweep.alphas=0,.5",))
    more = make_run(store, real, edition="more")
    assert more.report
    assert more.report.reused == {few.planned.run: images(few)}
    assert images(few) < images(more)
    third = make_run(store, real, edition="third")
    assert third.report
    assert third.report.reused == dict(sorted({few.planned.run: images(few), more.planned.run: images(more) - images(few)}.items()))


def test_one_of_each_costs_what_a_calculator_says(made: Made) -> None:
    assert made.found
    bill = (
        CostLine("generate", "draw", 36.0, True, 0.30), CostLine("generate", "wall", 40.0, False, None),
        CostLine("measure", "score", 9.0, True, 0.06), CostLine("sweep", "train", 72.0, True, 0.50),
        CostLine("confirm", "train", 20.0, True, 0.20), CostLine("ray", "wall", 5.0, False, None),
    )
    report = assemble(made.found, [], {}, bill, [])
    kept = len(made.ids("kept"))
    assert (report.counts.kept, report.cost) == (kept, pytest.approx(1.06))
    assert report.cost_of.kept_image == pytest.approx(0.36 / kept)
    assert report.cost_of.published_image == pytest.approx(1.06 / kept)
    drawn = sum(one.made for one in made.committed)
    assert report.cost_of.million_drawn == pytest.approx(1e6 * 0.30 / drawn)
    assert report.cost_of.trial == pytest.approx(0.70 / 5)   # three of the sweep, two of the confirmation
    assert report.cost_of.point_gained == pytest.approx(1.06 / (100 * report.gain))
    assert 0.2 < report.gain < 0.5   # a share of 1: a point is a hundredth of it


def test_what_there_is_none_of_or_no_price_for_costs_nothing_that_could_be_told(real: Path, made: Made) -> None:
    hurt = make_run(memory(), real, word="hurt")
    assert hurt.report
    assert hurt.report.cost_of.point_gained is None
    assert hurt.report.cost_of.trial == pytest.approx(0.05 / 5)
    assert made.found
    free = assemble(made.found, [], {}, [replace(one, cost=None) for one in SPENT], [])
    assert (free.cost, *free.cost_of.model_dump().values()) == (None,) * 6


def trained(made: Made, seconds: dict[str, float]) -> None:
    """Records of trials, as the workers commit them: by name, judged on validation unless it begins with test."""
    for name, spent in seconds.items():
        record = {"judged_on": "test" if name.startswith("test") else "val", "seconds": spent, "data": made.keys.trial_data(name, "0" * 64)}
        made.store.create(made.keys.trial(name), lineage.canonical(record).encode())


def test_a_version_shows_what_led_to_no_commit_of_its_run(made: Made) -> None:
    trained(made, {"val-0": 20.0, "val-5": 25.0, "test-0": 10.0})
    drawn = sum(one.draw_s + one.encode_s for one in made.committed)
    bill = (
        CostLine("generate", "draw", 3 * drawn + 3, True, 0.3), CostLine("generate", "wall", 40.0, False, None),
        CostLine("sweep", "train", 90.0, True, 0.5), CostLine("confirm", "train", 10.0, True, 0.2),
    )
    cost = publish_it(replace(made, spent=bill))[0].cost
    lines = {(one.room, one.kind): (one.seconds, one.cost) for one in cost.lines}
    share = 1 - drawn / (3 * drawn + 3)
    assert lines == {
        ("generate", "draw"): (pytest.approx(drawn, abs=0.01), pytest.approx(0.3 * (1 - share))),
        ("generate", "repeated"): (pytest.approx(2 * drawn + 3, abs=0.01), pytest.approx(0.3 * share)),
        ("generate", "wall"): (40.0, None),
        ("sweep", "train"): (45.0, pytest.approx(0.25)), ("sweep", "repeated"): (45.0, pytest.approx(0.25)),
        ("confirm", "train"): (10.0, pytest.approx(0.2)),
    }
    assert cost.total == pytest.approx(1.0)


def test_a_run_that_drew_nothing_itself_has_committed_no_second_of_drawing(made: Made, real: Path) -> None:
    same = make_run(made.store, real, edition="e2")
    trained(same, {"test-0": 2.0})
    mine, others = (paid.committed(one.store, one.keys, list(gather.classes(one.store, one.planned))) for one in (made, same))
    assert mine == {"generate": pytest.approx(sum(one.draw_s + one.encode_s for one in made.committed)), "sweep": 0, "confirm": 0}
    assert mine["generate"] > 0
    assert others == {"generate": 0, "sweep": 0, "confirm": 2.0}


def test_a_version_that_is_told_no_commit_names_the_code_itself(made: Made) -> None:
    assert made.report
    version, _ = publish(made.store, made.planned, made.split, made.report, SPENT, PublishPolicy("helped", ALLOWED, False))
    assert (version.image_digest, version.code_digest) == ("", code.digest())
    assert code.digest() == code.of(Path(job.__file__).parent) == code.digest()
    assert json.loads(made.store.read(layout.version("pets", 1)))["code_digest"] == version.code_digest
    assert card(version)


def test_the_digest_of_code_follows_names_and_content_of_sources_and_nothing_else(tmp_path: Path) -> None:
    def put(folder: str, **files: str) -> str:
        for name, text in files.items():
            path = tmp_path / folder / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return code.of(tmp_path / folder)

    base = put("a", run_py="x = 1\n", pages__page_j2="<p>")
    assert base.startswith("sha256:")
    assert len(base) == 71
    assert put("b", pages__page_j2="<p>", run_py="x = 1\n", notes_md="no code", cache__run_pyc="no source") == base
    others = [
        put("c", run_py="x = 2\n", pages__page_j2="<p>"), put("d", run_py="x = 1\n", pages__page_j2="<b>"),
        put("e", walk_py="x = 1\n", pages__page_j2="<p>"), put("f", run_py="x = 1\n"),
        put("g", run_py="x = 1\n", pages__page_j2="<p>", more_py=""),
    ]
    assert len({base, *others}) == 6
