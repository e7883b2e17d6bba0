"""``report.html``: one file that holds everything it shows. No script, no other file, no network.

Every text is escaped by the template engine: class names, prompts and settings come from users and may hold markup. A
content security policy inside the page forbids scripts and foreign addresses a second time.
"""

import json
import math
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from job.errors import JobError
from job.report import words
from job.report.model import ClassRow, Gain, Report

SMALL_PX = 64   # smaller pictures are enlarged with their pixels visible, for smoothing would invent detail
SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Picture:
    """One synthetic image of the gallery. ``png`` holds the file as it was stored: PNG, or JPEG above 128 px."""

    class_name: str
    state: Literal["kept", "rejected"]
    reason: str
    scores: Mapping[str, float]
    id: str
    png: bytes

    @property
    def source(self) -> str:
        """The image as a ``data:`` address. Raises ``JobError`` if it is neither PNG nor JPEG."""
        return data_uri(self.png)

    @property
    def small(self) -> bool:
        """Whether its pixels are few enough to be worth seeing one by one."""
        return self.png.startswith(b"\x89PNG") and int.from_bytes(self.png[16:20], "big") < SMALL_PX


@dataclass(frozen=True, slots=True)
class Scale:
    """A line from ``low`` to ``high`` on which values are placed."""

    low: float
    high: float

    def at(self, value: float) -> str:
        """Place of a value in percent of the line's length; what lies beyond an end stands at the end."""
        share = (value - self.low) / ((self.high - self.low) or 1)
        return f"{100 * min(1.0, max(0.0, share)):.2f}%"

    def off(self, gain: Gain) -> str:
        """The end beyond which a whole interval lies; empty if any of it is on the line."""
        return "left" if gain.high < self.low else "right" if gain.low > self.high else ""

    def length(self, a: float, b: float) -> str:
        """Length from a to b in percent, as far as it lies on the line."""
        return f"{float(self.at(b)[:-1]) - float(self.at(a)[:-1]):.2f}%"


def render(report: Report, figure_png: bytes, gallery: Sequence[Picture]) -> str:
    """The page as text. The same arguments give the same page.

    Raises ``JobError`` if the figure or a picture is neither PNG nor JPEG.
    """
    headline, certain = words.HEADLINES[report.verdict], report.verdict != "no verdict"
    tried = [*report.arms, *(arm for curve in report.curves for arm in curve.arms)]
    return environment().get_template("page.html.j2").render(
        report=report, figure=data_uri(figure_png), headline=headline,
        sentence=report.sentence.removeprefix(f"{headline}. "), certain=certain,
        gallery=by_class(gallery), rows={row.name: row for row in report.classes}, counts=report.counts,
        scores=score_names(report.classes), kinds=list(dict.fromkeys(kind for one in report.spent for kind in one.worker_s)),
        gain_scale=around_zero([report.gain_detail] if certain else [], max(
            (abs(one.gain) for one in report.seed_gains), default=0.0), report.smallest_detectable if certain else 0.0),
        class_scale=around_zero([report.gain_detail, *(row.gain for row in report.classes if row.gain and judged(row))] if certain else []),
        judged=judged, by_number=sorted(report.classes, key=lambda row: row.n_real), beside_scale=beside_scale(report, certain),
        val_gain_scale=around_zero(arm.val_gain for arm in tried if arm.val_gain),
        val_scale=spread(value for arm in tried for value in arm.val_accuracies),
        test_scale=spread(value for one in report.confirmed for value in one.test_accuracies),
        time_scale=Scale(0, max((max(one.wall_s, sum(one.worker_s.values())) for one in report.spent), default=1.0)),
        samples_seen=sorted({arm.samples_seen for arm in report.arms}),
    )


@cache
def environment() -> Environment:
    """Compiles the templates once, and knows how numbers are told."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    made.filters |= {"number": number, "plain": plain, "share": share}
    made.globals |= {
        "bounds": words.bounds, "decimals": words.decimals, "duration": words.duration, "money": words.money, "speed": words.speed,
        "points": words.points, "no_price": words.NO_PRICE, "seeds": words.seeds,
    }
    return made


def by_class(gallery: Iterable[Picture]) -> dict[str, list[Picture]]:
    """Pictures of every class, the kept ones first, classes in the order in which they come."""
    groups: dict[str, list[Picture]] = {}
    for picture in gallery:
        groups.setdefault(picture.class_name, []).append(picture)
    return {name: sorted(pictures, key=lambda one: one.state != "kept") for name, pictures in groups.items()}


def score_names(classes: Iterable[ClassRow]) -> list[str]:
    """Every score that some class has, in the order in which they first come."""
    return list(dict.fromkeys(name for row in classes for name in row.scores))


def judged(row: ClassRow) -> bool:
    """Whether the class has an interval that means something; without one its bounds are ±1."""
    return row.gain is not None and row.gain_word not in ("", "no verdict")


def around_zero(gains: Iterable[Gain], *least: float) -> Scale:
    """A scale that is symmetric about zero and holds every interval, and ``least`` with some room."""
    reach = max((abs(bound) for gain in gains for bound in (gain.low, gain.high)), default=0.0)
    reach = min(1.0, 1.1 * max(reach, *least, 0.0) or 0.01)
    return Scale(-reach, reach)


def beside_scale(report: Report, certain: bool) -> Scale:
    """A scale for the candidate and all arms. One that is no control may lie far away, and must not squeeze the rest."""
    arms = report.beside if certain else []
    near = around_zero([report.gain_detail, *(gain for one in arms if one.control for gain in (one.effect, one.beyond))])
    reach = min(2 * near.high, around_zero([gain for one in arms for gain in (one.effect, one.beyond)], near.high / 1.1).high)
    return Scale(-reach, reach)


def spread(values: Iterable[float]) -> Scale:
    """A scale from the least to the greatest value, with some room at both ends."""
    found = list(values) or [0.0, 1.0]
    room = 0.06 * (max(found) - min(found)) or 0.01
    return Scale(min(found) - room, max(found) + room)


def number(value: float | None) -> str:
    """Three significant digits, or a dash where there is no number."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3g}".replace("-", "−")


def share(value: float | None) -> str:
    """An accuracy in three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"


def plain(value: object) -> str:
    """A setting's value as one line: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def data_uri(image: bytes) -> str:
    """An image file as a ``data:`` address. Raises ``JobError`` if it is neither PNG nor JPEG."""
    for signature, kind in SIGNATURES.items():
        if image.startswith(signature):
            return f"data:{kind};base64,{b64encode(image).decode()}"
    raise JobError(f"an image of {len(image)} bytes in the report is neither PNG nor JPEG")
