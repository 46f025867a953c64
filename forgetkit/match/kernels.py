"""Compiled folding: UTF-8 bytes in, symbols out, with the place that each came from.

The symbols of the kernels are the bytes of the folded text's UTF-8: one a letter in most of
Europe, two or three elsewhere, so that a stretch of k says about as much in every script.
"""

from __future__ import annotations

import functools
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.fold import fold_table
from forgetkit.match.loads import load_word

T = TypeVar("T", bound=np.generic)
Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Int = int | np.int64


class Rules(NamedTuple):
    """The folding rules, as the kernels take them (see `fold.FoldTable`)."""

    ascii: Bytes
    entries: npt.NDArray[np.uint32]
    pool: Bytes


def frozen(array: npt.NDArray[T]) -> npt.NDArray[T]:
    """Return an array read-only: numba compiles once for arrays of memory, files and Arrow."""
    view = array.view()
    view.flags.writeable = False
    return view


@functools.cache
def rules() -> Rules:
    """Return the folding rules."""
    table = fold_table()
    return Rules(frozen(table.ascii), frozen(table.entries), frozen(table.pool))


GROWTH = 12
"""Most bytes of symbols that a byte of text can fold to (U+FDFA: 3 bytes become 30)."""


NOT_ASCII = np.uint64(0x8080808080808080)


@compiled
def fold_into(data: Bytes, begin: Int, end: Int, rules: Rules, out: Bytes) -> Int:
    """Write the symbols of `data[begin:end]` to `out`; return how many."""
    count = np.uint64(0)  # unsigned: numba minds no negative index then
    at = begin
    while at < end:
        if at + 8 <= end:
            eight = load_word(data, at)
            if eight & NOT_ASCII == 0:
                for _ in range(8):
                    symbol = rules.ascii[eight & np.uint64(127)]
                    out[count] = symbol
                    count += np.uint64(symbol != 0)
                    eight >>= np.uint64(8)
                at += 8
                continue
        width, point = decoded(data, at, end)
        at += width
        if point < len(rules.entries):
            entry = rules.entries[point]
            first = entry >> 6
            for step in range(entry & 63):
                out[count] = rules.pool[first + step]
                count += np.uint64(1)
    return np.int64(count)


@compiled
def fold_with_places(
    data: Bytes, begin: Int, end: Int, rules: Rules, out: Bytes, places: Places
) -> Int:
    """Do as `fold_into`, and write where the character of each symbol begins."""
    count = np.uint64(0)
    at = begin
    while at < end:
        byte = data[at]
        if byte < 128:
            symbol = rules.ascii[byte]
            out[count], places[count] = symbol, at
            count += np.uint64(symbol != 0)
            at += 1
            continue
        width, point = decoded(data, at, end)
        if point < len(rules.entries):
            entry = rules.entries[point]
            first = entry >> 6
            for step in range(entry & 63):
                out[count], places[count] = rules.pool[first + step], at
                count += np.uint64(1)
        at += width
    return np.int64(count)


@compiled
def decoded(data: Bytes, at: Int, end: Int) -> tuple[Int, Int]:
    """Return the bytes and the code point of the character at `at`; broken UTF-8 is dropped."""
    byte = np.int64(data[at])
    if byte < 0x80:
        return 1, byte
    width = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
    if byte < 0xC0 or at + width > end:
        return 1, 0x110000
    point = byte & (0x7F >> width)
    for step in range(1, width):
        point = (point << 6) | (np.int64(data[at + step]) & 0x3F)
    return width, point


@compiled
def points_between(data: Bytes, begin: Int, end: Int) -> Int:
    """Return how many code points begin in `data[begin:end]`."""
    count = 0
    for at in range(begin, end):
        count += (data[at] & 0xC0) != 0x80
    return count


def folded_bytes(text: str) -> bytes:
    """Return the symbols of a text, folded by the kernel.

    >>> folded_bytes("“Ｗell-known”")
    b'wellknown'
    """
    data = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    out = np.empty(GROWTH * len(data) + 1, np.uint8)
    return out[: fold_into(data, 0, len(data), rules(), out)].tobytes()
