"""WordPiece over a UTF-8 buffer, compiled: the tokens of BERT's uncased vocabulary, in order.

The steps are those of the tokenizers library (Devlin et al. 2019): controls removed, accents
stripped, lower case, ideographs and punctuation alone, then greedily the longest piece of each
word; a word with a piece that is not in the vocabulary, or over 100 symbols, is unknown.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from forgetkit.classify.scan import code_point
from forgetkit.compiled import compiled, inlined

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int32]

LONGEST = 100  # symbols of a word; a longer one is unknown
_TABLED = 0x20000
_WORD, _SPACE, _ALONE = 0, 1, 2
_MASK, _21, _29 = np.uint64(0x1FFFFF), np.uint64(21), np.uint64(29)
_PRIME, _GOLDEN = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)
_START, _GOES_ON = np.uint64(0xCBF29CE484222325), np.uint64(0x84222325CBF29CE4)
_NOTHING, _BLANK = np.uint64(0), 32
_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF))
_CONTROL = ("Cc", "Cf", "Cn", "Co", "Cs")
_SYMBOLS = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@lru_cache(maxsize=1)
def tables() -> tuple[Hashes, Bytes]:
    """Return what each code point becomes (up to three symbols, 21 bits each), and its class."""
    becomes = np.arange(_TABLED, dtype=np.uint64)
    kinds = np.zeros(_TABLED, np.uint8)
    plain = range(0x3400, 0xA000)
    for point in (*range(plain.start), *range(plain.stop, _TABLED)):
        character = chr(point)
        becomes[point] = _entry(character)
        kinds[point] = _kind(character)
    for first, last in _IDEOGRAPHS:
        kinds[first : last + 1] = _ALONE
    return becomes, kinds


def _entry(character: str) -> int:
    if character in "\t\n\r":
        return _BLANK
    if character in "\0\ufffd" or unicodedata.category(character) in _CONTROL:
        return 0
    if character.isspace():
        return _BLANK
    bare = [c for c in unicodedata.normalize("NFD", character) if unicodedata.category(c) != "Mn"]
    packed = 0
    for place, symbol in enumerate("".join(bare).lower()[:3]):
        packed |= ord(symbol) << (21 * place)
    return packed


def _kind(character: str) -> int:
    if character.isspace():
        return _SPACE
    is_mark = character in _SYMBOLS or unicodedata.category(character)[0] == "P"
    return _ALONE if is_mark else _WORD


class Vocabulary:
    """An open-addressing table of pieces.

    Args:
        pieces: in order of their numbers; one that goes on inside a word begins with ``##``.
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        size = 1 << (4 * len(pieces)).bit_length()
        self.keys, self.numbers = np.zeros(size, np.uint64), np.full(size, -1, np.int32)
        for number, piece in enumerate(pieces):
            goes_on = piece.startswith("##") and len(piece) > 2
            key = int(_GOES_ON if goes_on else _START)
            for symbol in piece[2:] if goes_on else piece:
                key = ((key ^ ord(symbol)) * int(_PRIME)) % 2**64
            key = (key ^ (key >> 29)) or 1
            slot = (key * int(_GOLDEN) % 2**64) >> 40 & (size - 1)
            while self.keys[slot] not in (0, key):
                slot = (slot + 1) & (size - 1)
            self.keys[slot], self.numbers[slot] = key, number

    def tokens(self, data: Bytes, first: Places, last: Places) -> tuple[Numbers, Places]:
        """Return the pieces of texts, unknown words left out, and n + 1 row offsets."""
        room = int(2 * (last - first).sum() + len(first) + 1)
        found, rows = np.empty(room, np.int32), np.zeros(len(first) + 1, np.int64)
        count = _tokens(data, first, last, *tables(), self.keys, self.numbers, found, rows)
        return found[:count], rows


@inlined
def _number(key: np.uint64, keys: Hashes, numbers: Numbers) -> int:
    """Return the number of a piece by its hash, or -1."""
    mixed = key ^ (key >> _29)
    slot = np.int64((mixed * _GOLDEN) >> np.uint64(40)) & (len(keys) - 1)
    while keys[slot] != 0:
        if keys[slot] == mixed:
            return int(numbers[slot])
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@compiled
def _word(
    symbols: Hashes,
    length: int,
    begun: Hashes,
    keys: Hashes,
    numbers: Numbers,
    found: Numbers,
    count: int,
) -> int:
    """Write the pieces of one word; return how many tokens there are now."""
    if length > LONGEST:
        return count
    begin, kept = 0, count
    while begin < length:
        key = _START if begin == 0 else _GOES_ON
        best, end = -1, begin
        for at in range(begin, length):
            key = (key ^ symbols[at]) * _PRIME
            begun[at] = key
        for at in range(length - 1, begin - 1, -1):  # most words are a piece as a whole
            best = _number(begun[at], keys, numbers)
            if best >= 0:
                end = at + 1
                break
        if best < 0:
            return count
        found[kept] = best
        kept += 1
        begin = end
    return kept


@compiled
def _tokens(
    data: Bytes,
    firsts: Places,
    lasts: Places,
    becomes: Hashes,
    kinds: Bytes,
    keys: Hashes,
    numbers: Numbers,
    found: Numbers,
    rows: Places,
) -> int:
    """Fill the tokens of every row; return how many there are."""
    count, symbols = 0, np.empty(LONGEST + 1, np.uint64)
    begun = np.empty(LONGEST + 1, np.uint64)
    for row in range(len(firsts)):
        at, length = firsts[row], 0
        while at < lasts[row]:
            point, at = code_point(data, at, lasts[row])
            entry = becomes[point] if point < _TABLED else np.uint64(point)
            while entry != _NOTHING:
                symbol = entry & _MASK
                entry >>= _21
                kind = kinds[symbol] if symbol < _TABLED else _ALONE
                if kind == _WORD:
                    symbols[min(length, LONGEST)] = symbol
                    length += 1
                    continue
                count = _word(symbols, length, begun, keys, numbers, found, count)
                length = 0
                if kind == _ALONE:
                    symbols[0] = symbol
                    count = _word(symbols, 1, begun, keys, numbers, found, count)
        count = _word(symbols, length, begun, keys, numbers, found, count)
        rows[row + 1] = count
    return count
