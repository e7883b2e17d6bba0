"""Sets of other shapes, with real trainings: one that lacks a class's images, and one that lacks nothing."""

import pytest

from job import choosing, splitting
from job.records import Salting
from job.runplan import Objective
from job.statistics import HELPED, HURT, UNDECIDED
from tests.contract.digits_trials import Kind, dealt, points, trials

pytestmark = [pytest.mark.contract, pytest.mark.timeout(600)]


def test_a_factory_with_36_defects_finds_its_alpha_by_recall_and_accuracy_is_held() -> None:
    """304 good digits and 36 defects, of two kinds: 18 eights and 18 nines. Where one digit alone is rare, with 36 images, these two
    have the lowest recall at α = 0 on validation (.73 and .91, the others .94 or more), so there is something to gain.

    Obtained: recall on validation .705, .840, .920, .945 at α = 0, .1, .25, .5, so .5 is the candidate; on the locked test (98 defects,
    299 good, 10 fresh seeds) recall rose by 20.4 [12.0, 28.8] points and accuracy by 3.4 [.8, 6.0]. Copies of the 36 and balanced
    classes alone gave 6.4 [−.8, 13.6] and 7.8 [.1, 15.4], each undecided after Holm (p = .09), so a third of the gain may be
    balance; the pictures' own, beyond either, is 14.0 [8.3, 19.7] and 12.7 [7.3, 18.0].
    """
    factory = dealt({"good": Kind(tuple(range(8)), train=38, val=15), "defect": Kind((8, 9), train=18, val=20)})
    assert splitting.counts(factory, "train") == (304, 36)
    recall = Objective("recall", (1,), guard=0.02)
    made = trials(factory, (0.0, 0.1, 0.25, 0.5), Salting("only", (1,)),
                  {"defect": ("a photo of a {name} eight", "a photo of a {name} nine")})
    on = {part: choosing.weights(recall, labels) for part, (_, labels) in made.real.items()}

    choice = choosing.choose(made.sweep(), on["val"], recall.guard)
    candidate, baseline = made.confirm(choice.candidate), made.confirm(0.0)
    found = choosing.verdict(candidate, baseline, on["test"], recall.guard)
    beside = choosing.controls(candidate, baseline, [made.confirm(choice.candidate, "placebo"), made.confirm(0.0, "reweighted")],
                               on["test"])
    print(choice, points(found.gain), points(found.guarded), sep="\n")
    print(*((one.arm, points(one.effect), points(one.beyond)) for one in beside), sep="\n")
    assert found.word == HELPED
    assert found.alpha_star == choice.candidate > 0
    assert found.guarded.mean >= -recall.guard
    assert [one.beyond.word for one in beside] == [HELPED, HELPED]   # neither copies nor balance would have done it


def test_a_set_that_is_already_rich_is_not_helped() -> None:
    """250 real images of each of two classes, 0 to 4 and 5 to 9: of the halves tried the one with less left to gain at α = 0 on
    validation (.994; odd and even digits .976).

    Obtained: .994, .990, .996 on validation at α = 0, .25, .5; .5 on the locked test (297 images, 10 fresh seeds) gained .3
    [−.7, 1.3] points, and 1.4 would have been found.
    """
    rich = dealt({"low": Kind((0, 1, 2, 3, 4), train=50, val=10), "high": Kind((5, 6, 7, 8, 9), train=50, val=10)})
    assert splitting.counts(rich, "train") == (250, 250)
    made = trials(rich, (0.0, 0.25, 0.5), Salting(), {
        "low": [f"a photo of a {{name}} {digit}" for digit in ("zero", "one", "two", "three", "four")],
        "high": [f"a photo of a {{name}} {digit}" for digit in ("five", "six", "seven", "eight", "nine")],
    }, steps=300)

    choice = choosing.choose(made.sweep())
    found = choosing.verdict(made.confirm(choice.candidate), made.confirm(0.0))
    print(choice, points(found.gain), found.would_decide, sep="\n")
    assert found.word in (UNDECIDED, HURT)
