"""Scan: sampled seeds of documents looked up among those of the works, grown to exact matches.

Positions are sampled by their hash (content-defined: the same in document and work), so one in
eight says as much as all. A Bloom filter answers most look-ups, a table the rest, and the symbols
themselves decide: no hash makes a false match.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.align import MAX_GAP, extend, link
from forgetkit.match.kernels import GROWTH, Bytes, Int, Places, Rules, fold_into
from forgetkit.match.loads import load_word, prefetch

Words = npt.NDArray[np.uint64]

BASE = 0x9E3779B97F4A7C15 | 1
SQUARE = BASE * BASE % 2**64
MIX = np.uint64(0xD6E8FEB86659FD93)
COUNT_BITS, TAG_BITS = 6, 22
MOST_PLACES = 63  # of one stretch that are followed
MOST_MATCHES = 1 << 18  # in one document; beyond it each stretch is followed to one place only
_DIAGONALS = 4096
BESIDE = 240  # symbols between matches of one passage, in the text
PASSAGE = 2048  # symbols that a passage is long at most, in the work
GLIMPSE = 48  # symbols beyond a match in which it must go on
PLACE_BITS, SEAT_BITS = 6, 11
AHEAD = 16  # hashes between one whose word is fetched and one that is looked up
TOGETHER = 64  # seeds that are looked up at once
GLANCE = 30  # score below the best at which a short look is given up


class Seeds(NamedTuple):
    """The works' sampled stretches.

    Attributes:
        k: symbols a stretch.
        mask: bits that the hash of a sampled stretch has clear.
        filter: a Bloom filter: three bits in one word for each hash that occurs.
        slots: open addressing: tag (22 bits), first in `places` (36), how many (6).
        places: where stretches stand in `symbols`, those of one hash together.
        symbols: the works' symbols, a wall of zeros before, between and behind them.
    """

    k: int
    mask: np.uint64
    filter: Words
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
    found = np.uint64(0)  # unsigned: numba minds no negative index then
    pairs = np.uint64((count - k) // 2)
    for pair in range(pairs):  # two steps at once: the second waits for no product of the first
        old = np.uint64(2) * pair
        new = old + np.uint64(k)
        one = enter[symbols[new]] - leave[symbols[old]]
        two = enter[symbols[new + np.uint64(1)]] - leave[symbols[old + np.uint64(1)]]
        after = key * np.uint64(BASE) + one
        keys[found], at[found] = key, old
        found += np.uint64((key & mask) == 0)
        keys[found], at[found] = after, old + np.uint64(1)
        found += np.uint64((after & mask) == 0)
        key = key * np.uint64(SQUARE) + (one * np.uint64(BASE) + two)
    for here in range(k + 2 * np.int64(pairs), count + 1):
        keys[found], at[found] = key, here - k
        found += np.uint64((key & mask) == 0)
        if here < count:
            key = key * np.uint64(BASE) + (enter[symbols[here]] - leave[symbols[here - k]])
    return np.int64(found)


@compiled
def likely_bits(key: np.uint64, words: Int) -> tuple[np.uint64, np.uint64]:
    """Return the word of a hash in a filter of so many (below 2^32), and its three bits there."""
    mixed = key * MIX
    word = ((mixed >> np.uint64(32)) * np.uint64(words)) >> np.uint64(32)
    bits = np.uint64(1) << ((mixed >> np.uint64(14)) & np.uint64(63))
    bits |= np.uint64(1) << ((mixed >> np.uint64(20)) & np.uint64(63))
    return word, bits | (np.uint64(1) << ((mixed >> np.uint64(26)) & np.uint64(63)))


@compiled
def likely(keys: Words, at: Places, count: Int, filter: Words) -> Int:
    """Keep the hashes that the filter knows, in place; return how many.

    Behind the last of `keys` there is room for `AHEAD` more.
    """
    kept = np.uint64(0)
    for number in range(np.uint64(count)):
        prefetch(filter, likely_bits(keys[number + np.uint64(AHEAD)], len(filter))[0])
        word, bits = likely_bits(keys[number], len(filter))
        if filter[word] & bits == bits:
            keys[kept], at[kept] = keys[number], at[number]
            kept += np.uint64(1)
    return np.int64(kept)


@compiled
def slot_of(key: np.uint64, slots: Words) -> tuple[Int, np.uint64]:
    """Return where a hash is looked for first, and its tag."""
    mixed = (key ^ (key >> np.uint64(29))) * MIX
    tag = mixed >> np.uint64(64 - TAG_BITS)
    return np.int64(mixed & np.uint64(len(slots) - 1)), tag


@compiled
def entry_of(key: np.uint64, slots: Words) -> np.uint64:
    """Return the entry of a hash without its tag, 0 when it is unknown."""
    slot, tag = slot_of(key, slots)
    while True:
        entry = slots[slot]
        if entry == 0 or entry >> np.uint64(64 - TAG_BITS) == tag:
            return np.uint64((entry << np.uint64(TAG_BITS)) >> np.uint64(TAG_BITS))
        slot = (slot + 1) & (len(slots) - 1)


@compiled
def places_in(entry: np.uint64) -> tuple[Int, Int]:
    """Return the first place of an entry and how many it has."""
    return np.int64(entry >> np.uint64(COUNT_BITS)), np.int64(entry & np.uint64(MOST_PLACES))


@compiled
def looked_up(keys: Words, at: Places, seeds: Seeds) -> Int:
    """Write the table's entry in place of each hash that it knows; return how many.

    What is read next is fetched for all of them, so that the waits overlap.
    """
    for key in keys:
        prefetch(seeds.slots, slot_of(key, seeds.slots)[0])
    kept = 0
    for number in range(len(keys)):
        entry = entry_of(keys[number], seeds.slots)
        if entry:
            keys[kept], at[kept] = entry, at[number]
            prefetch(seeds.places, places_in(entry)[0])
            kept += 1
    for entry in keys[:kept]:
        first, many = places_in(entry)
        for place in range(first, first + many):
            prefetch(seeds.symbols, seeds.places[place])
            prefetch(seeds.symbols, seeds.places[place] + seeds.k)
    return kept


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
    a: Bytes, a_ends: tuple[Int, Int], b: Bytes, b_ends: tuple[Int, Int], seats: Places
) -> bool:
    """Say whether two stretches have eight symbols in a row in common.

    This is what a chance match fails at; it costs a tenth of the shortest alignment.
    """
    stamp = seats[-1] + 1
    seats[-1] = stamp
    for at in range(b_ends[0], b_ends[1] - 7):
        seat = np.int64((load_word(b, at) * MIX) >> np.uint64(64 - SEAT_BITS))
        is_taken = seats[seat] >> PLACE_BITS == stamp
        seats[seat] = (stamp << PLACE_BITS) | (0 if is_taken else at - b_ends[0] + 1)
    for at in range(a_ends[0], a_ends[1] - 7):
        eight = load_word(a, at)
        seat = np.int64((eight * MIX) >> np.uint64(64 - SEAT_BITS))
        if seats[seat] >> PLACE_BITS == stamp:
            place = seats[seat] & ((1 << PLACE_BITS) - 1)
            if place == 0 or load_word(b, b_ends[0] + place - 1) == eight:  # 0: several were there
                return True
    return False


@compiled
def promising(a: Bytes, count: Int, b: Bytes, match: Places, least: Int, seats: Places) -> bool:
    """Say whether a match and what a short look beyond its ends finds score at least so much."""
    score = 2 * match[3]
    i, j = match[1] + match[3], match[2] + match[3]
    ends, work_ends = (i, min(count, i + GLIMPSE)), (j, min(len(b), j + GLIMPSE))
    if score < least and goes_on(a, ends, b, work_ends, seats):
        score += extend(a, i, count, b, j, len(b), 1, GLANCE)[3]
    i, j = match[1], match[2]
    ends, work_ends = (max(0, i - GLIMPSE), i), (max(0, j - GLIMPSE), j)
    if score < least and goes_on(a, ends, b, work_ends, seats):
        score += extend(a, i - 1, -1, b, j - 1, -1, -1, GLANCE)[3]
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
    seats: Places,
) -> Int:
    """Drop the matches `found[first:total]` of one text that are too little to go on with.

    A stretch that two authors share by chance stands alone; one of a copy goes on behind an edit,
    or another one follows it.
    """
    keep = np.zeros(total - first, np.bool_)
    for m in range(first, total):
        here, there, length = found[m, 1], found[m, 2], found[m, 3]
        near = max(PASSAGE, length + MAX_GAP)
        n = m + 1
        while n < total and found[n, 1] - here - length <= BESIDE:
            close = found[n, 1] > here and abs(found[n, 2] - there) <= near
            if close and (link(found[m], found[n]) > 0 or shuffled(found[m], found[n])):
                keep[m - first], keep[n - first] = True, True
            n += 1
        if not keep[m - first]:
            keep[m - first] = promising(a, count, b, found[m], least, seats)
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
    keys = np.empty(GROWTH * longest + 8 + AHEAD, np.uint64)
    at = np.empty(GROWTH * longest + 8, np.int64)
    covered = np.full((_DIAGONALS, 3), -1, np.int64)  # diagonal, row, end of the match
    seats = np.zeros((1 << SEAT_BITS) + 1, np.int64)
    found = np.empty((1024, 4), np.int64)
    total: Int = 0
    for row in range(len(offsets) - 1):
        count = fold_into(data, offsets[row], offsets[row + 1], rules, symbols)
        wanted = sampled(symbols, count, seeds.k, seeds.mask, values, keys, at)
        wanted = likely(keys, at, wanted, seeds.filter)
        begin = total
        for first in range(0, wanted, TOGETHER):
            few = slice(first, min(first + TOGETHER, wanted))
            own, places = keys[few], at[few]
            own = own[: looked_up(own, places, seeds)]
            found, total = follow(
                symbols, count, seeds, own, places, row, covered, found, begin, total
            )
        if total > begin:
            total = supported(symbols, count, seeds.symbols, found, begin, total, least, seats)
    return found[:total]


@compiled
def follow(
    symbols: Bytes,
    count: Int,
    seeds: Seeds,
    entries: Words,
    at: Places,
    row: Int,
    covered: Places,
    found: Places,
    begin: Int,
    total: Int,
) -> tuple[Places, Int]:
    """Compare seeds with each place of their entries in the works, unless it is covered.

    Returns:
        The matches of all texts, and how many they are.
    """
    for number in range(len(entries)):
        first, many = places_in(entries[number])
        if total - begin > MOST_MATCHES:
            many = min(many, 1)
        i = at[number]
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
