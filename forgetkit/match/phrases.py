"""Many phrases at once, folded, in one pass: an automaton over symbols (Aho & Corasick 1975).

The text is folded to letters and digits as it is read (`classify.symbols`), so case, width, marks,
look-alikes, zero-width characters, spacing and punctuation change nothing; the places that come out
count code points of the original text. Time is linear in the text, whatever the phrases.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetkit.classify.scan import code_point
from forgetkit.classify.symbols import DROPPED, MARK, SYMBOL, table
from forgetkit.compiled import compiled, inlined
from forgetkit.errors import InputError

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

CELLS = 1 << 27  # of the transition table: half a gibibyte
_DROPPED, _MARK, _SYMBOL = np.uint64(DROPPED), np.uint64(MARK), np.uint64(SYMBOL)
_NOTHING, _21 = np.uint64(0), np.uint64(21)
_TABLED = 0x20000
_NO_SPACES = ((0x0E00, 0x0EFF), (0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7A3))


@dataclass(frozen=True)
class PhraseHit:
    """One place of a phrase: row of the column, number of the phrase, `[start, end)`."""

    row: int
    phrase: int
    start: int
    end: int


class Phrases:
    """An automaton of phrases.

    Args:
        phrases: texts; one that folds to nothing is refused.
        is_inside: by phrase, whether it counts inside a longer word.

    Raises:
        InputError: a phrase has no letter or digit, or there are too many.
    """

    def __init__(self, phrases: Sequence[str], is_inside: Sequence[bool]) -> None:
        symbols = [_symbols(phrase) for phrase in phrases]
        for phrase, found in zip(phrases, symbols, strict=True):
            if not found:
                raise InputError("a phrase has no letter or digit", found=repr(phrase[:40]))
        letters = sorted({symbol for found in symbols for symbol in found})
        if letters and letters[-1] >= _TABLED:
            raise InputError("cannot look for this letter", found=f"U+{letters[-1]:04X}")
        self._letters = np.zeros(_TABLED, np.int32)
        self._letters[letters] = np.arange(1, len(letters) + 1)
        self._build(symbols, len(letters) + 1)
        self._length = np.array([len(found) for found in symbols], np.int64)
        self._closed = np.array(
            [
                (not inside and not _free(found[0]), not inside and not _free(found[-1]))
                for found, inside in zip(symbols, is_inside, strict=True)
            ],
            np.bool_,
        ).reshape(-1, 2)

    def _build(self, symbols: Sequence[Sequence[int]], width: int) -> None:
        """Fill transitions, and by state its phrases and the next shorter state that has some."""
        children: list[dict[int, int]] = [{}]
        ends: list[list[int]] = [[]]
        for number, found in enumerate(symbols):
            state = 0
            for symbol in found:
                letter = int(self._letters[symbol])
                if letter not in children[state]:
                    children[state][letter] = len(children)
                    children.append({})
                    ends.append([])
                state = children[state][letter]
            ends[state].append(number)
        if len(children) * width > CELLS:
            raise InputError(
                "too many phrases for one pass",
                found=f"{len(symbols)} phrases",
                mend="Split the patterns file and run twice.",
            )
        self._following = np.zeros((len(children), width), np.int32)
        self._shorter = np.full(len(children), -1, np.int32)
        self._first = np.zeros(len(children) + 1, np.int64)
        self._first[1:] = np.cumsum([len(found) for found in ends])
        self._ends = np.array([number for found in ends for number in found] or [0], np.int64)
        self._link(children, ends)

    def _link(self, children: list[dict[int, int]], ends: list[list[int]]) -> None:
        fallen = np.zeros(len(children), np.int32)
        waiting = deque([0])
        while waiting:
            state = waiting.popleft()
            fall = int(fallen[state])
            if state:
                self._following[state] = self._following[fall]
                self._shorter[state] = fall if ends[fall] else self._shorter[fall]
            for letter, child in children[state].items():
                fallen[child] = self._following[fall, letter] if state else 0
                self._following[state, letter] = child
                waiting.append(child)
        self._following[:, 0] = 0

    def find(self, data: Bytes, first: Places, last: Places) -> list[PhraseHit]:
        """Return every place of every phrase, by row and end.

        Args:
            data: UTF-8.
            first: first byte of each row, (n,).
            last: one past the last byte, (n,).
        """
        room = 1024
        while True:
            found = np.empty((room, 4), np.int64)
            count = _scan(
                data,
                first,
                last,
                table(),
                self._letters,
                self._following,
                self._shorter,
                self._first,
                self._ends,
                self._length,
                self._closed,
                int(self._length.max()),
                found,
            )
            if count <= room:
                return [PhraseHit(*row) for row in found[:count].tolist()]
            room = count


def _symbols(text: str) -> list[int]:
    entries = table()
    found = []
    for character in text:
        entry = int(entries[ord(character)]) if ord(character) < _TABLED else ord(character)
        while 0 < entry < MARK:
            found.append(entry & SYMBOL)
            entry >>= 21
    return found


def folded_words(text: str) -> list[str]:
    """Return the folded words of a text, single letters that follow each other joined.

    >>> folded_words("J. K.  Rowling's")
    ['jk', 'rowlings']
    """
    entries = table()
    parts = [""]
    for character in text:
        entry = int(entries[ord(character)]) if ord(character) < _TABLED else ord(character)
        if entry == 0 or MARK <= entry < DROPPED:
            parts.append("")
        while 0 < entry < MARK:
            parts[-1] += chr(entry & SYMBOL)
            entry >>= 21
    words: list[str] = []
    is_letters = False
    for part in filter(None, parts):
        if len(part) == 1 and is_letters:
            words[-1] += part
        else:
            words.append(part)
        is_letters = len(part) == 1
    return words


def _free(symbol: int) -> bool:
    """Say whether a symbol's script has no spaces, so that a word may begin or end anywhere."""
    return any(first <= symbol <= last for first, last in _NO_SPACES)


