"""Sets of other shapes, with real trainings: one that lacks a class's images, and one that lacks nothing."""

import pytest

from job import choosing, splitting
from job.records import Salting
from job.runplan import Objective
from job.statistics import HELPED, HURT, UNDECIDED
from tests.contract.digits_trials import Kind, dealt, points, trials

pytestmark = [pytest.mark.contract, pytest.mark.timeout(600)]


def test_a_factory_with_36_defects_finds_its_alpha_by_recall_and_accuracy_is_held() -> None:
    """304 good digits and 36 defects of two kinds, 18 eights and 18 nines. 36 of one kind leave too little to gain: recall at α = 0
    on validation is .87 to 1.00 by digit, and eights alone gained 1.9 [−2.0, 5.9] points (36 test images). These two kinds had
    the lowest such recall in the deal in which they were chosen (.73 and .91, the others .94 or more), whose validation images
    lie partly in this test; in this deal three (.87), eight (.89) and one (.91) are lower than nine (.94).

    Obtained: recall on validation .705, .840, .920, .945 at α = 0, .1, .25, .5, so .5 is the candidate; on the locked test (98 defects,
    299 good, 10 fresh seeds) recall rose by 20.4 [12.0, 28.8] points and accuracy by 3.4 [.8, 6.0]. Copies of the 36 and balanced
    classes alone gave 6.4 [−.8, 13.6] and 7.8 [.1, 15.4], each undecided after Holm (p = .09), so a third of the gain may be
    balance; what goes beyond them is 14.0 [8.3, 19.7] and 12.7 [7.3, 18.0]. Two other deals: recall +12.4 [6.1, 18.8] and
    +10.6 [5.2, 16.1], accuracy +2.0 and +1.6.
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


def test_a_set_that_is_already_rich_is_not_helped_and_the_advice_says_so_beforehand() -> None:
    """250 real images of each of two classes. Digits that are taken for one another stand in one class, so little is left to gain:
    of five halves tried, this one had the highest accuracy at α = 0, .990 cross-validated over train and validation.

    Obtained: α = .25 is the candidate (.986 on validation, α = 0 .980); on the locked test (297 images, 10 fresh seeds) it gained
    −.2 [−.6, .1] points, and .5 would have been found. The pilot beforehand, at α = .25, gave "no detectable difference" 55 % and
    help 35 %. On four deals of the digits, this one first, with other pictures: .0 [−.4, .5], .1 [−.2, .4], .2 [−.2, .6] and
    .1 [−.3, .4], undecided in all. The half 0 to 4 against 5 to 9 (.975) is not as rich, and may still be helped: .3 [−.7, 1.3],
    1.0 [.3, 1.8], .0 [−.5, .5] and .6 [−.1, 1.2].
    """
    rich = dealt({"left": Kind((0, 2, 4, 6, 7), train=50, val=10), "right": Kind((1, 3, 5, 8, 9), train=50, val=10)})
    assert splitting.counts(rich, "train") == (250, 250)
    made = trials(rich, (0.0, 0.25, 0.5), Salting(), {
        "left": [f"a photo of a {{name}} {digit}" for digit in ("zero", "two", "four", "six", "seven")],
        "right": [f"a photo of a {{name}} {digit}" for digit in ("one", "three", "five", "eight", "nine")],
    }, steps=300)

    advice = made.advice(0.25)
    print(*advice.chances, *advice.why, sep="\n")
    assert advice.word in (UNDECIDED, HURT)

    choice = choosing.choose(made.sweep())
    found = choosing.verdict(made.confirm(choice.candidate), made.confirm(0.0))
    print(choice, found, points(found.gain), sep="\n")
    assert found.word in (UNDECIDED, HURT)
    assert found.word == advice.word   # the advice was right
