"""Build the arrays of an index of works: text, symbols, where they come from, seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from forgetkit.match.scan import (
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
    order = np.argsort(keys, kind="stable")
    keys, places = keys[order], places[order]
    owner = np.searchsorted(starts, places, side="right").astype(np.int32)
    fresh = _changes(keys) | _changes(owner)
    rare = _sizes(fresh) <= REPEATS
    keys, places = keys[rare], places[rare]
    first = np.flatnonzero(_changes(keys))
    many = np.minimum(np.diff([*first, len(keys)]), MOST_PLACES)
    slots = np.zeros(_power(len(first) * 3 // 2), np.uint64)
    filter = np.zeros(len(first) * FILTER_BITS // 64 + 1, np.uint64)
    fill(keys[first], first, many.astype(np.int64), slots, filter)
    return filter, slots, places


def _changes(values: Sequence[int] | npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Return where a value differs from the one before."""
    array = np.asarray(values)
    changed = np.ones(len(array), np.bool_)
    changed[1:] = array[1:] != array[:-1]
    return changed


def _sizes(fresh: npt.NDArray[np.bool_]) -> Places:
    """Return for each element how many its group has."""
    first = np.flatnonzero(fresh)
    sizes = np.diff(np.append(first, len(fresh)))
    return np.repeat(sizes, sizes)


def _power(least: int) -> int:
    return 1 << max(4, (max(1, least) - 1).bit_length())


@compiled
def fill(keys: Words, first: Places, many: Places, slots: Words, filter: Words) -> None:
    """Enter each hash into the table and the filter."""
    for number in range(len(keys)):
        word, bits = likely_bits(keys[number], len(filter))
        filter[word] |= bits
        slot, tag = slot_of(keys[number], slots)
        while slots[slot] != 0:
            slot = (slot + 1) & (len(slots) - 1)
        place = (np.uint64(first[number]) << np.uint64(COUNT_BITS)) | np.uint64(many[number])
        slots[slot] = (tag << np.uint64(64 - TAG_BITS)) | place
