"""Scan: sampled seeds of documents looked up among those of the works, grown to exact matches.

Positions are sampled by their hash (content-defined: the same in document and work), so one in
eight says as much as all. A bitmap answers most look-ups, a table the rest, and the symbols
themselves decide: no hash makes a false match.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.align import extend, link
from forgetkit.match.kernels import GROWTH, Bytes, Int, Places, Rules, fold_into

Words = npt.NDArray[np.uint64]

BASE = 0x9E3779B97F4A7C15 | 1
MIX = np.uint64(0xD6E8FEB86659FD93)
COUNT_BITS, TAG_BITS = 6, 22
MOST_PLACES = 63  # of one stretch that are followed
MOST_MATCHES = 1 << 18  # in one document; beyond it each stretch is followed to one place only
_DIAGONALS = 4096
BESIDE = 240  # symbols between matches of one passage, in the text
PASSAGE = 2048  # symbols that a passage is long at most, in the work
GLIMPSE = 48
STAMP_BITS = 12
GLANCE = 30  # score below the best at which a short look is given up


class Seeds(NamedTuple):
    """The works' sampled stretches.

    Attributes:
        k: symbols a stretch.
        mask: bits that the hash of a sampled stretch has clear.
        bitmap: a bit for each hash that occurs.
        slots: open addressing: tag (22 bits), first in `places` (36), how many (6).
        places: where stretches stand in `symbols`, those of one hash together.
        symbols: the works' symbols, a wall of zeros before, between and behind them.
    """

    k: int
    mask: np.uint64
    bitmap: Words
    slots: Words
    places: npt.NDArray[np.uint32]
    symbols: Bytes


def hash_values(k: int) -> tuple[Words, Words]:
    """Return what a byte adds to a rolling hash, and what it takes away k steps later."""
    dice = np.random.default_rng(0x5EED)
    enter = dice.integers(0, 2**64, 256, np.uint64, endpoint=False)
    return enter, enter * np.uint64(pow(BASE, k, 2**64))


@compiled
def sampled(
    symbols: Bytes,
    count: Int,
    k: Int,
    mask: np.uint64,
    values: tuple[Words, Words],
    keys: Words,
    at: Places,
) -> Int:
    """Write hash and place of each sampled stretch of `symbols[:count]`; return how many."""
    if count < k:
        return 0
    enter, leave = values
    key = np.uint64(0)
    for here in range(k):
        key = key * np.uint64(BASE) + enter[symbols[here]]
    found: Int = 0
    for here in range(k, count):
        keys[found] = key
        at[found] = here - k
        found += (key & mask) == 0
        key = key * np.uint64(BASE) + enter[symbols[here]] - leave[symbols[here - k]]
    keys[found] = key
    at[found] = count - k
    found += (key & mask) == 0
    return found


@compiled
def likely_bit(key: np.uint64, words: Int) -> np.uint64:
    """Return the bit of a hash in a bitmap of so many words, a power of two."""
    return ((key * MIX) >> np.uint64(20)) & np.uint64(64 * words - 1)


@compiled
def likely(keys: Words, at: Places, count: Int, bitmap: Words) -> Int:
    """Keep the hashes that the bitmap knows, in place; return how many."""
    kept: Int = 0
    for number in range(count):
        key = keys[number]
        bit = likely_bit(key, len(bitmap))
        keys[kept] = key
        at[kept] = at[number]
        word = bitmap[bit >> np.uint64(6)]
        kept += np.int64((word >> (bit & np.uint64(63))) & np.uint64(1))
    return kept


@compiled
def slot_of(key: np.uint64, slots: Words) -> tuple[Int, np.uint64]:
    """Return where a hash is looked for first, and its tag."""
    mixed = (key ^ (key >> np.uint64(29))) * MIX
    tag = mixed >> np.uint64(64 - TAG_BITS)
    return np.int64(mixed & np.uint64(len(slots) - 1)), tag


@compiled
def places_of(key: np.uint64, slots: Words) -> tuple[Int, Int]:
    """Return the first place of a hash and how many it has, 0 when it is unknown."""
    slot, tag = slot_of(key, slots)
    while True:
        entry = slots[slot]
        if entry == 0:
            return 0, 0
        if entry >> np.uint64(64 - TAG_BITS) == tag:
            first = (entry << np.uint64(TAG_BITS)) >> np.uint64(TAG_BITS + COUNT_BITS)
            return np.int64(first), np.int64(entry & np.uint64(63))
        slot = (slot + 1) & (len(slots) - 1)


@compiled
def matched(a: Bytes, count: Int, i: Int, b: Bytes, j: Int) -> tuple[Int, Int]:
    """Return how far two texts agree before and from a place; walls agree with nothing."""
    before = 0
    while before < i and a[i - before - 1] == b[j - before - 1]:
        before += 1
    behind = 0
    while i + behind < count and a[i + behind] == b[j + behind]:
        behind += 1
    return before, behind


@compiled
def append(found: Places, total: Int, row: Int, here: Int, there: Int, length: Int) -> Places:
    """Write a match behind `total` others; return the array, a longer one when it was full."""
    if total == len(found):
        more = np.empty((2 * len(found), 4), np.int64)
        more[:total] = found
        found = more
    found[total, 0], found[total, 1], found[total, 2], found[total, 3] = row, here, there, length
    return found


@compiled
def goes_on(
    a: Bytes, at: Int, to: Int, b: Bytes, bt: Int, bo: Int, step: Int, stamps: Places
) -> bool:
    """Say whether eight symbols of `a` stand in `b` too, both within 48 of a match's end.

    This is what a chance match fails at; it costs a tenth of the shortest alignment.
    """
    stamp = stamps[-1] + 1
    stamps[-1] = stamp
    key = np.uint64(0)
    for number in range(min(GLIMPSE, (bo - bt) * step)):
        key = (key << np.uint64(8)) | np.uint64(b[bt + step * number])
        if number >= 7:
            stamps[np.int64((key * MIX) >> np.uint64(64 - STAMP_BITS))] = stamp
    for number in range(min(GLIMPSE, (to - at) * step)):
        key = (key << np.uint64(8)) | np.uint64(a[at + step * number])
        if number >= 7 and stamps[np.int64((key * MIX) >> np.uint64(64 - STAMP_BITS))] == stamp:
            return True
    return False


@compiled
def promising(a: Bytes, count: Int, b: Bytes, match: Places, least: Int, stamps: Places) -> bool:
    """Say whether a match and what a short look beyond its ends finds score at least so much."""
    score = 2 * match[3]
    behind, work_behind = match[1] + match[3], match[2] + match[3]
    if score < least and goes_on(a, behind, count, b, work_behind, len(b), 1, stamps):
        score += extend(a, behind, count, b, work_behind, len(b), 1, GLANCE)[3]
    if score < least and goes_on(a, match[1] - 1, -1, b, match[2] - 1, -1, -1, stamps):
        score += extend(a, match[1] - 1, -1, b, match[2] - 1, -1, -1, GLANCE)[3]
    return bool(score >= least)


@compiled
def shuffled(m: Places, n: Places) -> bool:
    """Say whether two matches of a text come from one passage, in whatever order."""
    apart = abs(n[2] - m[2])
    return bool(n[1] >= m[1] + m[3] and apart >= min(m[3], n[3]) and apart <= PASSAGE)


@compiled
def supported(
    a: Bytes,
    count: Int,
    b: Bytes,
    found: Places,
    first: Int,
    total: Int,
    least: Int,
    stamps: Places,
) -> Int:
    """Drop the matches `found[first:total]` of one text that are too little to go on with.

    A stretch that two authors share by chance stands alone; one of a copy goes on behind an edit,
    or another one follows it.
    """
    keep = np.zeros(total - first, np.bool_)
    for m in range(first, total):
        n = m + 1
        while n < total and found[n, 1] - found[m, 1] - found[m, 3] <= BESIDE:
            if link(found[m], found[n]) > 0 or shuffled(found[m], found[n]):
                keep[m - first], keep[n - first] = True, True
            n += 1
        if not keep[m - first]:
            keep[m - first] = promising(a, count, b, found[m], least, stamps)
    kept = first
    for m in range(first, total):
        if keep[m - first]:
            found[kept] = found[m]
            kept += 1
    return kept


@compiled
def scan(
    data: Bytes,
    offsets: Places,
    rules: Rules,
    seeds: Seeds,
    values: tuple[Words, Words],
    least: Int,
) -> Places:
    """Return the exact matches of many texts with the works.

    Args:
        data: UTF-8 of all texts.
        offsets: `(rows + 1,)` where each text begins in `data`.
        rules: folding rules.
        seeds: the works.
        values: of the rolling hash.
        least: score that a match which stands alone must have, with what is around it.

    Returns:
        `(matches, 4)`: row, first symbol in the text, first symbol in the works, length.
    """
    longest: Int = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    symbols = np.empty(GROWTH * longest + 8, np.uint8)
    keys = np.empty(GROWTH * longest + 8, np.uint64)
    at = np.empty(GROWTH * longest + 8, np.int64)
    covered = np.full((_DIAGONALS, 3), -1, np.int64)  # diagonal, row, end of the match
    stamps = np.zeros((1 << STAMP_BITS) + 1, np.int64)
    found = np.empty((1024, 4), np.int64)
    total: Int = 0
    for row in range(len(offsets) - 1):
        count = fold_into(data, offsets[row], offsets[row + 1], rules, symbols)
        wanted = sampled(symbols, count, seeds.k, seeds.mask, values, keys, at)
        wanted = likely(keys, at, wanted, seeds.bitmap)
        begin = total
        for number in range(wanted):
            found, total = follow(
                symbols, count, seeds, keys[number], at[number], row, covered, found, begin, total
            )
        if total > begin:
            total = supported(symbols, count, seeds.symbols, found, begin, total, least, stamps)
    return found[:total]


@compiled
def follow(
    symbols: Bytes,
    count: Int,
    seeds: Seeds,
    key: np.uint64,
    i: Int,
    row: Int,
    covered: Places,
    found: Places,
    begin: Int,
    total: Int,
) -> tuple[Places, Int]:
    """Compare a seed at `i` with each place that its hash has in the works, unless it is covered.

    Returns:
        The matches of all texts, and how many they are.
    """
    first, many = places_of(key, seeds.slots)
    if total - begin > MOST_MATCHES:
        many = min(many, 1)
    for place in range(first, first + many):
        j = np.int64(seeds.places[place])
        line = (j - i) & (_DIAGONALS - 1)
        same = covered[line, 0] == j - i and covered[line, 1] == row
        if same and covered[line, 2] > i:
            continue
        before, behind = matched(symbols, count, i, seeds.symbols, j)
        if before + behind >= seeds.k:
            covered[line, 0], covered[line, 1], covered[line, 2] = j - i, row, i + behind
            found = append(found, total, row, i - before, j - before, before + behind)
            total += 1
    return found, total
