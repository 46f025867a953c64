"""Fold text to the symbols that matching compares: letters and digits, nothing else.

Compatibility forms, marks, case, ligatures, width and look-alike letters are folded; spacing,
punctuation, hyphens, zero-width and bidi controls are dropped. So re-flow, other quotes and split
words change nothing. `fold` is the reference, in code points; `fold_table` holds the same rules
for the compiled kernels, which read UTF-8 and write the folded text as UTF-8.
"""

from __future__ import annotations

import functools
import hashlib
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LOOK_ALIKES = str.maketrans(
    # Cyrillic, then Greek, after case folding; then letters that NFKD leaves whole
    "авекмнорстухѕіјһԁԛԝѵӏ" + "αβεζηικμνορτυχϲ" + "ıøđłħŧ" + "ɑɡɩꞵᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ",
    "abekmhopctyxsijhdqwvl" + "abeznikmvoptuxc" + "iodlht" + "agibabcdefghijklmnoprstuvwyz",
)
_EXPANDED = {"æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ŋ": "n", "ĳ": "ij"}
_LETTERS_IN_SHAPES = (0x1F150, 0x1F170, 0x1F1E6)  # black circles, black squares, flags: A to Z
_LAST = 0x40000  # planes 0 to 3; above them there is no letter
_LENGTH_BITS = 6


def fold_character(character: str) -> str:
    """Return the symbols of one character; empty when it is dropped.

    >>> fold_character("ﬁ"), fold_character("É"), fold_character("—")
    ('fi', 'e', '')
    """
    folded = _folded(character)
    return "".join(symbol for symbol in folded if unicodedata.category(symbol)[0] in "LN")


def _folded(text: str) -> str:
    """Apply every rule but the last, which drops what is no letter and no digit."""
    text = unicodedata.normalize("NFKD", text.translate(_in_shapes())).casefold()
    text = unicodedata.normalize("NFKD", text).translate(_LOOK_ALIKES)
    return text.translate(_expanded())


@functools.cache
def _expanded() -> dict[int, str]:
    return str.maketrans(_EXPANDED)


@functools.cache
def _in_shapes() -> dict[int, int]:
    return {first + n: ord("a") + n for first in _LETTERS_IN_SHAPES for n in range(26)}


@dataclass(frozen=True)
class FoldTable:
    """The folding rules as arrays.

    Attributes:
        ascii: `(128,)` symbol of each ASCII byte, 0 where it is dropped.
        entries: `(262144,)` for each code point, where its symbols begin in `pool`, and how many
            bytes they are (the low 6 bits).
        pool: UTF-8 of the symbols.
        digest: SHA-256 of the rules: two programs with the same digest fold alike.
    """

    ascii: npt.NDArray[np.uint8]
    entries: npt.NDArray[np.uint32]
    pool: npt.NDArray[np.uint8]
    digest: str


@functools.cache
def fold_table() -> FoldTable:
    """Return the table: all code points folded as one text, a line each."""
    points = [
        point
        for point in range(_LAST)
        if unicodedata.category(chr(point))[0] != "C" and not chr(point).isspace()
    ]
    lines = _folded("\n".join(map(chr, points)))
    dropped = {
        ord(symbol): None
        for symbol in set(lines)
        if symbol != "\n" and unicodedata.category(symbol)[0] not in "LN"
    }
    pool = np.frombuffer(lines.translate(dropped).encode("utf-8") + b"\n", np.uint8)
    ends = np.flatnonzero(pool == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1))
    entries = np.zeros(_LAST, np.uint32)
    entries[points] = (starts << _LENGTH_BITS) | (ends - starts)
    symbols = np.zeros(128, np.uint8)
    for point in range(128):
        symbols[point] = ord(fold_character(chr(point)) or "\0")
    digest = hashlib.sha256(entries.tobytes() + pool.tobytes()).hexdigest()
    return FoldTable(symbols, entries, pool, digest)


@dataclass(frozen=True)
class Folded:
    """A text as symbols.

    Attributes:
        symbols: `(n,)` folded code points.
        offsets: `(n,)` index in the original text, in code points, that each symbol came from.
    """

    symbols: npt.NDArray[np.uint32]
    offsets: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.symbols)


@functools.lru_cache(maxsize=65536)
def _points(character: str) -> tuple[int, ...]:
    return tuple(map(ord, fold_character(character)))


def fold(text: str) -> Folded:
    """Fold a text.

    >>> folded = fold("“Well-known”")
    >>> "".join(map(chr, folded.symbols)), folded.offsets[0].item()
    ('wellknown', 1)
    """
    symbols: list[int] = []
    offsets: list[int] = []
    for offset, character in enumerate(text):
        found = _points(character)
        symbols += found
        offsets += [offset] * len(found)
    return Folded(np.array(symbols, np.uint32), np.array(offsets, np.int64))


def folded_text(text: str) -> str:
    """Return the symbols of a text as a string.

    >>> folded_text("It is—so.")
    'itisso'
    """
    if text.isascii():
        return text.translate(_ascii()).lower()
    return "".join(map(chr, fold(text).symbols.tolist()))


@functools.cache
def _ascii() -> dict[int, None]:
    return {point: None for point in range(128) if not chr(point).isalnum()}
