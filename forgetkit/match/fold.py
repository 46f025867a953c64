"""Fold text to the symbols that matching compares: letters and digits, nothing else.

Compatibility forms, marks, case, ligatures, width and look-alike letters are folded; spacing,
punctuation, hyphens, zero-width and bidi controls are dropped. Each symbol keeps the code point
of the original text that it came from, so re-flow, other quotes and split words change nothing.
"""

from __future__ import annotations

import threading
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LOOK_ALIKES = str.maketrans(
    # Cyrillic, then Greek, after case folding; then letters that NFKD leaves whole
    "авекмнорстухѕіјһԁԛԝѵӏ" + "αβεζηικμνορτυχϲ" + "ıøđłħŧ",
    "abekmhopctyxsijhdqwvl" + "abeznikmvoptuxc" + "iodlht",
)
_EXPANDED = {"æ": "ae", "œ": "oe", "þ": "th", "ð": "d", "ŋ": "n", "ĳ": "ij"}
_UNKNOWN = -1


def fold_character(character: str) -> str:
    """Return the symbols of one character; empty when it is dropped.

    >>> fold_character("ﬁ"), fold_character("É"), fold_character("—")
    ('fi', 'e', '')
    """
    folded = unicodedata.normalize("NFKD", character).casefold()
    folded = unicodedata.normalize("NFKD", folded).translate(_LOOK_ALIKES)
    folded = "".join(_EXPANDED.get(symbol, symbol) for symbol in folded)
    return "".join(symbol for symbol in folded if unicodedata.category(symbol)[0] in "LN")


class _Table:
    """Map code points to symbols, filled as characters are met."""

    def __init__(self) -> None:
        self._length = np.full(0x110000, _UNKNOWN, np.int8)
        self._start = np.zeros(0x110000, np.int32)
        self._pool = np.zeros(0, np.uint32)
        self._lock = threading.Lock()

    def fold(
        self, points: npt.NDArray[np.uint32]
    ) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
        """Return the symbols and, for each, the index of its code point."""
        if (self._length[points] == _UNKNOWN).any():
            self._learn(points)
        length = self._length[points].astype(np.int64)
        where = np.repeat(np.arange(len(points), dtype=np.int64), length)
        first = np.cumsum(length) - length
        within = np.arange(len(where), dtype=np.int64) - first[where]
        return self._pool[self._start[points[where]] + within], where

    def _learn(self, points: npt.NDArray[np.uint32]) -> None:
        with self._lock:
            fresh = np.unique(points[self._length[points] == _UNKNOWN]).tolist()
            pool = self._pool.tolist()
            lengths = []
            for point in fresh:
                symbols = fold_character(chr(point))
                self._start[point] = len(pool)
                lengths.append(len(symbols))
                pool.extend(map(ord, symbols))
            self._pool = np.array(pool, np.uint32)
            self._length[fresh] = lengths


_TABLE = _Table()


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


def code_points(text: str) -> npt.NDArray[np.uint32]:
    """Return the code points of a text, `(n,)`."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def fold(text: str) -> Folded:
    """Fold a text.

    >>> folded = fold("“Well-known”")
    >>> "".join(map(chr, folded.symbols)), folded.offsets[0].item()
    ('wellknown', 1)
    """
    symbols, offsets = _TABLE.fold(code_points(text))
    return Folded(symbols, offsets)


def folded_text(text: str) -> str:
    """Return the symbols of a text as a string.

    >>> folded_text("It is—so.")
    'itisso'
    """
    return fold(text).symbols.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
