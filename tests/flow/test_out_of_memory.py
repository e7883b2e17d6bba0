"""A batch that does not fit into a device's memory, in the whole job: the log, the commits and the report say so, with the advice."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.flow, pytest.mark.long]
ADVICE = "set SALTWORKS_GENERATOR__BATCH_SIZE=4"


def test_event_commits_and_warning_tell_of_a_batch_that_was_split(
    job: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, _ = job(tmp_path, "--generator.unit_size", "8", "--generator.batch_size", "8", "--generator.options.fits", "5",
                    "--generator.actors", "1", "--train.steps", "5")
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
    (told,) = [one for one in events if one["event"] == "batch_halved"]
    assert (told["asked"], told["drawn"], told["cure"]) == (8, 4, ADVICE)
    commits = [json.loads(path.read_text()) for path in tmp_path.glob("synthetic/*/commits/*.json")]
    assert {(one["batch_size"], one["halved_from"], one["made"]) for one in commits} == {(4, 8, 8)}
    (warning,) = [one for one in report.warnings if "did not fit" in one]
    assert warning.startswith("a batch of 8 did not fit into the device's memory")
    assert warning.endswith(f"drew {len(commits)} of this run's units: {ADVICE}")
    assert report.drawing
    assert report.drawing.chips == sorted({one["chip"] for one in commits})
