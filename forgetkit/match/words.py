"""Text to words, in one compiled loop over UTF-8: their letters in a row, and a hash of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.kernels import NOT_ASCII
from forgetkit.match.letters import ALONE, END, NOTHING, SEVERAL, SYMBOL
from forgetkit.match.loads import load_word

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Entries = npt.NDArray[np.uint32]

MOST_BYTES = 15
"""Bytes of letters that one byte of text becomes at most: U+FDFA has 18 letters in 3 bytes."""
MOST_WORDS = 2
"""Words that one byte of text becomes at most: U+3316 is six kana in 3 bytes."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_START = np.uint64(0x243F6A8885A308D3)


@dataclass(frozen=True)
class Column:
    """The buffers of a column of UTF-8 texts.

    Attributes:
        data: `(bytes,)` all texts in a row.
        offsets: `(n + 1,)` where each begins; the last one's end.
    """

    data: Bytes
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def of(cls, array: Any) -> Column:
        """View the buffers of an Arrow `large_string` array without a copy; null is no text."""
        if array.null_count:
            array = array.fill_null("")
        _, offsets, data = array.buffers()
        bounds = np.frombuffer(offsets, np.int64, len(array) + 1 + array.offset)[array.offset :]
        if data is None or data.size == 0:
            return cls(np.zeros(0, np.uint8), np.zeros(len(array) + 1, np.int64))
        return cls(np.frombuffer(data, np.uint8), bounds)


@compiled
def mixed(value: np.uint64) -> np.uint64:
    """Return a well-spread number of 64 bits (the finaliser of MurmurHash3)."""
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xFF51AFD7ED558CCD)
    value ^= value >> np.uint64(33)
    value *= np.uint64(0xC4CEB9FE1A85EC53)
    return value ^ (value >> np.uint64(33))


@compiled
def code_point(data: Bytes, at: int) -> tuple[np.int64, int]:
    """Decode one code point of valid UTF-8; return it and the number of its bytes."""
    lead = np.int64(data[at])
    if lead < 0x80:
        return lead, 1
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | np.int64(data[at + 1] & 0x3F), 2
    second = np.int64(data[at + 1] & 0x3F)
    third = np.int64(data[at + 2] & 0x3F)
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | second << 6 | third, 3
    fourth = np.int64(data[at + 3] & 0x3F)
    return (lead & 0x07) << 18 | second << 12 | third << 6 | fourth, 4


@compiled
def _put(symbol: np.uint32, folded: Bytes, end: int) -> int:
    """Append a symbol to the letters: one byte when ASCII, else three, never ambiguous."""
    if symbol < 0x80:
        folded[end] = symbol
        return end + 1
    folded[end] = 0x80 | (symbol >> 14)
    folded[end + 1] = (symbol >> 7) & 0x7F
    folded[end + 2] = symbol & 0x7F
    return end + 3


@compiled
def fold_letters(
    data: Bytes, begin: int, end: int, entries: Entries, pool: Entries, folded: Bytes
) -> tuple[int, int]:
    """Write the letters of a text to `folded`; return how many bytes, and how many letters.

    The same letters as those of `read_words`, which takes the same arguments, without the words.
    """
    length = several = np.uint64(0)  # unsigned: numba minds no negative index then
    at = begin
    while at < end:
        if at + 8 <= end:
            eight = load_word(data, at)
            if eight & NOT_ASCII == 0:
                for _ in range(8):
                    entry = entries[eight & np.uint64(127)]
                    folded[length] = entry
                    length += np.uint64(entry > NOTHING)
                    eight >>= np.uint64(8)
                at += 8
                continue
        point, size = code_point(data, at)
        at += size
        longer, count = _put_all(entries[point], pool, folded, int(np.int64(length)))
        several += np.uint64(longer) - length - np.uint64(count)
        length = np.uint64(longer)
    return int(np.int64(length)), int(np.int64(length - several))


@compiled
def _put_all(entry: np.uint32, pool: Entries, folded: Bytes, length: int) -> tuple[int, int]:
    """Append the symbols of an entry; return the new length, and how many they are."""
    if entry <= NOTHING:
        return length, 0
    if not entry & SEVERAL:
        return _put(entry & SYMBOL, folded, length), 1
    place = np.int64(entry & (SEVERAL - 1))
    for i in range(place + 1, place + 1 + pool[place]):
        length = _put(pool[i] & SYMBOL, folded, length)
    return length, int(pool[place])


@compiled
def _end_word(current: np.uint64, words: Words, count: int) -> int:
    if current == _START:
        return count
    words[count] = current
    return count + 1


@compiled
def _take(
    entry: np.uint32, folded: Bytes, length: int, words: Words, count: int, current: np.uint64
) -> tuple[int, int, np.uint64]:
    """Go on by one symbol, or by an entry that is none."""
    if entry == NOTHING:
        return length, count, current
    if entry == END:
        return length, _end_word(current, words, count), _START
    symbol = entry & SYMBOL
    length = _put(symbol, folded, length)
    if entry & ALONE:
        count = _end_word(current, words, count)
        return length, _end_word((_START ^ np.uint64(symbol)) * _PRIME, words, count), _START
    return length, count, (current ^ np.uint64(symbol)) * _PRIME


@compiled
def read_words(
    data: Bytes,
    begin: int,
    end: int,
    entries: Entries,
    pool: Entries,
    folded: Bytes,
    words: Words,
) -> tuple[int, int]:
    """Read one text.

    Args:
        data: valid UTF-8.
        begin: first byte.
        end: one past the last.
        entries: of `letters()`.
        pool: of `letters()`.
        folded: takes the letters; `MOST_BYTES` places for each byte of the text.
        words: takes a hash of each word; `MOST_WORDS` places for each byte of the text.

    Returns:
        How many bytes of `folded` and how many words were written.
    """
    length = count = np.uint64(0)  # unsigned: numba minds no negative index then
    current = _START
    at = begin
    while at < end:
        if at + 8 <= end:
            eight = load_word(data, at)
            if eight & NOT_ASCII == 0:
                for _ in range(8):  # no branch, as nobody can guess where a word ends
                    entry = np.uint64(entries[eight & np.uint64(127)])
                    is_letter = entry > np.uint64(NOTHING)
                    folded[length] = entry
                    length += np.uint64(is_letter)
                    words[count] = current
                    count += np.uint64((not is_letter) & (current != _START))
                    current = (current ^ entry) * _PRIME if is_letter else _START
                    eight >>= np.uint64(8)
                at += 8
                continue
        point, size = code_point(data, at)
        at += size
        wide, number = int(np.int64(length)), int(np.int64(count))
        entry = entries[point]
        if not entry & SEVERAL:
            wide, number, current = _take(entry, folded, wide, words, number, current)
        else:
            place = np.int64(entry & (SEVERAL - 1))
            for i in range(place + 1, place + 1 + pool[place]):
                wide, number, current = _take(pool[i], folded, wide, words, number, current)
        length, count = np.uint64(wide), np.uint64(number)
    last = _end_word(current, words, int(np.int64(count)))
    for i in range(last):
        words[i] = mixed(words[i])
    return int(np.int64(length)), last
