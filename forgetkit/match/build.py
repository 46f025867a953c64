"""Build the arrays of an index of works: text, symbols, where they come from, seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.errors import UsageError
from forgetkit.match.kernels import (
    GROWTH,
    Bytes,
    Int,
    Places,
    Rules,
    decoded,
    fold_into,
    frozen,
    rules,
)
from forgetkit.match.loads import prefetch
from forgetkit.match.scan import (
    AHEAD,
    COUNT_BITS,
    MOST_PLACES,
    TAG_BITS,
    Seeds,
    Words,
    hash_values,
    likely_bits,
    sampled,
    slot_of,
)

MARK = 64  # symbols between two marks
REPEATS = 16  # times that one work may hold a stretch; a refrain is a seed, "la la la" is none
FILTER_BITS = 10  # a hash; more of them leave the cache sooner than they spare look-ups
_BLOCK = 1 << 20
_SUB_BITS = 8


class Arrays(NamedTuple):
    """Everything that an index holds, as arrays.

    Attributes:
        text: UTF-8 of the works, one behind the other.
        text_starts: `(works + 1,)` first byte of each.
        symbols: symbols of the works; a zero stands before, between and behind them.
        symbol_starts: `(works + 1,)` first symbol of each; one past it stands a zero.
        marks: `(n, 2)` for every 64th symbol: the byte of its character with the symbols that
            this character gave before (low 8 bits), and that character's code point in the work.
        filter: see `scan.Seeds`.
        slots: see `scan.Seeds`.
        places: see `scan.Seeds`.
    """

    text: Bytes
    text_starts: Places
    symbols: Bytes
    symbol_starts: Places
    marks: Places
    filter: Words
    slots: Words
    places: npt.NDArray[np.uint32]

    def seeds(self, k: int, density: int) -> Seeds:
        """Return what `scan` reads."""
        return Seeds(k, mask_of(density), self.filter, self.slots, self.places, self.symbols)


def mask_of(density: int) -> np.uint64:
    """Return the bits that are clear in one hash out of `density`, a power of two."""
    bits = density.bit_length() - 1
    return np.uint64(((1 << bits) - 1) << (64 - bits) if bits else 0)


def build(works: Mapping[str, str], k: int, density: int) -> Arrays:
    """Fold the works and index their sampled stretches."""
    pieces = [text.encode("utf-8", "surrogatepass") for text in works.values()]
    text_starts = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    text = np.frombuffer(b"".join(pieces), np.uint8)
    symbols, symbol_starts = _symbols(text, text_starts, rules())
    marks = np.zeros((len(symbols) // MARK + 1, 2), np.int64)
    for work in range(len(pieces)):
        bounds = (int(text_starts[work]), int(text_starts[work + 1]))
        write_marks(text, *bounds, rules(), int(symbol_starts[work]), marks)
    keys, places = _seeds(symbols, symbol_starts, k, density)
    filter, slots, places = _table(keys, places, symbol_starts)
    return Arrays(
        text=frozen(text),
        text_starts=frozen(text_starts),
        symbols=frozen(symbols),
        symbol_starts=frozen(symbol_starts),
        marks=frozen(marks),
        filter=frozen(filter),
        slots=frozen(slots),
        places=frozen(places),
    )


def _symbols(text: Bytes, text_starts: Places, table: Rules) -> tuple[Bytes, Places]:
    wall = np.zeros(1, np.uint8)
    parts, starts, at = [wall], [], 1
    longest = int(np.max(np.diff(text_starts), initial=0))
    scratch = np.empty(GROWTH * longest + 1, np.uint8)
    for begin, end in zip(text_starts[:-1].tolist(), text_starts[1:].tolist(), strict=True):
        count = int(fold_into(text, begin, end, table, scratch))
        parts += [scratch[:count].copy(), wall]
        starts.append(at)
        at += count + 1
    if at >= 1 << 32:
        raise UsageError("the works are too long for one index", mend="Make several indexes.")
    return np.concatenate(parts), np.array([*starts, at], np.int64)


@compiled
def write_marks(text: Bytes, begin: Int, end: Int, rules: Rules, first: Int, marks: Places) -> None:
    """Write the marks of one work, whose first symbol has the number `first`."""
    at, point, symbol = begin, 0, first
    while at < end:
        width, code = decoded(text, at, end)
        made = np.int64(rules.entries[code] & 63) if code < len(rules.entries) else 0
        for step in range(made):
            if (symbol + step) % MARK == 0:
                marks[(symbol + step) // MARK, 0] = (at << _SUB_BITS) | step
                marks[(symbol + step) // MARK, 1] = point
        symbol += made
        at += width
        point += 1


@compiled
def located(
    text: Bytes,
    bounds: tuple[Int, Int, Int],
    rules: Rules,
    marks: Places,
    symbol: Int,
) -> tuple[Int, Int, Int]:
    """Return where the character of a symbol begins, its code point in the work, its bytes.

    Args:
        text: UTF-8 of the works.
        bounds: first byte of the work, one past its last, its first symbol.
        rules: folding rules.
        marks: see `Arrays`.
        symbol: number of the symbol.
    """
    begin, end, first = bounds
    at, point, seen = begin, 0, first
    mark = symbol // MARK
    if mark * MARK >= first:
        at, point = marks[mark, 0] >> _SUB_BITS, marks[mark, 1]
        seen = mark * MARK - (marks[mark, 0] & 255)
    while at < end:
        width, code = decoded(text, at, end)
        made = np.int64(rules.entries[code] & 63) if code < len(rules.entries) else 0
        if seen + made > symbol:
            return at, point, width
        seen += made
        at += width
        point += 1
    return end, point, 0


def _seeds(
    symbols: Bytes, starts: Places, k: int, density: int
) -> tuple[Words, npt.NDArray[np.uint32]]:
    """Return hash and place of the sampled stretches, in the order of the text."""
    values, mask = hash_values(k), mask_of(density)
    keys = np.empty(_BLOCK + 1, np.uint64)
    at = np.empty(_BLOCK + 1, np.int64)
    found: list[Words] = [np.zeros(0, np.uint64)]
    where: list[npt.NDArray[np.uint32]] = [np.zeros(0, np.uint32)]
    for begin, end in _blocks(starts, k):
        count = sampled(symbols[begin:end], end - begin, k, mask, values, keys, at)
        found.append(keys[:count].copy())
        where.append((at[:count] + begin).astype(np.uint32))
    return np.concatenate(found), np.concatenate(where)


def _blocks(starts: Places, k: int) -> Iterator[tuple[int, int]]:
    for first, behind in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        for begin in range(first, behind - k, _BLOCK):
            yield begin, min(begin + _BLOCK + k - 1, behind - 1)


def _table(
    keys: Words, places: npt.NDArray[np.uint32], starts: Places
) -> tuple[Words, Words, npt.NDArray[np.uint32]]:
    """Return filter, slots and places, without stretches that repeat within a work."""
    keys, places = in_order(keys, places)
    first, many = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    hashes, count = rare(keys, places, starts, first, many)
    slots = np.zeros(_power(int(hashes) * 3 // 2), np.uint64)
    filter = np.zeros(hashes * FILTER_BITS // 64 + 1, np.uint64)
    fill(keys[:hashes], first, many, slots, filter)
    return filter, slots, places[:count].copy()


@compiled
def in_order(keys: Words, places: npt.NDArray[np.uint32]) -> tuple[Words, npt.NDArray[np.uint32]]:
    """Sort hashes with their places; those of one hash stay in the order of the text.

    They spread evenly, so that each falls close to its place at once.
    """
    most = np.uint64(0)
    for key in keys:
        most = max(most, key)
    bits, shift = np.uint64(1), np.uint64(0)
    while (np.uint64(len(keys)) >> bits) > np.uint64(64):
        bits += np.uint64(1)
    while (most >> shift) >> bits:
        shift += np.uint64(1)
    ends = np.zeros((1 << np.int64(bits)) + 1, np.int64)
    for key in keys:
        ends[np.int64(key >> shift) + 1] += 1
    ends = np.cumsum(ends)
    sorted_keys, sorted_places = np.empty_like(keys), np.empty_like(places)
    for number in range(len(keys)):
        seat = np.int64(keys[number] >> shift)
        sorted_keys[ends[seat]], sorted_places[ends[seat]] = keys[number], places[number]
        ends[seat] += 1
    begin = 0
    for end in ends[:-1]:
        order = begin + np.argsort(sorted_keys[begin:end], kind="mergesort")
        sorted_keys[begin:end], sorted_places[begin:end] = sorted_keys[order], sorted_places[order]
        begin = end
    return sorted_keys, sorted_places


@compiled
def rare(
    keys: Words,
    places: npt.NDArray[np.uint32],
    starts: Places,
    first: Places,
    many: Places,
) -> tuple[Int, Int]:
    """Keep each hash once, and its places but those in a work that holds it too often, in place.

    Returns:
        How many hashes there are, and how many places; `first` and `many` say which are whose.
    """
    hashes, count, begin = 0, 0, 0
    while begin < len(keys):
        key, own = keys[begin], count
        end = begin
        while end < len(keys) and keys[end] == key:
            end += 1
        while begin < end:
            behind = end
            if end - begin > REPEATS:  # else no work has too many
                work_end = starts[np.searchsorted(starts, np.int64(places[begin]), side="right")]
                behind = begin
                while behind < end and places[behind] < work_end:
                    behind += 1
            if behind - begin <= REPEATS:
                for number in range(begin, behind):
                    places[count] = places[number]
                    count += 1
            begin = behind
        if count > own:
            keys[hashes], first[hashes] = key, own
            many[hashes] = min(count - own, MOST_PLACES)
            hashes += 1
    return hashes, count


def _power(least: int) -> int:
    return 1 << max(4, (max(1, least) - 1).bit_length())


@compiled
def fill(keys: Words, first: Places, many: Places, slots: Words, filter: Words) -> None:
    """Enter each hash into the table and the filter."""
    for number in range(len(keys)):
        ahead = keys[min(number + AHEAD, len(keys) - 1)]
        prefetch(filter, likely_bits(ahead, len(filter))[0])
        prefetch(slots, slot_of(ahead, slots)[0])
        word, bits = likely_bits(keys[number], len(filter))
        filter[word] |= bits
        slot, tag = slot_of(keys[number], slots)
        while slots[slot] != 0:
            slot = (slot + 1) & (len(slots) - 1)
        place = (np.uint64(first[number]) << np.uint64(COUNT_BITS)) | np.uint64(many[number])
        slots[slot] = (tag << np.uint64(64 - TAG_BITS)) | place
