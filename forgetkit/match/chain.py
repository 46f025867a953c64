"""Chains: exact matches near one diagonal, joined and grown into one aligned region."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.align import DRIFT, edit_distance, grow, link
from forgetkit.match.kernels import Bytes, Int, Places

Chain = npt.NDArray[np.int64]
LOOK_BACK = 512
REGION = 7
"""A region is `(7,)`: first symbol in the text, one past the last, first symbol in the works, one
past the last, edits between them, symbols of the works that were cut out in one piece, length of
the longest exact match."""
CUT = 8
"""Edits that a stretch cut out of the work counts for: one decision, however long it is."""
LEAST_CUT = 24


@compiled
def chains(found: Places) -> tuple[Chain, Chain]:
    """Group matches into chains, the heaviest first; each match belongs to one chain.

    Args:
        found: `(n, 4)` matches of one text with one work, sorted by place.

    Returns:
        `(n,)` matches, chain by chain, each chain in order; `(chains + 1,)` where each begins.
    """
    count = len(found)
    weight = np.empty(count, np.float64)
    before = np.empty(count, np.int64)
    for n in range(count):
        best, chosen = float(found[n, 3]), -1
        for m in range(max(0, n - LOOK_BACK), n):
            gain = link(found[m], found[n])
            if gain > 0 and weight[m] + gain > best:
                best, chosen = weight[m] + gain, m
        weight[n], before[n] = best, chosen
    taken = np.zeros(count, np.bool_)
    members = np.empty(count, np.int64)
    starts = np.zeros(count + 1, np.int64)
    filled, made = 0, 0
    for last in np.argsort(-weight, kind="mergesort"):
        begin = filled
        n = last
        while n >= 0 and not taken[n]:
            members[filled] = n
            filled += 1
            taken[n] = True
            n = before[n]
        if filled > begin:
            members[begin:filled] = members[begin:filled][::-1].copy()
            made += 1
            starts[made] = filled
    return members, starts[: made + 1]


@compiled
def similarity(region: Places) -> float:
    """Return the share of symbols that agree, in [0, 1]."""
    longest = max(region[1] - region[0], region[3] - region[2] - region[5])
    return 1.0 - region[4] / longest if longest > 0 else 0.0


@compiled
def aligned(
    found: Places, chain: Chain, a: Bytes, b: Bytes, limits: tuple[Int, Int, Int], jump: bool
) -> Places:
    """Align one chain: fill its gaps, grow its ends, seed again beyond them when `jump`.

    Args:
        found: matches.
        chain: those of the chain, in order.
        a: symbols of the text.
        b: symbols of the works.
        limits: symbols of the text; first symbol of the work, one past its last.
        jump: jump over heavily edited stretches beyond the ends.

    Returns:
        A region.
    """
    count, first, last = limits
    m, n = found[chain[0]], found[chain[-1]]
    i, j = n[1] + n[3], n[2] + n[3]
    right_i, right_j, right = grow(a, i, count, b, j, last, 1, jump)
    left_i, left_j, left = grow(a, m[1] - 1, -1, b, m[2] - 1, first - 1, -1, jump)
    edits = left + right
    here, there, skipped, longest = m[1], m[2], 0, 0
    for number in chain:
        n = found[number]
        overlap = max(0, here - n[1], there - n[2])
        cut = (n[2] - there) - (n[1] - here)
        if cut >= LEAST_CUT and n[1] - here <= DRIFT:
            skipped += cut
            edits += CUT + max(0, n[1] - here)
        else:
            edits += edit_distance(a, here, n[1] + overlap, b, there, n[2] + overlap)
        here, there = n[1] + n[3], n[2] + n[3]
        longest = max(longest, n[3])
    region = np.empty(REGION, np.int64)
    region[0], region[1] = m[1] - left_i, i + right_i
    region[2], region[3] = m[2] - left_j, j + right_j
    region[4], region[5], region[6] = edits, skipped, longest
    return region


@compiled
def widest(found: Places, chain: Chain) -> Int:
    """Return the place in the chain behind its widest gap."""
    cut, most = 1, -1
    for at in range(1, len(chain)):
        m, n = found[chain[at - 1]], found[chain[at]]
        gap = max(n[1] - m[1], n[2] - m[2]) - m[3]
        if gap > most:
            cut, most = at, gap
    return cut


@compiled
def parts(
    found: Places,
    chain: Chain,
    a: Bytes,
    b: Bytes,
    limits: tuple[Int, Int, Int],
    least: float,
    out: Places,
) -> Int:
    """Cut a chain at its widest gaps until each part is alike to `least`; write the regions.

    Returns:
        How many regions were written to `out`, which has a row for each match of the chain.
    """
    made = 0
    open_from = np.empty(len(chain) + 1, np.int64)
    open_to = np.empty(len(chain) + 1, np.int64)
    open_from[0], open_to[0] = 0, len(chain)
    waiting = 1
    while waiting:
        waiting -= 1
        begin, end = open_from[waiting], open_to[waiting]
        region = aligned(found, chain[begin:end], a, b, limits, False)
        if similarity(region) >= least:
            out[made] = region
            made += 1
        elif end - begin > 1:
            cut = begin + widest(found, chain[begin:end])
            open_from[waiting], open_to[waiting] = cut, end
            open_from[waiting + 1], open_to[waiting + 1] = begin, cut
            waiting += 2
    return made


@compiled
def regions(
    found: Places, a: Bytes, b: Bytes, limits: tuple[Int, Int, Int], least: float
) -> Places:
    """Return the aligned regions of one text and one work, `(n, 5)`, the best first.

    A chain is cut at its widest gap where the whole is less alike than `least`. A part must then
    be alike to half way between `least` and 1: a copy beside a rewritten stretch is exact, while
    another translation agrees a little better here and a little worse there.
    """
    members, starts = chains(found)
    made = np.empty((len(found), REGION), np.int64)
    count: Int = 0
    for number in range(len(starts) - 1):
        chain = members[starts[number] : starts[number + 1]]
        begin, stop = found[chain[0], 1], found[chain[-1], 1] + found[chain[-1], 3]
        if inside(begin, stop, made, count):
            continue
        region = aligned(found, chain, a, b, limits, True)
        if similarity(region) < least:  # what lies beyond a rewritten stretch may cost too much
            region = aligned(found, chain, a, b, limits, False)
        if similarity(region) >= least:
            made[count] = region
            count += 1
        else:
            count += parts(found, chain, a, b, limits, (1.0 + least) / 2, made[count:])
    return apart(made[:count])


@compiled
def inside(begin: Int, end: Int, made: Places, count: Int) -> bool:
    """Say whether a stretch of the text lies in one of the regions."""
    found = False
    for number in range(count):
        found = found or (made[number, 0] <= begin and end <= made[number, 1])
    return found


@compiled
def apart(made: Places) -> Places:
    """Keep the longest and most alike of regions that share half of a shorter one's text."""
    worth = np.empty(len(made), np.float64)
    for number in range(len(made)):
        worth[number] = (made[number, 1] - made[number, 0]) * similarity(made[number])
    kept = np.empty((len(made), REGION), np.int64)
    count = 0
    for number in np.argsort(-worth, kind="mergesort"):
        region = made[number]
        alone = True
        for other in range(count):
            shared = min(region[1], kept[other, 1]) - max(region[0], kept[other, 0])
            alone = alone and 2 * shared < max(1, region[1] - region[0])
        if alone:
            kept[count] = region
            count += 1
    return kept[:count]
