"""What each code point is to a word: a letter, nothing, or an end; one table for compiled kernels.

Compatibility forms, case, accents and look-alike letters are folded as in `fold`. Zero-width
characters and accents vanish inside a word; anything else that is no letter or digit ends it. A
letter of a script without spaces (Chinese, Japanese, Thai, Khmer …) is a word of its own, so that
word n-grams become character n-grams there.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetkit.match.fold import fold_character

END, NOTHING = 0, 1
ALONE = 1 << 29
"""Flag of a symbol that is a word of its own."""
SEVERAL = 1 << 30
"""Flag of a code point with several symbols; the rest of its entry is a place in the pool."""
SYMBOL = (1 << 21) - 1

_WITHOUT_SPACES = (
    (0x0E00, 0x0FFF),  # Thai, Lao, Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x9FFF),  # ideographs
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_IDEOGRAPHS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0x20000, 0x2A6DF), (0x2A700, 0x2EBE0))
_SYLLABLES, _SYLLABLE_COUNT = 0xAC00, 11172
_NEVER_LETTERS = frozenset({"Cn", "Co", "Cs"})


@dataclass(frozen=True)
class Letters:
    """Entries of all code points.

    Attributes:
        entries: `(0x110000,)` END, NOTHING, a symbol (perhaps ALONE), or SEVERAL and a place.
        pool: at such a place the number of symbols, then the symbols.
    """

    entries: npt.NDArray[np.uint32]
    pool: npt.NDArray[np.uint32]


def symbols_of(character: str) -> list[int]:
    """Return the symbols of one character.

    Unlike `fold_character` this keeps vowel signs (marks that do not combine over or under a
    letter), for without them two words of Hindi or Thai may become one.

    >>> [chr(symbol) for symbol in symbols_of("É")], symbols_of("—")
    (['e'], [])
    """
    decomposed = unicodedata.normalize("NFKD", character).casefold()
    found = ""
    for part in unicodedata.normalize("NFKD", decomposed):
        found += fold_character(part) or (part if _is_vowel_sign(part) else "")
    return [ord(symbol) for symbol in found]


def _is_vowel_sign(character: str) -> bool:
    category = unicodedata.category(character)
    return (
        category in ("Mn", "Mc")
        and unicodedata.combining(character) == 0
        and not (
            0xFE00 <= ord(character) <= 0xFE0F or ord(character) >= 0xE0000  # variation selectors
        )
    )


@functools.cache
def letters() -> Letters:
    """Return the table, made on first use in a third of a second."""
    entries = np.zeros(0x110000, np.uint32)
    pool: list[int] = []
    for first, last in _IDEOGRAPHS:
        points = np.arange(first, last + 1, dtype=np.uint32)
        entries[first : last + 1] = points | ALONE
    for point in range(0x110000):
        if entries[point] or _SYLLABLES <= point < _SYLLABLES + _SYLLABLE_COUNT:
            continue
        category = unicodedata.category(chr(point))
        if category not in _NEVER_LETTERS:
            entries[point] = _entry(chr(point), category, pool)
    _add_syllables(entries, pool)
    return Letters(entries, np.array(pool or [0], np.uint32))


def _entry(character: str, category: str, pool: list[int]) -> int:
    symbols = [symbol | (ALONE if _stands_alone(symbol) else 0) for symbol in symbols_of(character)]
    if not symbols:
        return NOTHING if category in ("Mn", "Me", "Mc", "Cf") else END
    if len(symbols) == 1:
        return symbols[0]
    pool += [len(symbols), *symbols]
    return SEVERAL | (len(pool) - len(symbols) - 1)


def _stands_alone(symbol: int) -> bool:
    return any(first <= symbol <= last for first, last in _WITHOUT_SPACES)


def _add_syllables(entries: npt.NDArray[np.uint32], pool: list[int]) -> None:
    """Decompose Hangul syllables by arithmetic (Unicode, section 3.12)."""
    for number in range(_SYLLABLE_COUNT):
        lead, rest = divmod(number, 588)
        vowel, tail = divmod(rest, 28)
        parts = [0x1100 + lead, 0x1161 + vowel] + ([0x11A7 + tail] if tail else [])
        entries[_SYLLABLES + number] = SEVERAL | len(pool)
        pool += [len(parts), *parts]
