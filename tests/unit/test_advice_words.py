"""What a pilot expected, told beside what came: in the summary, on the page, and in the words of the advice itself."""

import pytest

from job.report import words
from job.report.advice import advised, sentence
from job.report.model import Advised, Report
from job.results import Advice, Interval, Verdict
from job.statistics import HELPED, HURT, NO_VERDICT, UNDECIDED
from tests.unit import report_sample
from tests.unit.test_report import page_of

pytestmark = pytest.mark.unit
GAIN = Interval(0.05, 0.02, 0.08, 0.015, 9.0, 200, 3)


def sample() -> Report:
    """A run for which a pilot was asked beforehand."""
    told = "Before spending, a pilot expected synthetic images to help (93 % sure), and they did: the advice was right."
    return report_sample.helped().model_copy(update={"advice": Advised(
        word="helped", chance=0.93, chances={"helped": 0.93, "no detectable difference": 0.065, "hurt": 0.005}, alpha=0.75, images=240,
        why=["beside 80 real images, 240 of the pilot moved validation by +7.3 points", "8 real training images per class: scarce"],
        right=True, sentence=told)})


def advice(word: str) -> Advice:
    rest = {HELPED: 0.02, UNDECIDED: 0.02, HURT: 0.002} | {word: 0.96}
    return Advice(word, tuple(rest.items()), 0.5, 80, 0.85, GAIN, GAIN, None, 0.0, None, None, None, ("a ground",))


@pytest.mark.parametrize("expected", [HELPED, UNDECIDED, HURT])
@pytest.mark.parametrize("came", [HELPED, UNDECIDED, HURT, NO_VERDICT])
def test_the_advice_was_right_where_the_verdict_is_the_word_that_it_gave(expected: str, came: str) -> None:
    told = advised(advice(expected), Verdict(came, 0.0, GAIN, 0.03, ""))
    assert told.right is (None if came == NO_VERDICT else came == expected)
    assert ("the advice was right" in told.sentence) == (told.right is True)
    assert ("the advice was wrong" in told.sentence) == (told.right is False)
    assert "96 % sure" in told.sentence


def test_a_wrong_advice_tells_what_chance_it_gave_to_what_came() -> None:
    assert "the verdict is hurt, to which it gave under 1 %" in sentence(advice(HELPED), HURT)
    assert "the verdict is no detectable difference, to which it gave 2 %" in sentence(advice(HELPED), UNDECIDED)


def test_summary_and_page_tell_the_advice_where_there_was_one() -> None:
    report = sample()
    told = words.summary_lines(report, "here")
    assert "advice     Before spending, a pilot expected" in told
    assert all(len(line) <= words.WIDTH for line in told.splitlines() if not line.startswith("report"))
    page = page_of(report)
    for word in ("advice beforehand", report.advice.sentence, *report.advice.why):
        assert word in page
    assert "advice" not in words.summary_lines(report_sample.helped(), "here")
