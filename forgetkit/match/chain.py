"""Chains: exact matches near one diagonal, joined and grown into one aligned region."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from forgetkit.match.seeding import Runs, SeedTable, Symbols, runs

MAX_GAP = 160  # symbols between two matches of one chain
DRIFT = 16  # plus a quarter of the gap: how far the diagonal may move
DROP = 80  # score below the best at which an end is given up: 16 mismatches and more
BAND = 40
REACH = 240  # symbols beyond an end that are searched again with short seeds
SHORT_SEED = 10
LOOK_BACK = 512
GAIN = 48  # score that a re-seeded stretch must add: 24 symbols


@dataclass(frozen=True)
class Region:
    """One aligned region, in symbols of both texts.

    Attributes:
        here: first symbol in the document.
        here_end: one past the last.
        there: first symbol in the work.
        there_end: one past the last.
        edits: symbols changed, added or lost between them.
    """

    here: int
    here_end: int
    there: int
    there_end: int
    edits: int

    @property
    def similarity(self) -> float:
        """Return the share of symbols that agree, in [0, 1]."""
        longest = max(self.here_end - self.here, self.there_end - self.there)
        return 1.0 - self.edits / longest if longest else 0.0


def chains(found: Runs) -> list[list[int]]:
    """Group matches into chains, the heaviest first; each match belongs to one chain.

    A match follows another when both texts move on by at most 160 symbols and the diagonal by
    at most 16 plus a quarter of the gap; or by more where one text hardly moves on at all.
    """
    here, there, length = found.here.tolist(), found.there.tolist(), found.length.tolist()
    weight: list[float] = []
    before: list[int] = []
    for i in range(len(here)):
        best, link = float(length[i]), -1
        for p in range(max(0, i - LOOK_BACK), i):
            gain = _link(here[p], there[p], length[p], here[i], there[i], length[i])
            if gain > 0 and weight[p] + gain > best:
                best, link = weight[p] + gain, p
        weight.append(best)
        before.append(link)
    return _trace(weight, before)


def _link(here: int, there: int, length: int, here2: int, there2: int, length2: int) -> float:
    """Return what the second match adds behind the first; 0 when it cannot follow."""
    gap_here, gap_there = here2 - here - length, there2 - there - length
    overlap = max(0, -gap_here, -gap_there)
    gap = max(gap_here, gap_there)
    drift = abs(gap_here - gap_there)
    if gap > MAX_GAP or overlap >= length2 or here2 <= here or there2 <= there:
        return 0.0
    one_sided = min(gap_here, gap_there) <= DRIFT  # something was left out, or put in
    if drift > DRIFT + max(gap, 0) / 4 and not one_sided:
        return 0.0
    return max(0.0, length2 - overlap - 0.1 * drift)


def _trace(weight: list[float], before: list[int]) -> list[list[int]]:
    taken = [False] * len(weight)
    found = []
    for last in sorted(range(len(weight)), key=lambda i: (-weight[i], i)):
        chain = []
        i = last
        while i >= 0 and not taken[i]:
            chain.append(i)
            taken[i] = True
            i = before[i]
        if chain:
            found.append(chain[::-1])
    return found


def regions(found: Runs, chain: list[int], a: Symbols, b: Symbols, least: float) -> list[Region]:
    """Align a chain; cut it at its widest gap where the whole is less alike than `least`.

    A part must be alike to half way between `least` and 1: a copy beside a rewritten stretch is
    exact, while another translation agrees a little better here and a little worse there.
    """
    region = align(found, chain, a, b, jump=True)
    if region.similarity >= least:
        return [region]
    return _parts(found, chain, a, b, (1.0 + least) / 2)


def _parts(found: Runs, chain: list[int], a: Symbols, b: Symbols, least: float) -> list[Region]:
    region = align(found, chain, a, b, jump=False)
    if region.similarity >= least:
        return [region]
    if len(chain) == 1:
        return []
    gaps = [_gap(found, m, n) for m, n in itertools.pairwise(chain)]
    cut = gaps.index(max(gaps)) + 1
    return [
        *_parts(found, chain[:cut], a, b, least),
        *_parts(found, chain[cut:], a, b, least),
    ]


def _gap(found: Runs, m: int, n: int) -> int:
    gap_here = found.here[n] - found.here[m] - found.length[m]
    gap_there = found.there[n] - found.there[m] - found.length[m]
    return int(max(gap_here, gap_there))


def align(found: Runs, chain: list[int], a: Symbols, b: Symbols, *, jump: bool = True) -> Region:
    """Align one chain: fill its gaps, grow its ends, seed again beyond them when `jump`."""
    first, last = chain[0], chain[-1]
    here, there = int(found.here[first]), int(found.there[first])
    i = int(found.here[last] + found.length[last])
    j = int(found.there[last] + found.length[last])
    right_i, right_j, right = _grow(a[i:], b[j:], jump)
    left_i, left_j, left = _grow(a[:here][::-1], b[:there][::-1], jump)
    edits = right + left + _gap_edits(found, chain, a, b)
    return Region(here - left_i, i + right_i, there - left_j, j + right_j, edits)


def _gap_edits(found: Runs, chain: list[int], a: Symbols, b: Symbols) -> int:
    """Return the edits between the matches of a chain."""
    from forgetkit.match.kernels import edit_distance

    edits = 0
    i, j = int(found.here[chain[0]]), int(found.there[chain[0]])
    for m in chain:
        here, there, length = int(found.here[m]), int(found.there[m]), int(found.length[m])
        overlap = max(0, i - here, j - there)
        edits += int(edit_distance(a[i : here + overlap], b[j : there + overlap]))
        i, j = here + length, there + length
    return edits


def _grow(a: Symbols, b: Symbols, jump: bool) -> tuple[int, int, int]:
    """Extend over the beginnings of a and b; jump over heavily edited stretches when it pays."""
    from forgetkit.match.kernels import edit_distance, extend

    i, j, edits, _ = extend(a, b, DROP, BAND)
    while jump:
        gap = _reseed(a[i : i + REACH], b[j : j + REACH])
        if gap is None:
            break
        edits += edit_distance(a[i : i + gap[0]], b[j : j + gap[1]])
        i, j = i + gap[0], j + gap[1]
        more_i, more_j, more_edits, _ = extend(a[i:], b[j:], DROP, BAND)
        i, j, edits = i + more_i, j + more_j, edits + more_edits
    return int(i), int(j), int(edits)


def _reseed(a: Symbols, b: Symbols) -> tuple[int, int] | None:
    """Return the gap to the nearest stretch that goes on near this diagonal, or None."""
    from forgetkit.match.kernels import extend

    here, there = SeedTable.build(b, SHORT_SEED).lookup(a)
    near = np.abs(here - there) <= DRIFT + np.maximum(here, there) // 4
    near &= np.maximum(here, there) <= MAX_GAP
    found = runs(here[near], there[near], SHORT_SEED)
    for i, j in zip(found.here.tolist(), found.there.tolist(), strict=True):
        *_, score = extend(a[i:], b[j:], DROP, BAND)
        if score >= GAIN + max(i, j) // 4:
            return i, j
    return None