@compiled
def _is_open(data: Bytes, at: int, end: int, fold: npt.NDArray[np.uint64]) -> bool:
    """Say whether a letter or digit follows, invisible characters left aside."""
    while at < end:
        point, at = code_point(data, at, end)
        entry = fold[point] if point < _TABLED else np.uint64(point)
        if entry != _DROPPED:
            return bool(entry != _NOTHING and entry < _MARK)
    return False


@inlined
def _put(found: Places, count: int, row: int, phrase: int, start: int, end: int) -> None:
    if count < len(found):
        found[count, 0], found[count, 1], found[count, 2], found[count, 3] = row, phrase, start, end


@compiled
def _scan(
    data: Bytes,
    firsts: Places,
    lasts: Places,
    fold: npt.NDArray[np.uint64],
    letters: npt.NDArray[np.int32],
    following: npt.NDArray[np.int32],
    shorter: npt.NDArray[np.int32],
    first: Places,
    ends: Places,
    length: Places,
    closed: npt.NDArray[np.bool_],
    longest: int,
    found: Places,
) -> int:
    """Fill (row, phrase, start, end) as far as there is room; return how many there are."""
    count, ring = 0, longest + 1
    starts, begins = np.zeros(ring, np.int64), np.zeros(ring, np.bool_)
    for row in range(len(firsts)):
        at, place, symbol_number, state = firsts[row], 0, 0, 0
        is_new = True
        while at < lasts[row]:
            point, at = code_point(data, at, lasts[row])
            entry = fold[point] if point < _TABLED else np.uint64(point)
            if entry == _NOTHING or (entry >= _MARK and entry != _DROPPED):
                is_new = True
            while entry != _NOTHING and entry < _MARK:
                symbol = np.int64(entry & _SYMBOL)
                entry >>= _21
                letter = letters[symbol] if symbol < _TABLED else 0
                state = following[state, letter]
                slot = symbol_number % ring
                starts[slot], begins[slot] = place, is_new
                is_new = False
                symbol_number += 1
                if first[state + 1] == first[state] and shorter[state] <= 0:
                    continue
                is_end = entry == _NOTHING and not _is_open(data, at, lasts[row], fold)
                now = np.int64(state)
                while now > 0:
                    for number in range(first[now], first[now + 1]):
                        phrase = ends[number]
                        slot = (symbol_number - length[phrase]) % ring
                        if (begins[slot] or not closed[phrase, 0]) and (
                            is_end or not closed[phrase, 1]
                        ):
                            _put(found, count, row, phrase, starts[slot], place + 1)
                            count += 1
                    now = np.int64(shorter[now])
            place += 1
    return count
