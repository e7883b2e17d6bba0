"""What a pilot said before anything was paid for, and whether it came true: in words, for terminal and page alike."""

from textwrap import wrap

from job.report.model import Advised
from job.report.words import WIDTH
from job.results import Advice, Verdict
from job.runplan import RunPlan
from job.statistics import HELPED, HURT, NO_VERDICT, UNDECIDED

EXPECTS = {HELPED: "help", HURT: "hurt", UNDECIDED: "make no detectable difference"}


def advised(advice: Advice, verdict: Verdict) -> Advised:
    """The advice beside the verdict; neither right nor wrong where there is none."""
    right = None if verdict.word == NO_VERDICT else advice.word == verdict.word
    return Advised(word=advice.word, chance=advice.chance, chances=dict(advice.chances), alpha=advice.alpha, images=advice.images,
                   why=list(advice.why), right=right, sentence=sentence(advice, verdict.word))


def sentence(advice: Advice, word: str) -> str:
    """What was expected, how surely, and what came."""
    told = f"Before spending, a pilot expected synthetic images to {EXPECTS[advice.word]} ({_percent(advice.chance)} sure)"
    if word == NO_VERDICT:
        return f"{told}; there is no verdict to compare it with."
    given = dict(advice.chances)[word]
    return (f"{told}, and they did: the advice was right." if word == advice.word else
            f"{told}; the verdict is {word}, to which it gave {_percent(given)}: the advice was wrong.")


def advice_lines(advice: Advice, planned: RunPlan) -> str:
    """What the verb ``advise`` prints: what to expect, how surely, why, and what it rests on."""
    rest = ", ".join(f"{word} {_percent(chance)}" for word, chance in advice.chances)
    lines = [
        f"expect     synthetic images to {EXPECTS[advice.word]}: {_percent(advice.chance)} sure",
        f"           ({rest})",
        *(line for at, why in enumerate(advice.why) for line in wrap(
            why, WIDTH, initial_indent=f"{'why' if not at else '':<11}", subsequent_indent=" " * 11)),
        f"run        {planned.run}: finds the pilot's images when it is started; its locked test was not looked at",
    ]
    return "\n".join(lines)


def _percent(share: float) -> str:
    return "over 99 %" if share > 0.99 else "under 1 %" if share < 0.01 else f"{100 * share:.0f} %"   # nobody is quite sure
