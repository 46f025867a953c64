"""Fold code points to the symbols that the linear student reads: a table, built once a process.

Letters and digits are folded (compatibility forms, marks, case, width, look-alikes), zero-width
and bidi controls vanish, an apostrophe inside a word vanishes, and everything else separates words.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from forgetkit.match.fold import fold_character

LIMIT = 0x20000  # code points of the table; letters beyond it (rare ideographs) stay as they are
SYMBOL = 0x1FFFFF  # 21 bits a symbol, three symbols an entry
DROPPED = 1 << 63
MARK = 1 << 62
_MARKS = frozenset("?!")  # they tell a question or a shout; other marks only separate
_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff\u180e\u034f")
_APOSTROPHES = frozenset("'\u2019\u02bc\uff07")
_BLOCKS = ((0x3400, 0xA4CF), (0xAC00, 0xD7A3), (0x12000, 0x167FF), (0x17000, 0x1B16F))


@lru_cache(maxsize=1)
def table() -> npt.NDArray[np.uint64]:
    """Return what each code point becomes, shape (0x20000,).

    Returns:
        0 separates words, `DROPPED` vanishes, `MARK` begins a word of its own, anything else is one
        to three symbols, the first in the low 21 bits.
    """
    found = np.zeros(LIMIT, np.uint64)
    for first, last in _BLOCKS:
        points = np.arange(first, last + 1)
        found[points] = points
    inside = np.zeros(LIMIT, bool)
    for first, last in _BLOCKS:
        inside[first : last + 1] = True
    for point in np.flatnonzero(~inside).tolist():
        found[point] = _entry(chr(point))
    return found


def _entry(character: str) -> int:
    if character in _INVISIBLE or character in _APOSTROPHES:
        return DROPPED
    folded = unicodedata.normalize("NFKC", character)
    if folded in _MARKS:
        return MARK | ord(folded)
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Cf"):
        return DROPPED
    if category[0] not in "LNS" and category != "Mc":
        return 0
    packed = 0
    for place, symbol in enumerate(fold_character(character)[:3]):
        packed |= ord(symbol) << (21 * place)
    return packed
