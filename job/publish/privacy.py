"""Whether any real file is named where nothing real may be: in a version, its report, or the reason of a decision.

A name is a real image's id or locator, whole or its last part. Names of fewer than ``SHORTEST`` characters, and those
without a letter, cannot be told from ordinary words and numbers, and are not looked for.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from job.publish.gather import digitless
from job.records import Split

SHORTEST = 5


class Names:
    """Every name of a real image, ready to be looked for. Time grows with the text, not with the number of names."""

    def __init__(self, split: Split) -> None:
        columns = [*split.table["id"].to_pylist(), *split.table["locator"].to_pylist()]
        whole = {name for name in columns if name} | {name.rpartition("/")[2] for name in columns if name}
        self._exact = {name for name in whole if len(name) >= SHORTEST and any(map(str.isalpha, name))}
        self._digitless = {digitless(name) for name in self._exact}

    def within(self, value: Any) -> str:
        """The first name that stands anywhere in these plain JSON values; empty where there is none."""
        return next((name for text in _texts(value) if (name := _first(text, self._exact))), "")

    def within_reasons(self, reasons: Iterable[str]) -> str:
        """The same of reasons whose digits were made 0: a name that differs in digits alone counts, too."""
        return next((reason for reason in reasons if _first(reason, self._digitless)), "")


def _first(text: str, names: set[str]) -> str:
    """The first of ``names`` in ``text`` that is not a part of a longer word."""
    for length in sorted({len(name) for name in names if len(name) <= len(text)}):
        for at in range(len(text) - length + 1):
            if text[at : at + length] in names and not (text[at - 1 : at].isalnum() or text[at + length : at + length + 1].isalnum()):
                return text[at : at + length]
    return ""


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield str(name)
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
