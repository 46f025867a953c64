"""Hashed n-grams of words and characters, the same on every machine.

Words are hashed by CRC-32 of their UTF-8 bytes, sequences by a polynomial in 64 bits; no Python
`hash`, no vocabulary to ship.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]")
_QUOTES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"'})
_PRIME = np.uint64(0x100000001B3)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def words(text: str) -> list[str]:
    """Split lower-cased text into words and single punctuation marks.

    >>> words("I can’t: no!")
    ['i', "can't", ':', 'no', '!']
    """
    return _WORD.findall(text.translate(_QUOTES).lower())


def word_hashes(tokens: Sequence[str]) -> Hashes:
    """Hash each token, shape (n,)."""
    return np.array([zlib.crc32(token.encode()) for token in tokens], dtype=np.uint64)


def sequence_hashes(codes: Hashes, order: int) -> Hashes:
    """Hash every run of ``order`` codes, shape (max(n - order + 1, 0),)."""
    count = len(codes) - order + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    found = np.full(count, order, dtype=np.uint64)
    for offset in range(order):
        found = (found * _PRIME + codes[offset : offset + count] + np.uint64(1)) * _GOLDEN
        found ^= found >> np.uint64(29)
    return found


def buckets(hashes: Hashes, bits: int) -> npt.NDArray[np.int64]:
    """Map hashes to the buckets 0 … 2**bits - 1 by multiplication and the top bits."""
    return ((hashes * _GOLDEN) >> np.uint64(64 - bits)).astype(np.int64)


def sparse_row(hashes: Hashes, bits: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the filled buckets and their values 1 + ln(count), scaled to unit length."""
    places, counts = np.unique(buckets(hashes, bits), return_counts=True)
    values = 1.0 + np.log(counts.astype(np.float32))
    length = float(np.linalg.norm(values)) or 1.0
    return places, (values / np.float32(length)).astype(np.float32)
