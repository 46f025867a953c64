"""Lines and paragraphs of texts, where they stand, and a fingerprint of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from forgetkit.compiled import compiled
from forgetkit.match.fingerprints import fingerprint
from forgetkit.match.letters import letters
from forgetkit.match.loads import load_word
from forgetkit.match.signatures import Signer
from forgetkit.match.words import MOST_BYTES, Column, fold_letters

Numbers = npt.NDArray[np.int64]
_LF, _SPACE = 10, 32
_ONES, _HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)


@dataclass(frozen=True)
class Units:
    """Lines or paragraphs that are long enough to be compared.

    Attributes:
        texts: `(m,)` the text of the column that each stands in.
        starts: `(m,)` its first code point in that text.
        ends: `(m,)` one past its last.
        prints: `(m, 2)` fingerprints.
    """

    texts: Numbers
    starts: Numbers
    ends: Numbers
    prints: npt.NDArray[np.uint64]


def units_of(column: Column, signer: Signer, *, paragraphs: bool, least: int) -> Units:
    """Find the lines or paragraphs of texts.

    A line ends at LF, with or without CR before it; a paragraph ends at a line of spaces only.

    Args:
        column: texts.
        signer: makes the fingerprints.
        paragraphs: find paragraphs, not lines.
        least: letters and digits that a unit needs.
    """
    table = letters()
    most = int((column.data[column.offsets[0] : column.offsets[-1]] == _LF).sum()) + len(column)
    places = np.empty((most, 5), np.int64)
    count = _find(column.data, column.offsets, paragraphs, places)
    prints = np.empty((count, 2), np.uint64)
    good = _print_units(
        column.data, places[:count], table.entries, table.pool, signer.key, signer.raw_key,
        signer.folds, least, prints,
    )  # fmt: skip
    chosen = places[:count][good]
    return Units(chosen[:, 0].copy(), chosen[:, 3].copy(), chosen[:, 4].copy(), prints[good])


@compiled
def _find(data: npt.NDArray[np.uint8], offsets: Numbers, paragraphs: bool, places: Numbers) -> int:
    """Write text, first byte, last byte, first and last code point of each unit; count them."""
    count = 0
    for text in range(len(offsets) - 1):
        open_unit = False
        begin, points = offsets[text], 0
        while begin < offsets[text + 1]:
            end, inside, blank = _line(data, begin, offsets[text + 1])
            if not blank:
                if not open_unit:
                    places[count, 0] = text
                    places[count, 1] = begin
                    places[count, 3] = points
                    count += 1
                    open_unit = paragraphs
                places[count - 1, 2] = end
                places[count - 1, 4] = points + inside
            else:
                open_unit = False
            points += inside + (end < offsets[text + 1] and data[end] == 13) + 1
            begin = end + (end < offsets[text + 1] and data[end] == 13) + 1
    return count


@compiled
def _line(data: npt.NDArray[np.uint8], begin: int, limit: int) -> tuple[int, int, bool]:
    """Return the end of a line without CR and LF, its code points, and whether it is blank."""
    at = begin
    points = 0
    seen = np.uint64(0)
    while at + 8 <= limit:  # eight bytes at once while none of them is LF
        word = load_word(data, at)
        other = word ^ (_ONES * np.uint64(_LF))
        if (other - _ONES) & ~other & _HIGH:
            break
        later = (word >> np.uint64(7)) & ~(word >> np.uint64(6)) & _ONES
        points += 8 - int((later * _ONES) >> np.uint64(56))
        seen |= ((word & ~_HIGH) + _ONES * np.uint64(0x7F - _SPACE)) | word
        at += 8
    blank = seen & _HIGH == 0
    while at < limit and data[at] != _LF:
        points += (data[at] & 0xC0) != 0x80
        blank &= data[at] <= _SPACE
        at += 1
    if at < limit and at > begin and data[at - 1] == 13:
        return at - 1, points - 1, blank
    return at, points, blank


@compiled
def _print_units(
    data: npt.NDArray[np.uint8],
    places: Numbers,
    entries: npt.NDArray[np.uint32],
    pool: npt.NDArray[np.uint32],
    key: npt.NDArray[np.uint64],
    raw_key: npt.NDArray[np.uint64],
    folds: bool,
    least: int,
    prints: npt.NDArray[np.uint64],
) -> npt.NDArray[np.bool_]:
    """Write fingerprints; say which units have letters enough."""
    most = 0
    for i in range(len(places)):
        most = max(most, places[i, 2] - places[i, 1])
    folded = np.empty(most * MOST_BYTES + 1, np.uint8)
    good = np.zeros(len(places), np.bool_)
    for i in range(len(places)):
        begin, end = places[i, 1], places[i, 2]
        length, count = fold_letters(data, begin, end, entries, pool, folded)
        good[i] = count >= least
        if folds:
            prints[i, 0], prints[i, 1] = fingerprint(folded, 0, length, key)
        else:
            prints[i, 0], prints[i, 1] = fingerprint(data, begin, end, raw_key)
    return good
