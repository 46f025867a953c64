"""Hashed n-grams and linear scores of many texts over one UTF-8 buffer, without the GIL.

A text is folded to words and marks (`symbols.table`). Each of them, each pair of neighbours and,
where asked, each run of some characters falls into one of `2**bits` buckets; a bucket met n times
weighs 1 + ln n, and a text is scaled to length 1. That is the model class of scikit-learn's
`HashingVectorizer` with a logistic regression, at some thirty times its speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify.symbols import table
from forgetkit.compiled import compiled, inlined

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Masks = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float32]

CAP = 255  # counts above it weigh the same
WEIGHT = np.concatenate([[0.0], 1.0 + np.log(np.arange(1, CAP + 1))]).astype(np.float32)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_PRIME = np.uint64(0x100000001B3)
_START = np.uint64(0xCBF29CE484222325)
_DROPPED, _MARK = np.uint64(1 << 63), np.uint64(1 << 62)
_SYMBOL = np.uint64(0x1FFFFF)
_NOTHING, _BLANK, _FOREIGN = np.uint64(0), np.uint64(32), np.uint64(128)
_8, _21, _29, _57 = np.uint64(8), np.uint64(21), np.uint64(29), np.uint64(57)
_TABLED = 0x20000


@inlined
def code_point(data: Bytes, at: int, end: int) -> tuple[Any, int]:
    """Return the code point at a byte and the next one's byte; a cut one reads as a blank."""
    first = np.uint32(data[at])
    if first < 0x80:
        return first, at + 1
    if first < 0xE0 and at + 1 < end:
        return (first & 0x1F) << 6 | np.uint32(data[at + 1] & 0x3F), at + 2
    if first < 0xF0 and at + 2 < end:
        middle = np.uint32(data[at + 1] & 0x3F) << 6
        return (first & 0x0F) << 12 | middle | np.uint32(data[at + 2] & 0x3F), at + 3
    if at + 3 < end:
        high = (first & 0x07) << 18 | np.uint32(data[at + 1] & 0x3F) << 12
        return high | np.uint32(data[at + 2] & 0x3F) << 6 | np.uint32(data[at + 3] & 0x3F), at + 4
    return np.uint32(32), end


@inlined
def _count(key: Any, shift: Any, counts: Bytes, met: Any, size: int) -> int:
    bucket = np.int64((key * _GOLDEN) >> shift)
    seen = counts[bucket]
    met[size] = bucket
    counts[bucket] = seen + (seen < CAP)
    return size + int(seen == 0)


@inlined
def _key(word: Any) -> Any:
    mixed = word * _GOLDEN
    return mixed ^ (mixed >> _29)


@inlined
def _word(key: Any, before: Any, shift: Any, counts: Bytes, met: Any, size: int) -> int:
    size = _count(key, shift, counts, met, size)
    if before != _NOTHING:
        size = _count((before * _PRIME) ^ key, shift, counts, met, size)
    return size


@inlined
def _runs(run: Any, masks: Masks, shift: Any, counts: Bytes, met: Any, size: int) -> int:
    for order in range(masks.shape[0]):
        key = (run & masks[order]) * _PRIME + np.uint64(order)
        size = _count(key, shift, counts, met, size)
    return size


@compiled
def _grams(
    data: Bytes,
    start: int,
    end: int,
    fold: Masks,
    shift: Any,
    masks: Masks,
    counts: Bytes,
    met: Any,
) -> int:
    """Count the buckets of one text; return how many were met, listed in `met`."""
    size, at = 0, start
    word, before, run, inside = _START, _NOTHING, _BLANK, False
    while at <= end:
        entry, following = _NOTHING, at + 1
        if at < end:
            point, following = code_point(data, at, end)
            entry = fold[point] if point < _TABLED else np.uint64(point)
        at = following
        if entry == _DROPPED:
            continue
        if entry == _NOTHING or entry >= _MARK:
            if inside:
                key = _key(word)
                size = _word(key, before, shift, counts, met, size)
                before, word, inside = key, _START, False
                run = (run << _8) | _BLANK
                size = _runs(run, masks, shift, counts, met, size)
            if entry >= _MARK:
                key = _key(entry)
                size = _word(key, before, shift, counts, met, size)
                before = key
            continue
        inside = True
        while entry != _NOTHING:
            symbol = entry & _SYMBOL
            word = (word ^ symbol) * _PRIME
            entry >>= _21
            if masks.shape[0] > 0:
                small = symbol if symbol < _FOREIGN else _FOREIGN | ((symbol * _GOLDEN) >> _57)
                run = (run << _8) | small
                size = _runs(run, masks, shift, counts, met, size)
    return size


