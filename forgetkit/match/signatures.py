"""Signatures of texts: an exact fingerprint, and a MinHash sketch cut into bands.

A sketch has 128 places. A hash chooses a place and a value, and each place keeps its least value
(one-permutation hashing: Li, Owen and Zhang 2012). Places that stay empty are filled by further
rounds of fresh hashes (Dahlgaard, Knudsen and Thorup 2017, "Fast similarity sketching"), so that a
text of ten words is found as surely as a long one; copying full places, which is the usual
densification, makes the places of a short text depend on each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.errors import InputError
from forgetkit.match.fingerprints import fingerprint
from forgetkit.match.letters import letters
from forgetkit.match.shingles import Shingles, join_words, longest
from forgetkit.match.words import MOST_BYTES, MOST_WORDS, Column, fold_letters, mixed, read_words
from forgetkit.seeds import generator

Salts = npt.NDArray[np.uint64]

PLACES = 128
_ROUNDS = 16  # after these a place takes the least of all hashes under a permutation of its own
_PLACE_BITS = np.uint64(57)
_EMPTY = np.uint64(2**64 - 1)
_RECALL = 0.9995


@dataclass(frozen=True)
class Bands:
    """How a sketch is cut: texts are compared when all the rows of one band agree.

    Attributes:
        count: bands.
        rows: places a band.
    """

    count: int
    rows: int

    def recall(self, jaccard: float) -> float:
        """Return the chance that two texts of a similarity share a band.

        >>> round(Bands(25, 5).recall(0.8), 5), round(Bands(9, 13).recall(0.8), 2)
        (0.99995, 0.4)
        """
        return float(1.0 - (1.0 - jaccard**self.rows) ** self.count)


def bands_for(threshold: float, recall: float = _RECALL) -> Bands:
    """Return the widest bands that find pairs at the threshold with the recall asked for.

    >>> bands_for(0.8)
    Bands(count=25, rows=5)

    Raises:
        InputError: no bands do, for the threshold is too low.
    """
    for rows in range(PLACES, 0, -1):
        bands = Bands(PLACES // rows, rows)
        if bands.recall(threshold) >= recall:
            return bands
    raise InputError(
        f"a threshold of {threshold} is too low to find its pairs by MinHash",
        mend="Raise it to .06 or more.",
    )


def salts_of(seed: int) -> Salts:
    """Return the numbers that make the rounds differ."""
    return generator(seed, "minhash").integers(0, 2**63, _ROUNDS + PLACES, np.uint64)


@compiled
def _fill(shingles: Shingles, count: int, salts: Salts, sketch: Shingles) -> None:
    """Write the sketch of a set that is not empty."""
    sketch[:] = _EMPTY
    empty = PLACES
    round_number = 0
    fresh = np.empty(PLACES, np.uint64)
    while empty and round_number < _ROUNDS:
        fresh[:] = _EMPTY
        for i in range(count):
            value = mixed(shingles[i] ^ salts[round_number])
            place = np.int64(value >> _PLACE_BITS)
            fresh[place] = min(fresh[place], value)
        for spot in range(PLACES):
            if sketch[spot] == _EMPTY and fresh[spot] != _EMPTY:
                sketch[spot] = fresh[spot]
                empty -= 1
        round_number += 1
    if not empty:
        return
    for left in range(PLACES):
        if sketch[left] == _EMPTY:
            salt = salts[_ROUNDS + left]
            for i in range(count):
                sketch[left] = min(sketch[left], mixed(shingles[i] ^ salt))


@compiled
def band_keys(
    shingles: Shingles, count: int, salts: Salts, rows: int, sketch: Shingles, keys: Shingles
) -> None:
    """Write a key for each band of a set that is not empty."""
    _fill(shingles, count, salts, sketch)
    for band in range(len(keys)):
        key = np.uint64(rows)
        for place in range(band * rows, (band + 1) * rows):
            key = mixed(key ^ sketch[place]) + np.uint64(1)
        keys[band] = key


@compiled
def _sign(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    entries: npt.NDArray[np.uint32],
    pool: npt.NDArray[np.uint32],
    key: Shingles,
    raw_key: Shingles,
    folds: bool,
    salts: Salts,
    rows: int,
    prints: Shingles,
    keys: Shingles,
    counts: npt.NDArray[np.int64],
) -> None:
    most = longest(offsets)
    folded = np.empty(most * MOST_BYTES + 1, np.uint8)
    words = np.empty(most * MOST_WORDS + 1, np.uint64)
    sketch = np.empty(PLACES, np.uint64)
    for i in range(len(offsets) - 1):
        begin, end = offsets[i], offsets[i + 1]
        length, count = read_words(data, begin, end, entries, pool, folded, words)
        if length and folds:
            prints[i, 0], prints[i, 1] = fingerprint(folded, 0, length, key)
        else:
            prints[i, 0], prints[i, 1] = fingerprint(data, begin, end, raw_key)
        counts[i] = join_words(words, count)
        if counts[i]:
            band_keys(words, counts[i], salts, rows, sketch, keys[i])


@compiled
def _print(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    entries: npt.NDArray[np.uint32],
    pool: npt.NDArray[np.uint32],
    key: Shingles,
    raw_key: Shingles,
    folds: bool,
    prints: Shingles,
) -> None:
    folded = np.empty(longest(offsets) * MOST_BYTES + 1, np.uint8)
    for i in range(len(offsets) - 1):
        begin, end = offsets[i], offsets[i + 1]
        length = 0
        if folds:
            length, _ = fold_letters(data, begin, end, entries, pool, folded)
        if length:
            prints[i, 0], prints[i, 1] = fingerprint(folded, 0, length, key)
        else:
            prints[i, 0], prints[i, 1] = fingerprint(data, begin, end, raw_key)


@dataclass(frozen=True)
class Signatures:
    """Signatures of the texts of a column.

    Attributes:
        prints: `(n, 2)` fingerprints.
        keys: `(n, bands)` keys of bands; meaningless where `counts` is 0.
        counts: `(n,)` word 5-grams of each, repeated ones counted; 0 without bands.
    """

    prints: Shingles
    keys: Shingles
    counts: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Signer:
    """Makes signatures.

    Attributes:
        key: `(2,)` key of the fingerprints.
        salts: of `salts_of`.
        bands: how sketches are cut; None for exact duplicates only.
        folds: compare letters and digits only; else every byte.
    """

    key: Shingles
    salts: Salts
    bands: Bands | None
    folds: bool = True

    @property
    def raw_key(self) -> Shingles:
        """Return the key of texts that are compared byte by byte, so that none equals letters."""
        return self.key ^ np.uint64(0x72617700)

    def sign(self, column: Column) -> Signatures:
        """Return the signatures of a column's texts; texts without letters are compared raw."""
        table, count = letters(), len(column)
        prints = np.empty((count, 2), np.uint64)
        keys = np.zeros((count, self.bands.count if self.bands else 0), np.uint64)
        counts = np.zeros(count, np.int64)
        if self.bands is None:
            _print(
                column.data, column.offsets, table.entries, table.pool, self.key, self.raw_key,
                self.folds, prints,
            )  # fmt: skip
            return Signatures(prints, keys, counts)
        _sign(
            column.data, column.offsets, table.entries, table.pool, self.key, self.raw_key,
            self.folds, self.salts, self.bands.rows, prints, keys, counts,
        )  # fmt: skip
        return Signatures(prints, keys, counts)
