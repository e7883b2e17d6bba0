"""COLD. The arms that stand beside the α grid, as data: what each one trains on, and what its comparison tells.

An arm is one entry of ``ARMS``. *Placebo* holds the number of images and their classes fixed and takes the news out of them;
*reweighted* is what balance alone gives. Only beyond these two is a gain the images' own (Ravuri and Vinyals 2019 judge
a generator by *synthetic only*: train on its samples, test on real ones).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from job.errors import SettingsError

KEPT, MADE, COPIES = "kept", "made", "copies"


@dataclass(frozen=True, slots=True)
class Arm:
    """What is trained: at which α, with what in the place of the synthetic images, and how."""

    title: str                                     # as the report calls it
    asks: str                                      # what the candidate's distance from it tells
    at: Literal["zero", "candidate", "one"]        # the α at which it is confirmed
    fills: Literal["kept", "made", "copies"] = KEPT   # with the filter's images, all that were made, or copies of real ones
    balanced: bool = False                         # every class equally often, whatever its number of images
    augmented: bool = False                        # with the options of SALTWORKS_SWEEP__AUGMENTATION laid over the task's
    control: bool = False                          # a gain counts as information only beyond it


PLAIN = Arm("", "", "candidate")
ARMS: Mapping[str, Arm] = {
    "placebo": Arm("placebo: copies of real images", "whether the images bring anything that the real ones do not",
                   "candidate", fills=COPIES, control=True),
    "reweighted": Arm("reweighted: real images, classes balanced", "whether balance alone would have done it",
                      "zero", balanced=True, control=True),
    "synthetic_only": Arm("synthetic only", "how much of the task the generator knows by itself", "one"),
    "unfiltered": Arm("unfiltered: the first images drawn", "what the filter is worth", "candidate", fills=MADE),
    "augmented": Arm("augmented: real images, classical augmentation", "whether classical augmentation would have done it",
                     "zero", augmented=True, control=True),
    "augmented_mix": Arm("augmented mix: the candidate, classical augmentation", "whether both together are worth more",
                         "candidate", augmented=True),
}


def find(name: str) -> Arm:
    """The arm of this name; the α grid's own where the name is empty. Raises ``SettingsError`` for a stranger."""
    if name and name not in ARMS:
        raise SettingsError(f"no arm is called {name!r}", f"use {', '.join(ARMS)} in SALTWORKS_SWEEP__ARMS and SALTWORKS_SWEEP__CURVES")
    return ARMS[name] if name else PLAIN


def check(names: Sequence[str], curves: Mapping[str, Sequence[float]], alphas: Sequence[float], augmentation: bool) -> None:
    """Raise ``SettingsError`` for arms that are none, curves that are none, and an augmentation that changes nothing."""
    for name in (*names, *curves):
        if find(name).augmented and not augmentation:
            raise SettingsError(f"arm {name!r} would train as the others do",
                                "set SALTWORKS_SWEEP__AUGMENTATION to task options that differ, such as {\"shift_px\": 1}")
    for name, wanted in curves.items():
        if find(name).at != "candidate":
            raise SettingsError(f"arm {name!r} is the same at every α, so it has no curve", "name it in SALTWORKS_SWEEP__ARMS alone")
        strangers = [alpha for alpha in wanted if alpha not in alphas or alpha == 0]
        if strangers:
            raise SettingsError(f"SALTWORKS_SWEEP__CURVES asks for {name} at α = {strangers[0]:g}, which is not tried",
                                f"use α above 0 of SALTWORKS_SWEEP__ALPHAS: {', '.join(f'{one:g}' for one in alphas if one)}")


def in_sweep(curves: Mapping[str, Sequence[float]], alphas: Sequence[float]) -> tuple[tuple[str, float], ...]:
    """The curves' trials as (arm, α), ascending; a curve without a list of α has every one above 0."""
    return tuple((name, alpha) for name, wanted in sorted(curves.items()) for alpha in sorted(wanted or [one for one in alphas if one]))


def in_confirmation(names: Sequence[str], candidate: float) -> tuple[tuple[str, float], ...]:
    """The confirmation's further trials as (arm, α), in the order of the table."""
    at = {"zero": 0.0, "candidate": candidate, "one": 1.0}
    return tuple((name, at[arm.at]) for name, arm in ARMS.items() if name in names)
