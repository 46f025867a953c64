"""Shingles: hashes of the word 5-grams of a text, as a set; and how much two sets share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.letters import letters
from forgetkit.match.words import MOST_BYTES, MOST_WORDS, Column, read_words

Shingles = npt.NDArray[np.uint64]

WORDS = 5
_BASE = np.uint64(0x9E3779B97F4A7C15)


@compiled
def join_words(words: Shingles, count: int) -> int:
    """Replace the hashes of words, in place, by those of their 5-grams; return how many.

    A text of fewer than five words is one shingle; a text without words has none.
    """
    width = min(count, WORDS)
    leading = np.uint64(1)
    for _ in range(width):
        leading *= _BASE
    total = np.uint64(0)
    for i in range(width):
        total = total * _BASE + words[i]
    for i in range(width, count):
        gone = words[i - width]
        words[i - width] = total
        total = total * _BASE + words[i] - gone * leading
    if count:
        words[count - width] = total
    return count - width + 1 if count else 0


@compiled
def _near_order(values: Shingles, count: int, room: Shingles) -> None:
    """Copy hashes to `room` in the order of their first bits, about one a bucket."""
    bits = 1
    while (1 << bits) < count:
        bits += 1
    shift = np.uint64(64 - bits)
    ends = np.zeros((1 << bits) + 1, np.int64)
    for i in range(count):
        ends[np.int64(values[i] >> shift) + 1] += 1
    for i in range(1, len(ends)):
        ends[i] += ends[i - 1]
    for i in range(count):
        bucket = np.int64(values[i] >> shift)
        room[ends[bucket]] = values[i]
        ends[bucket] += 1


@compiled
def sort_distinct(values: Shingles, count: int, room: Shingles) -> int:
    """Sort hashes in place and drop repeated ones; return how many are left.

    Hashes are spread evenly, so their first bits put each near its place.

    Args:
        values: hashes; the first `count` count.
        count: how many.
        room: as many free places.
    """
    _near_order(values, count, room)
    kept = 0
    for i in range(count):
        value = room[i]
        at = kept
        while at > 0 and values[at - 1] > value:
            at -= 1
        if at > 0 and values[at - 1] == value:
            continue
        for j in range(kept, at, -1):
            values[j] = values[j - 1]
        values[at] = value
        kept += 1
    return kept


@compiled
def shared(a: Shingles, b: Shingles, least: int) -> int:
    """Return how many hashes two sorted sets share; -1 as soon as it is less than `least`."""
    i = j = found = 0
    while i < len(a) and j < len(b):
        if found + min(len(a) - i, len(b) - j) < least:
            return -1
        for _ in range(min(64, len(a) - i, len(b) - j)):
            left, right = a[i], b[j]
            found += left == right
            i += left <= right
            j += right <= left
    return found if found >= least else -1


@compiled
def longest(offsets: npt.NDArray[np.int64]) -> int:
    """Return the length of the longest text of a column, in bytes."""
    most = 0
    for i in range(len(offsets) - 1):
        most = max(most, offsets[i + 1] - offsets[i])
    return most


@compiled
def _sets(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    entries: npt.NDArray[np.uint32],
    pool: npt.NDArray[np.uint32],
) -> tuple[Shingles, npt.NDArray[np.int64]]:
    most = longest(offsets)
    folded = np.empty(most * MOST_BYTES + 1, np.uint8)
    words = np.empty(most * MOST_WORDS + 1, np.uint64)
    room = np.empty(most * MOST_WORDS + 1, np.uint64)
    bounds = np.zeros(len(rows) + 1, np.int64)
    found = np.empty(1024, np.uint64)
    for i, row in enumerate(rows):
        _, count = read_words(data, offsets[row], offsets[row + 1], entries, pool, folded, words)
        count = sort_distinct(words, join_words(words, count), room)
        bounds[i + 1] = bounds[i] + count
        if bounds[i + 1] > len(found):
            wider = np.empty(2 * bounds[i + 1], np.uint64)
            wider[: bounds[i]] = found[: bounds[i]]
            found = wider
        found[bounds[i] : bounds[i + 1]] = words[:count]
    return found[: bounds[-1]], bounds


def shingle_sets(
    column: Column, rows: npt.NDArray[np.int64]
) -> tuple[Shingles, npt.NDArray[np.int64]]:
    """Return the sets of some texts of a column, one behind the other, and their bounds.

    Args:
        column: texts.
        rows: `(m,)` which of them.

    Returns:
        All hashes, and `(m + 1,)` bounds: set `i` is `hashes[bounds[i] : bounds[i + 1]]`, sorted.
    """
    table = letters()
    return _sets(column.data, column.offsets, rows, table.entries, table.pool)


def column_of(texts: Sequence[str]) -> Column:
    """Return texts as a column; a lone surrogate becomes a question mark."""
    import pyarrow as pa

    encoded: Any = [text.encode("utf-8", "replace") for text in texts]
    return Column.of(pa.array(encoded, pa.large_binary()))


def shingles(text: str) -> Shingles:
    """Return the sorted distinct hashes of a text's word 5-grams, `(n,)`.

    A text of fewer than five words is one shingle; a text without words has none.
    """
    return shingle_sets(column_of([text]), np.zeros(1, np.int64))[0]


def jaccard(a: Shingles, b: Shingles) -> float:
    """Return the share of shingles that two sets have in common, in [0, 1]; 0 when both are empty.

    >>> jaccard(shingles("a b c d e"), shingles("A, b, c, d, e."))
    1.0
    """
    both = shared(a, b, 0)
    union = len(a) + len(b) - both
    return both / union if union else 0.0
