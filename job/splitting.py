"""COLD. Which real image trains, which validates, which is the locked test, and which stands aside, with its reason.

A published part, the source's own or the user's, is honoured. Where none is published a hash decides, so that adding
files moves nobody. Images of one group, and identical images, are always on one side.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa

from job import folds
from job.errors import DataError, SettingsError
from job.ground import lineage
from job.near_duplicates import nearest
from job.records import SPLIT_SCHEMA, RealIndex, Split
from job.settings import SplitGroup, env_name

JUDGED = ("test", "val")
OWN = "its pixels are those of a sample that was drawn here"
Columns = dict[str, list]


def split(index: RealIndex, shares: SplitGroup) -> Split:
    """Assign every real image to train, val, test or aside.

    Raises ``DataError`` for fewer than two classes, and for a class without an image in train, validation or test.
    """
    if len(index.classes) < 2:
        raise DataError(f"the real source has one class, {', '.join(map(repr, index.classes))}, and a classifier tells at least two apart",
                        "add images of another class")
    rows: Columns = {name: index.table[name].to_pylist() for name in ("id", "label", "digest", "published", "group", "generated")}
    published = set(rows["published"]) - {"", "aside"}   # to set some aside publishes nothing
    test_share = 0.0 if "test" in published else shares.test_share
    val_share = 0.0 if "val" in published else shares.val_share
    if val_share + test_share >= 1:
        names = (env_name(("split", "val_share")), env_name(("split", "test_share")))
        raise SettingsError(f"{names[0]} and {names[1]} leave nothing to train on", "make their sum less than 1")
    folds.check(shares.folds, shares.fold, shares.repeats, bool(published & {"val", "test"}))
    parts, reasons = _assign(rows, published, val_share, test_share) if shares.folds is None else _fold(index, rows, shares)
    _leave_train(rows, parts, reasons)
    if shares.near_duplicate_bits is not None:   # who sets it asks for it, whoever chose the parts
        for number, other, distance in _near(rows, parts, index.table["dhash"].to_numpy(), shares.near_duplicate_bits):
            parts[number] = "aside"
            reasons[number] = f"its perceptual hash differs in {distance} of 64 bits from that of {rows['id'][other]} in {parts[other]}"
    _cap(rows, parts, reasons, shares.train_cap)
    _demand(index, rows, parts, reasons)
    table = index.table.append_column("part", pa.array(parts)).append_column("reason", pa.array(reasons))
    return Split(index.classes, table.cast(SPLIT_SCHEMA))


def counts(split: Split, part: str) -> tuple[int, ...]:
    """Images per class in one part."""
    count = Counter(split.part(part)["label"].to_pylist())
    return tuple(count[label] for label in range(len(split.classes)))


def near_published(split: Split, bits: int | None, most: int = 3) -> tuple[str, ...]:
    """Warnings about train images that look like an image which was published as validation or test.

    Where no ``bits`` are set, they stay in train, because whoever published the parts chose both; but a gain may be
    memory. Those of one perceptual hash are told then.
    """
    bits = bits or 0
    rows: Columns = {name: split.table[name].to_pylist() for name in ("id", "published")}
    parts = split.table["part"].to_pylist()
    found = _near(rows, parts, split.table["dhash"].to_numpy(), bits, only_published=True)
    if not found:
        return ()
    first = "; ".join(f"{rows['id'][number]} is {distance} bits from {rows['id'][other]} in {parts[other]}"
                      for number, other, distance in found[:most])
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    return (f"{len(found)} of {parts.count('train')} train images look like published validation or test images, "
            f"and {env_name(('split', 'near_duplicate_bits'))} sets such aside (at most {bits} of 64 bits differ): {first}{more}",)


def mark_own(index: RealIndex, own_digests: Collection[str]) -> RealIndex:
    """The index with ``generated`` told for images whose pixel digest is among those of samples drawn here.

    Before the split, so that the hash draws none of them into a judged part. Finds exact copies only.
    """
    table, own = index.table, frozenset(own_digests)
    if not own:
        return index
    marks = [mark or (OWN if digest in own else "")
             for mark, digest in zip(table["generated"].to_pylist(), table["digest"].to_pylist(), strict=True)]
    at = table.schema.get_field_index("generated")
    return replace(index, table=table.set_column(at, table.schema.field(at), pa.array(marks, pa.string())))


def check_generated(index: RealIndex, split: Split, own_digests: Collection[str], consent: bool) -> None:
    """Refuse generated images among the real ones: always where they judge, in train unless the user consents.

    Known are those whose file says so (column ``generated``) and exact copies of our own samples (``own_digests``:
    sha256 of pixels as in the index). A generated image without a mark passes: nothing in it tells. Those that stand
    aside are used by nobody and do no harm. Raises ``DataError`` naming the files and the cure.
    """
    own = frozenset(own_digests)
    rows = zip(*(split.table[name].to_pylist() for name in ("id", "part", "digest", "generated")), strict=True)
    found = [(id, part, mark or OWN) for id, part, digest, mark in rows if part != "aside" and (mark or digest in own)]
    judged = [one for one in found if one[1] in JUDGED]
    if judged:
        raise DataError(f"{len(judged)} generated images stand in validation or test, which are real always: {_listed(judged)}",
                        f"remove them from the real source, or set them aside in the table of {env_name(('split', 'table'))}")
    if found and not consent:
        raise DataError(f"{len(found)} of {index.table.num_rows} real images are generated: {_listed(found)}",
                        f"remove them from the real source, or let them into train by {env_name(('real', 'generated_in_train'))}=true")


def _listed(found: Sequence[tuple[str, str, str]], most: int = 3) -> str:
    first = "; ".join(f"{id} in {part} ({why})" for id, part, why in found[:most])
    return first + (f"; and {len(found) - most} more" if len(found) > most else "")


def _assign(rows: Columns, published: set[str], val_share: float, test_share: float) -> tuple[list[str], list[str]]:
    """Published parts as they are; the others by a hash of what must stay together, and then the least repair.

    What is known to be generated is never drawn into a judged part.
    """
    of = _together(rows)
    drawn = set(range(len(of)))
    parts, reasons = [""] * len(of), [""] * len(of)
    for number, its in enumerate(rows["published"]):
        if its not in ("", "train"):
            parts[number], reasons[number] = its, "set aside by the source" if its == "aside" else ""
        elif published and not its:
            parts[number], reasons[number] = "aside", "no part was published for it, though one was for others"
        else:
            continue
        drawn.discard(number)
    tainted = {of[number] for number, mark in enumerate(rows["generated"]) if mark}
    draws = {key: 1.0 if key in tainted else lineage.seed_of(f"split/{key}") / 2**63 for key in {of[number] for number in drawn}}
    side = {key: "test" if draw < test_share else "val" if draw < test_share + val_share else "train" for key, draw in draws.items()}
    open_parts = [part for part, share in (("test", test_share), ("val", val_share)) if share]
    labels: dict[str, set[int]] = {key: set() for key in side}
    for number in drawn:
        labels[of[number]].add(rows["label"][number])
    _repair(side, draws, labels, open_parts, tainted)
    for number in drawn:
        parts[number] = side[of[number]]
    return parts, reasons


def _fold(index: RealIndex, rows: Columns, shares: SplitGroup) -> tuple[list[str], list[str]]:
    """One fold of a cross-fitting. What the source sets aside stays there, and what is generated judges nothing."""
    parts, reasons = ["aside"] * len(rows["id"]), ["set aside by the source"] * len(rows["id"])
    there = [number for number, its in enumerate(rows["published"]) if its != "aside"]
    of = _together(rows)
    found = folds.assign([rows["label"][number] for number in there], [of[number] for number in there], index.classes,
                         int(shares.folds or 0), int(shares.fold or 0))
    for number, part in zip(there, found, strict=True):
        parts[number], reasons[number] = "train" if rows["generated"][number] else part, ""
    return parts, reasons


def _together(rows: Columns) -> list[str]:
    """Per image the name of what it must stay together with: its group, joined with every group that shares a picture
    with it (the first of their names), or its digest alone.

    A name does not change when ungrouped files are added. Nearly identical pictures join nothing: that chains.
    """
    above: dict[str, str] = {}

    def root(group: str) -> str:
        while above.setdefault(group, group) != group:
            above[group] = group = above[above[group]]
        return group

    holder: dict[str, str] = {}   # the first group that shows a picture
    for digest, group in zip(rows["digest"], rows["group"], strict=True):
        if group:
            mine, other = sorted((root(group), root(holder.setdefault(digest, group))))
            above[other] = mine
    return [root(group) if group else root(holder[digest]) if digest in holder else digest
            for digest, group in zip(rows["digest"], rows["group"], strict=True)]


def _repair(
    side: dict[str, str], draws: dict[str, float], labels: dict[str, set[int]], open_parts: Sequence[str], tainted: set[str]
) -> None:
    """Give a class that the hash left out of a part the image (or group) whose draw came nearest to it.

    With 10 images a class, a share of .2 leaves a part empty in one class of ten. Only classes that would be refused
    are touched, and nobody is moved whose class would lose its last image in a part; so whatever passes the plain hash
    rule keeps its split for ever, and elsewhere one image per class and part may move once more files arrive.
    """
    where = Counter((label, part) for key, part in side.items() for label in labels[key])
    order = sorted(side, key=lambda key: (draws[key], key))
    of_class: dict[int, list[str]] = {}
    for key in order:
        for label in labels[key]:
            of_class.setdefault(label, []).append(key)
    for to in (*open_parts, "train"):
        sources = ("train", *open_parts) if to != "train" else open_parts
        for label in sorted(of_class):
            if where[label, to]:
                continue
            keys = of_class[label] if to != "train" else of_class[label][::-1]
            movable = (key for source in sources for key in keys if side[key] == source != to and (to == "train" or key not in tainted)
                       and all(where[its, source] > 1 for its in labels[key]))
            if (key := next(movable, None)) is not None:
                for its in labels[key]:
                    where[its, side[key]] -= 1
                    where[its, to] += 1
                side[key] = to


def _leave_train(rows: Columns, parts: list[str], reasons: list[str]) -> None:
    """Where published parts divide what belongs together: test keeps its images, val gives way to it, train to both."""
    copy: dict[str, str] = {}
    group: dict[str, str] = {}
    for part in (*JUDGED, "train"):
        held = [number for number, its in enumerate(parts) if its == part]
        for number in held:
            digest, its = rows["digest"][number], rows["group"][number]
            if digest in copy:
                parts[number], reasons[number] = "aside", f"identical to {copy[digest]}"
            elif its in group:
                parts[number], reasons[number] = "aside", f"of one group with {group[its]}"
        for number in held:
            if part != "train" and parts[number] == part:
                copy[rows["digest"][number]] = f"{rows['id'][number]} in {part}"
                if rows["group"][number]:
                    group.setdefault(rows["group"][number], f"{rows['id'][number]} in {part}")


def _near(
    rows: Columns, parts: Sequence[str], hashes: np.ndarray, bits: int, only_published: bool = False
) -> list[tuple[int, int, int]]:
    """(train image, nearest judged image, distance) of those within ``bits``; of all judged ones, or only of those published as such."""
    train = np.array([number for number, part in enumerate(parts) if part == "train"], np.int64)
    judged = np.array([number for number, part in enumerate(parts)
                       if part in JUDGED and (not only_published or rows["published"][number] == part)], np.int64)
    place, distance = nearest(hashes[train], hashes[judged], bits)
    return [(int(train[at]), int(judged[place[at]]), int(distance[at])) for at in np.flatnonzero(place >= 0)]


def _cap(rows: Columns, parts: list[str], reasons: list[str], cap: int | None) -> None:
    if cap is None:
        return
    kept: Counter[int] = Counter()
    train = [number for number, part in enumerate(parts) if part == "train"]
    for number in sorted(train, key=lambda number: lineage.seed_of(f"cap/{rows['digest'][number]}")):
        kept[rows["label"][number]] += 1
        if kept[rows["label"][number]] > cap:
            parts[number], reasons[number] = "aside", f"beyond the cap of {cap} per class"


def _demand(index: RealIndex, rows: Columns, parts: Sequence[str], reasons: Sequence[str]) -> None:
    """Raise ``DataError`` for a class without an image in a part, saying how many it has at all."""
    count = Counter(zip(rows["label"], parts, strict=True))
    for part in ("train", "val", "test"):
        for label, name in enumerate(index.classes):
            if count[label, part]:
                continue
            of = _together(rows)
            mine = [number for number, its in enumerate(rows["label"]) if its == label]
            why = next((f"; {rows['id'][number]} stands aside: {reasons[number]}" for number in mine if reasons[number]), "")
            raise DataError(
                f"class {name!r} has no image in {part}: of its {len(mine)} images, {len({of[number] for number in mine})} are different "
                f"pictures or groups{why}",
                f"add images of it (every part needs one), publish a split, change {env_name(('split', f'{part}_share'))}, or let "
                f"all of them judge in turn: {folds.FOLDS}=5"
                if part != "train" else "add images of it (every part needs one), or publish a split")
