"""Every arm that can stand beside a candidate, a curve, classes that alone get images, and a recall that is maximised: one run."""

from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.flow, pytest.mark.long, pytest.mark.timeout(900)]


def test_a_run_with_every_arm_a_curve_named_classes_and_a_recall_says_what_each_of_them_gave(tmp_path: Path, job: Callable) -> None:
    report, _ = job(
        tmp_path, "--sweep.arms", '["placebo", "reweighted", "unfiltered", "augmented", "augmented_mix"]', "--sweep.seeds", "1",
        "--sweep.curves", '{"placebo": []}', "--mixing.allocation", "only", "--mixing.only", '["zero", "one"]', "--mixing.supply", "all",
        "--sweep.objective", "recall", "--sweep.objective_classes", '["zero"]', "--train.steps", "20")
    assert report.score_name == "recall of zero"
    assert [one.arm for one in report.beside] == ["placebo", "reweighted", "unfiltered", "augmented", "augmented_mix"]
    assert [(one.arm, [arm.alpha for arm in one.arms]) for one in report.curves] == [("placebo", [0.5])]
    taken = {arm.alpha: arm.n_synthetic for arm in report.arms}
    assert taken == {0.0: 0, 0.5: sum(row.kept for row in report.classes)}
    assert {row.name for row in report.classes if row.kept} == {"zero", "one"}
    zero = next(row for row in report.classes if row.name == "zero")
    assert set(zero.test_accuracy_beside) == {one.arm for one in report.beside}
    assert report.confirmed[0].test_accuracy == pytest.approx(zero.test_accuracy_real_only)   # the recall is that class's
    assert report.beside[0].test_accuracy == pytest.approx(zero.test_accuracy_beside["placebo"])
    assert report.guarded is not None
    assert "recall of zero" in report.held["objective"]
