"""Groups of near duplicates: texts that share a band are compared exactly, copies are joined."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.shingles import Shingles, shared

Numbers = npt.NDArray[np.int64]

MOST_COMPARED = 64
"""Texts before it in one bucket that a text is compared with; those already joined are free."""
_MOST_HASHES = 8_000_000  # 64 MB that are looked at before their memory is given back
_NEXT_BITS = np.uint64(16)


@dataclass(frozen=True)
class Sets:
    """Sets of shingles, one behind the other: set `i` is `hashes[bounds[i] : bounds[i + 1]]`."""

    hashes: Shingles
    bounds: Numbers
    mapped: mmap.mmap | None = None

    @classmethod
    def open(cls, path: Path, bounds: Numbers) -> Sets:
        """Map the hashes that stand in a file."""
        if not bounds[-1]:
            return cls(np.zeros(0, np.uint64), bounds)
        with path.open("rb") as stream:
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return cls(np.frombuffer(mapped, np.uint64), bounds, mapped)

    def release(self) -> None:
        """Give back the memory of mapped hashes; they are read again where they are needed."""
        if self.mapped is not None:
            self.mapped.madvise(mmap.MADV_DONTNEED)


@dataclass(frozen=True)
class Edges:
    """Pairs of texts that were compared and are copies.

    Attributes:
        first: `(m,)` number of one.
        second: `(m,)` number of the other.
        shared: `(m,)` shingles in common.
    """

    first: Numbers
    second: Numbers
    shared: Numbers


@compiled
def root_of(parents: Numbers, item: int) -> int:
    """Return the first member of an item's group, and shorten the way there."""
    while parents[item] != item:
        parents[item] = parents[parents[item]]
        item = parents[item]
    return item


@compiled
def join_all(parents: Numbers, first: Numbers, second: Numbers) -> None:
    """Join the groups of each pair; the root of a group is its least member."""
    for i in range(len(first)):
        a, b = root_of(parents, first[i]), root_of(parents, second[i])
        parents[max(a, b)] = min(a, b)


@compiled
def roots(parents: Numbers) -> Numbers:
    """Return the first member of each item's group, `(n,)`."""
    return np.array([root_of(parents, i) for i in range(len(parents))])


@compiled
def common(hashes: Shingles, bounds: Numbers, a: int, b: int, threshold: float) -> int:
    """Return how many shingles two sets share; -1 when their Jaccard similarity is too low."""
    one, other = hashes[bounds[a] : bounds[a + 1]], hashes[bounds[b] : bounds[b + 1]]
    total = len(one) + len(other)
    both = shared(one, other, int(threshold * total / (1.0 + threshold)))
    if both <= 0 or both / (total - both) < threshold:
        return -1
    return both


@compiled
def _join_bucket(
    members: Numbers,
    hashes: Shingles,
    bounds: Numbers,
    threshold: float,
    settled: int,
    alone: bool,
    parents: Numbers,
    found: Numbers,
    count: int,
) -> int:
    for i in range(1, len(members)):
        for j in range(i - 1, max(-1, i - 1 - MOST_COMPARED), -1):
            a, b = members[i], members[j]
            if max(a, b) < settled or (alone and min(a, b) >= settled):
                continue
            one, other = root_of(parents, a), root_of(parents, b)
            if one == other:
                continue
            both = common(hashes, bounds, a, b, threshold)
            if both >= 0:
                parents[max(one, other)] = min(one, other)
                found[count, 0], found[count, 1], found[count, 2] = min(a, b), max(a, b), both
                count += 1
    return count


@compiled
def _join_band(
    order: Numbers,
    keys: Shingles,
    hashes: Shingles,
    bounds: Numbers,
    threshold: float,
    settled: int,
    alone: bool,
    parents: Numbers,
    found: Numbers,
    count: int,
) -> int:
    begin = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or (keys[order[end]] ^ keys[order[begin]]) >> _NEXT_BITS:
            members = order[begin:end]
            count = _join_bucket(
                members, hashes, bounds, threshold, settled, alone, parents, found, count
            )
            begin = end
    return count


def near_groups(
    keys_of: Callable[[int], Shingles],
    bands: int,
    sets: Sets,
    threshold: float,
    *,
    settled: int = 0,
    alone: bool = False,
) -> Edges:
    """Compare the texts that share a band, and join those whose Jaccard similarity suffices.

    Texts of one group are not compared again, so a bucket of a million copies costs a million
    comparisons. Large buckets are ordered by the next band, which puts copies side by side.

    Args:
        keys_of: returns the keys of a band, `(n,)`, by the number of the band.
        bands: how many bands.
        sets: shingles of the n texts.
        threshold: least Jaccard similarity, in (0, 1].
        settled: so many texts, the first ones, are not compared with each other.
        alone: the other texts are not compared with each other either.

    Returns:
        The pairs that joined two groups: at most n - 1.
    """
    count = len(sets.bounds) - 1
    parents = np.arange(count, dtype=np.int64)
    found = np.empty((max(count, 1), 3), np.int64)
    edges = 0
    for band in range(bands):
        for order, keys in _slices(keys_of(band), keys_of((band + 1) % bands), sets):
            edges = _join_band(
                order, keys, sets.hashes, sets.bounds, threshold, settled, alone, parents, found,
                edges,
            )  # fmt: skip
            sets.release()
    pairs = found[:edges]
    return Edges(pairs[:, 0].copy(), pairs[:, 1].copy(), pairs[:, 2].copy())


def _slices(keys: Shingles, following: Shingles, sets: Sets) -> Iterator[tuple[Numbers, Shingles]]:
    """Yield runs of whole buckets of two and more, in order, of bounded size."""
    if len(keys) < 2:
        return
    mask = np.uint64((1 << int(_NEXT_BITS)) - 1)
    keys = (keys & ~mask) | (following & mask)
    order = np.argsort(keys, kind="stable").astype(np.int64, copy=False)
    bucket = keys[order] >> _NEXT_BITS
    same = bucket[1:] == bucket[:-1]
    shares = np.concatenate(([False], same)) | np.concatenate((same, [False]))
    order, bucket = order[shares], bucket[shares]
    if not len(order):
        return
    weight = np.cumsum(np.diff(sets.bounds)[order])
    begins = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
    chosen = begins[np.concatenate(([True], np.diff(weight[begins] // _MOST_HASHES) > 0))]
    for begin, end in zip(chosen, np.append(chosen[1:], len(order)), strict=True):
        yield order[begin:end], keys


def sharing_a_key(
    keys_of: Callable[[int], Shingles], bands: int, count: int
) -> npt.NDArray[np.bool_]:
    """Say for each text whether another one shares a band with it, `(n,)`."""
    found = np.zeros(count, bool)
    for band in range(bands):
        keys = keys_of(band) >> _NEXT_BITS
        ordered = np.sort(keys)
        repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if len(repeated):
            at = np.minimum(np.searchsorted(repeated, keys), len(repeated) - 1)
            found |= repeated[at] == keys
    return found
