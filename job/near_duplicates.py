"""COLD. Which of many 64-bit perceptual hashes lie within a few bits of which others.

By the pigeonhole principle two hashes that differ in at most ``bits`` bits agree in at least one of ``bits + 1`` bands,
so only pairs that share a band are looked at. Where bands would be too narrow to spare much, all pairs are, in blocks.
100,000 hashes against 10,000 take .2 s of one slow core at 4 bits, and 1.2 s from 8 bits on.
"""

import itertools
from collections.abc import Iterator

import numpy as np

BITS = 64
BLOCK = 1 << 21        # pairs looked at in one go: 40 to 80 MB
NARROWEST = 8          # bits of a band; below, so many pairs share some band that looking at all is quicker
PLACE = 0xFFFFFFFF
FAR = np.int64(BITS + 1) << 32


def nearest(these_N: np.ndarray, others_M: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``these_N`` the nearest of ``others_M`` within ``bits`` differing bits (all uint64).

    Gives its place among the others, int64 (N,), -1 where none lies so near, and the distance in bits, int64 (N,), -1
    likewise. Of several at the same distance it is the first. Raises ``ValueError`` unless 0 ≤ ``bits`` ≤ 64.
    """
    if not 0 <= bits <= BITS:
        raise ValueError(f"bits is 0 to {BITS}, not {bits}")
    own, back = np.unique(np.asarray(these_N, np.uint64), return_inverse=True)   # many pictures share a hash: flat ones
    first = np.sort(np.unique(np.asarray(others_M, np.uint64), return_index=True)[1])
    other = np.asarray(others_M, np.uint64)[first]
    best = np.full(len(own), FAR)   # distance above, place below: the least is the nearest, then the first
    if len(own) and len(other):
        (_in_bands if BITS // (bits + 1) >= NARROWEST else _one_by_one)(own, other, bits, best)
    best = best[back]
    return np.where(best < FAR, first[best & PLACE] if len(first) else -1, -1), np.where(best < FAR, best >> 32, -1)


def _one_by_one(own: np.ndarray, other: np.ndarray, bits: int, best: np.ndarray) -> None:
    step = max(1, BLOCK // len(other))
    for at in range(0, len(own), step):
        distance = np.bitwise_count(own[at : at + step, None] ^ other)
        place = distance.argmin(axis=1)
        least = distance[np.arange(len(place)), place].astype(np.int64)
        best[at : at + step] = np.where(least <= bits, least << 32 | place, FAR)


def _in_bands(own: np.ndarray, other: np.ndarray, bits: int, best: np.ndarray) -> None:
    edges = [band * BITS // (bits + 1) for band in range(bits + 2)]
    for low, high in itertools.pairwise(edges):
        mask = np.uint64((1 << (high - low)) - 1)
        mine, theirs = ((hashes >> np.uint64(low)) & mask for hashes in (own, other))
        order = np.argsort(theirs, kind="stable")
        begin, end = (np.searchsorted(theirs, mine, side, sorter=order) for side in ("left", "right"))
        for left, right in _expanded(begin, end - begin, order):
            distance = np.bitwise_count(own[left] ^ other[right]).astype(np.int64)
            near = distance <= bits
            np.minimum.at(best, left[near], distance[near] << 32 | right[near])


def _expanded(begin: np.ndarray, count: np.ndarray, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of each place with the ``count`` entries of ``order`` from its ``begin`` on, about ``BLOCK`` at a time."""
    until = np.cumsum(count)
    at = 0
    while at < len(count):
        done = until[at - 1] if at else 0
        stop = max(at + 1, int(np.searchsorted(until, done + BLOCK, "right")))
        left = np.repeat(np.arange(at, stop), count[at:stop])
        within = np.arange(len(left)) - np.repeat(until[at:stop] - count[at:stop] - done, count[at:stop])
        yield left, order[np.repeat(begin[at:stop], count[at:stop]) + within]
        at = stop
