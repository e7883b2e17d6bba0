"""COLD. Scores and a rule → kept, rejected with a reason, failed with a reason, or unused. One class at a time.

The decision looks at the whole of what was drawn, over all rounds, so that it can be made again from stored scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from job.errors import JobError, QualityError, SettingsError
from job.records import DECISION_SCHEMA, STATES, ClassWords, Tally

EXAMPLES = (("kept", 6), ("rejected", 3))   # rows of each class that a reader may want to look at
MAD_TO_SIGMA = 1.4826   # of a normal distribution: median absolute deviation to standard deviation


@dataclass(frozen=True, slots=True)
class Rule:
    """``none`` keeps all, ``threshold`` what scores at least ``minimum``, ``quota`` the best of each class.

    Raises ``SettingsError`` on another kind, a missing score, or a minimum that is no number.
    """

    kind: Literal["none", "threshold", "quota"]
    score: str = ""          # metric.column, such as clipscore.margin
    minimum: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("none", "threshold", "quota"):
            raise SettingsError(f"no filter is called {self.kind!r}", "use none, threshold or quota")
        if self.kind != "none" and not self.score:
            raise SettingsError(f"the {self.kind} filter has no score to look at", "set SALTWORKS_FILTER__SCORE")
        if not np.isfinite(self.minimum):
            raise SettingsError(f"a least score of {self.minimum} is no limit", "set SALTWORKS_FILTER__MINIMUM to a number")


def decide(rule: Rule, quota: int, drawn: pa.Table) -> pa.Table:
    """Decisions (``DECISION_SCHEMA``, same rows, same order) on everything drawn of one class.

    ``drawn``: id, unit, class_key, index (ascending), failed_reason (empty where there is an image), score (float32,
    null where failed). Of what passes a threshold or no rule at all, the first ``quota`` by index are kept and the rest
    is unused, so a further round takes nothing back; the quota rule keeps the best ``quota``, ties to the lower index,
    and rejects the rest. An image without a score cannot be judged and is rejected.
    Raises ``JobError`` on rows of several classes, or out of order.
    """
    index = drawn["index"].to_numpy()
    if (np.diff(index) <= 0).any() or (index < 0).any() or len(pc.unique(drawn["class_key"])) > 1:
        raise JobError("decisions are made on one class at a time, by ascending index")
    reason = drawn["failed_reason"].fill_null("").to_numpy(zero_copy_only=False).astype(object)
    failed = reason != ""
    score = _scores(rule, drawn, failed)
    state = np.full(len(index), "kept", dtype=object)
    state[failed] = "failed"
    rejected = _reject(rule, quota, score, failed)
    state[list(rejected)] = "rejected"
    reason[list(rejected)] = list(rejected.values())
    beyond = np.flatnonzero(state == "kept")[quota:]
    state[beyond], reason[beyond] = "unused", f"beyond the quota of {quota}"
    columns = {name: drawn[name] for name in ("id", "unit", "class_key", "index")}
    columns |= {"state": state, "reason": reason, "score": pa.array(score, pa.float32(), mask=np.isnan(score))}
    return pa.table(columns, schema=DECISION_SCHEMA)


def tally(words: ClassWords, decisions: pa.Table, scores: pa.Table, quota: int, unit_size: int) -> Tally:
    """What later rooms need to know of the decisions on one class. ``scores``: all of its scores, by ``metric.column``."""
    counts = {one["values"]: one["counts"] for one in pc.value_counts(decisions["state"]).to_pylist()}
    means = {name: pc.mean(scores[name]).as_py() for name in scores.column_names if name not in ("unit", "index")}
    shown = [row for state, most in EXAMPLES for row in decisions.take(_rows(decisions, state)[:most]).to_pylist()]
    return Tally(
        words, len(decisions), {state: counts.get(state, 0) for state in STATES}, bitmap(decisions, "kept", len(decisions)),
        {name: mean for name, mean in means.items() if mean is not None and np.isfinite(mean)}, tuple(shown),
        shortfall(decisions, quota), next_units(decisions, quota, unit_size), ~bitmap(decisions, "failed", len(decisions)),
    )


def shortfall(decisions: pa.Table, quota: int) -> int:
    """Kept images that the class still lacks."""
    return max(0, quota - _count(decisions, "kept"))


def next_units(decisions: pa.Table, quota: int, unit_size: int) -> int:
    """Further units of one class to draw so that the shortfall is met if as many pass as have passed; 0 without one.

    One image that passed is weak evidence of a rate, and none is no evidence: the images ordered are at most
    ``drawn·(1 + passed)``, so a class that passed nothing at most doubles (rounded up to whole units).
    """
    lacking, drawn = shortfall(decisions, quota), len(decisions)
    if not lacking:
        return 0
    passed = _count(decisions, "kept") + _count(decisions, "unused")
    images = -(-lacking * drawn // passed) if passed else lacking
    return max(1, -(-min(images, drawn * (1 + passed)) // unit_size)) if drawn else -(-lacking // unit_size)


def refuse_short(lacking: Sequence[Tally], quotas: Sequence[int], rounds: int) -> QualityError:
    """The error (exit 65) that ends a run whose classes are short of their quotas after the last round."""
    told = [f"{one.words.name} has {quotas[one.words.label] - one.short} of {quotas[one.words.label]} images" for one in lacking]
    more = f" and {len(told) - 3} more classes" if len(told) > 3 else ""
    return QualityError(
        f"{', '.join(told[:3])}{more} after {rounds} round{'s' * (rounds != 1)}: {sum(one.short for one in lacking)} missing",
        "describe the class in SALTWORKS_GENERATOR__DESCRIPTIONS so that the generator can draw it, lower "
        "SALTWORKS_FILTER__MINIMUM or the largest of SALTWORKS_SWEEP__ALPHAS, or raise SALTWORKS_FILTER__MAX_ROUNDS",
    )


def bitmap(decisions: pa.Table, state: str, hi: int) -> np.ndarray:
    """bool (hi,): which indices of the class are of this state. Raises ``JobError`` if one lies at or above ``hi``."""
    there = decisions["index"].take(_rows(decisions, state)).to_numpy()
    if len(there) and there.max() >= hi:
        raise JobError(f"index {there.max()} is {state}, but only indices below {hi} were drawn")
    found = np.zeros(hi, dtype=bool)
    found[there] = True
    return found


def flag_classes(means: Mapping[str, float], *, score: str, floor: float) -> tuple[tuple[str, str], ...]:
    """Classes (key, reason) whose mean score lies far below their peers': the generator may not be able to draw them.

    Far: below ``median − max(3·1.4826·MAD, floor)`` of the *other* classes (Hampel's rule), where ``floor`` is the least
    distance, in units of the score, that matters; at least two others are needed. A mean that is no number is flagged.
    """
    flags = []
    for key, mean in means.items():
        others = np.array([other for name, other in means.items() if name != key and np.isfinite(other)])
        if not np.isfinite(mean):
            flags.append((key, f"no mean {score} could be taken"))
        elif len(others) >= 2:
            median = float(np.median(others))
            room = max(3 * MAD_TO_SIGMA * float(np.median(np.abs(others - median))), floor)
            if mean < median - room:
                flags.append((key, f"mean {score} {mean:.3g} lies {median - mean:.3g} below the median {median:.3g} of the "
                                   f"other {len(others)} classes; {room:.3g} would be usual"))
    return tuple(flags)


def _rows(decisions: pa.Table, state: str) -> pa.Array:
    """Which rows are of this state. To filter the table would copy every column of it."""
    return pc.indices_nonzero(pc.equal(decisions["state"], state))


def _scores(rule: Rule, drawn: pa.Table, failed: np.ndarray) -> np.ndarray:
    """float32 (M,): what the rule looks at; NaN where there is nothing to look at."""
    if rule.kind == "none":
        return np.full(len(failed), np.nan, dtype=np.float32)
    score = drawn["score"].cast(pa.float32()).fill_null(np.nan).to_numpy()
    return np.where(failed, np.float32(np.nan), score)


def _reject(rule: Rule, quota: int, score: np.ndarray, failed: np.ndarray) -> dict[int, str]:
    """Row → reason, of every rejected row."""
    if rule.kind == "none":
        return {}
    blind = {int(at): f"{rule.score} could not be measured" for at in np.flatnonzero(np.isnan(score) & ~failed)}
    if rule.kind == "threshold":
        minimum = np.float32(rule.minimum)   # as the scores are: a score of 0.7 is not below 0.7
        low = np.flatnonzero(score < minimum)
        return blind | {int(at): f"{rule.score} {_below(score[at], minimum)} < {rule.minimum:g}" for at in low}
    seen = np.flatnonzero(~np.isnan(score))
    ranked = seen[np.argsort(-score[seen], kind="stable")]
    return blind | {
        int(at): f"{rule.score} {score[at]:.3g} ranks {rank} of {len(seen)}; quota {quota}"
        for rank, at in enumerate(ranked[quota:], start=quota + 1)
    }


def _below(score: np.float32, minimum: np.float32) -> str:
    """The score in three digits, or in as many as it takes to look smaller than the limit."""
    short = f"{score:.3g}"
    return short if float(short) < minimum else str(score)


def _count(decisions: pa.Table, state: str) -> int:
    return int(pc.sum(pc.equal(decisions["state"], state)).as_py() or 0)