@inlined
def _room(starts: Places, ends: Places, masks: Masks) -> int:
    longest = 0
    for row in range(len(starts)):
        longest = max(longest, ends[row] - starts[row])
    return (longest + 1) * (1 + 3 * len(masks)) + 16


@compiled
def _features(
    data: Bytes,
    starts: Places,
    ends: Places,
    fold: Masks,
    bits: int,
    masks: Masks,
    weigh: Floats,
    places: Any,
    values: Floats,
    rows: Places,
) -> int:
    """Fill a compressed sparse row matrix; return how many values it has."""
    counts, shift = np.zeros(1 << bits, np.uint8), np.uint64(64 - bits)
    met = np.empty(_room(starts, ends, masks), np.int32)
    filled = 0
    for row in range(len(starts)):
        size = _grams(data, starts[row], ends[row], fold, shift, masks, counts, met)
        square = np.float32(0)
        for place in range(size):
            square += weigh[counts[met[place]]] ** 2
        scale = np.float32(1) / np.sqrt(max(square, np.float32(1e-9)))
        for place in range(size):
            places[filled] = met[place]
            values[filled] = weigh[counts[met[place]]] * scale
            counts[met[place]] = 0
            filled += 1
        rows[row + 1] = filled
    return filled


@compiled
def _scores(
    data: Bytes,
    starts: Places,
    ends: Places,
    fold: Masks,
    bits: int,
    masks: Masks,
    weigh: Floats,
    weights: npt.NDArray[np.int8],
    logits: Floats,
) -> None:
    """Fill the linear scores of each piece, (n, C)."""
    counts, shift = np.zeros(1 << bits, np.uint8), np.uint64(64 - bits)
    met = np.empty(_room(starts, ends, masks), np.int32)
    columns = weights.shape[1]
    summed = np.zeros(columns, np.float32)
    for row in range(len(starts)):
        size = _grams(data, starts[row], ends[row], fold, shift, masks, counts, met)
        square = np.float32(0)
        summed[:] = 0
        for place in range(size):
            bucket = met[place]
            value = weigh[counts[bucket]]
            counts[bucket] = 0
            square += value * value
            for column in range(columns):
                summed[column] += weights[bucket, column] * value
        scale = np.float32(1) / np.sqrt(max(square, np.float32(1e-9)))
        for column in range(columns):
            logits[row, column] = summed[column] * scale


def run_masks(orders: Sequence[int]) -> Masks:
    """Return what `logits` and `features` take for runs of these many characters, 2 to 7."""
    return np.array([(1 << (8 * order)) - 1 for order in orders], np.uint64)


def buffer(texts: Sequence[str]) -> tuple[Bytes, Places]:
    """Return texts as one UTF-8 buffer and its n + 1 offsets; a lone surrogate becomes `?`."""
    parts = [text.encode("utf-8", "replace") for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.frombuffer(b"".join(parts) + b"\0", np.uint8), offsets


def logits(
    data: Bytes, starts: Places, ends: Places, weights: npt.NDArray[np.int8], masks: Masks
) -> Floats:
    """Return the linear scores of pieces of a buffer, before scale and bias, shape (n, C).

    Args:
        data: UTF-8.
        starts: first byte of each piece, (n,).
        ends: one past its last byte, (n,).
        weights: one byte a bucket and category, (2**bits, C).
        masks: of the runs of characters, see `run_masks`.
    """
    found = np.zeros((len(starts), weights.shape[1]), np.float32)
    bits = int(weights.shape[0]).bit_length() - 1
    _scores(data, starts, ends, table(), bits, masks, WEIGHT, weights, found)
    return found


def features(
    texts: Sequence[str], bits: int, orders: Sequence[int] = ()
) -> tuple[Floats, npt.NDArray[np.int32], Places]:
    """Return the hashed features of texts as a compressed sparse row matrix (n, 2**bits).

    Returns:
        Values (float32), buckets and row offsets, as `scipy.sparse.csr_matrix` takes them.
    """
    data, offsets = buffer(texts)
    masks = run_masks(orders)
    room = int((offsets[-1] + len(texts)) * (1 + 3 * len(masks)) + 16)
    places, values = np.empty(room, np.int32), np.empty(room, np.float32)
    rows = np.zeros(len(texts) + 1, np.int64)
    filled = _features(
        data, offsets[:-1], offsets[1:], table(), bits, masks, WEIGHT, places, values, rows
    )
    return values[:filled].copy(), places[:filled].copy(), rows
