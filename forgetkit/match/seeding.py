"""Seeds: stretches of k symbols that two texts share, grown to maximal exact matches.

These are the inner loops; they work on whole arrays, so that a compiled kernel can replace them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Symbols = npt.NDArray[np.uint32]
Positions = npt.NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15
MAX_POSTINGS = 64
"""Places of one key that are followed; a stretch more common than this in the works is no seed."""


def hashes(symbols: Symbols | npt.NDArray[np.uint64], k: int) -> npt.NDArray[np.uint64]:
    """Return a 64-bit hash of each stretch of k symbols, `(max(0, n - k + 1),)`.

    Hashes of powers of two are doubled and joined, so the cost is logarithmic in k.
    """
    count = len(symbols) - k + 1
    if count <= 0:
        return np.zeros(0, np.uint64)
    power = (symbols.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    power ^= power >> np.uint64(29)
    total = np.zeros(count, np.uint64)
    width, taken = 1, 0
    while True:
        if k & width:
            factor = np.uint64(pow(_BASE, width, 2**64))
            total = total * factor + power[taken : taken + count]
            taken += width
        if width * 2 > k:
            return total
        factor = np.uint64(pow(_BASE, width, 2**64))
        power = power[:-width] * factor + power[width:]
        width *= 2


@dataclass(frozen=True)
class SeedTable:
    """Where each stretch of k symbols stands in a text.

    Attributes:
        keys: `(m,)` sorted hashes.
        positions: `(m,)` place of each, in the same order.
        k: symbols a stretch.
    """

    keys: npt.NDArray[np.uint64]
    positions: Positions
    k: int

    @classmethod
    def build(cls, symbols: Symbols, k: int) -> SeedTable:
        """Index every stretch of a text; those that repeat too often are left out."""
        keys = hashes(symbols, k)
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        last = np.searchsorted(keys, keys, side="right")
        rare = last - np.searchsorted(keys, keys, side="left") <= MAX_POSTINGS
        return cls(keys[rare], order[rare].astype(np.int64), k)

    def lookup(self, symbols: Symbols) -> tuple[Positions, Positions]:
        """Return the pairs (place in `symbols`, place in the text) that share a stretch."""
        wanted = hashes(symbols, self.k)
        if not len(self.keys) or not len(wanted):
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        first = np.searchsorted(self.keys, wanted, side="left")
        held = np.flatnonzero(self.keys[np.minimum(first, len(self.keys) - 1)] == wanted)
        first = first[held]
        count = np.searchsorted(self.keys, wanted[held], side="right") - first
        here = np.repeat(held, count)
        step = np.arange(len(here)) - np.repeat(np.cumsum(count) - count, count)
        return here.astype(np.int64), self.positions[np.repeat(first, count) + step]


@dataclass(frozen=True)
class Runs:
    """Maximal exact matches: `here[i] : here[i] + length[i]` equals the same of `there`."""

    here: Positions
    there: Positions
    length: Positions

    def __len__(self) -> int:
        return len(self.here)


def runs(here: Positions, there: Positions, k: int) -> Runs:
    """Join seeds on the same diagonal that follow each other, sorted by place here."""
    if not len(here):
        empty = np.zeros(0, np.int64)
        return Runs(empty, empty, empty)
    order = np.lexsort((here, there - here))
    here, there = here[order], there[order]
    diagonal = there - here
    breaks = np.flatnonzero((np.diff(diagonal) != 0) | (np.diff(here) != 1)) + 1
    first = np.concatenate(([0], breaks))
    last = np.concatenate((breaks, [len(here)])) - 1
    found = Runs(here[first], there[first], here[last] - here[first] + k)
    order = np.lexsort((found.there, found.here))
    return Runs(found.here[order], found.there[order], found.length[order])


def agreeing(a: Symbols, b: Symbols, found: Runs) -> Runs:
    """Drop matches whose symbols differ: hashes may collide, symbols cannot."""
    good = [
        bool((a[i : i + n] == b[j : j + n]).all())
        for i, j, n in zip(found.here, found.there, found.length, strict=True)
    ]
    mask = np.array(good, bool)
    return Runs(found.here[mask], found.there[mask], found.length[mask])
