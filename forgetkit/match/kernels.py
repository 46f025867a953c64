"""Alignment kernels, compiled by numba on first use and kept in its cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

F = TypeVar("F", bound=Callable[..., object])
Symbols = npt.NDArray[np.uint32]

MATCH = 2
MISMATCH = -3
GAP = -3
LOWEST = -(10**9)
LEAST_RUN = 4  # equal symbols that an extension ends on


def _compile(function: F) -> F:
    try:
        return cast(F, numba.njit(function, cache=True, nogil=True))
    except RuntimeError:  # no folder for the cache can be written
        return cast(F, numba.njit(function, nogil=True))


def _edit_distance(a: Symbols, b: Symbols) -> int:
    """Return Levenshtein's distance of two symbol arrays."""
    row = np.arange(len(b) + 1)
    for i in range(len(a)):
        corner = row[0]
        row[0] = i + 1
        for j in range(len(b)):
            change = corner + (a[i] != b[j])
            corner = row[j + 1]
            row[j + 1] = min(change, corner + 1, row[j] + 1)
    return int(row[len(b)])


def _cell(
    diagonal: tuple[int, int, int], above: tuple[int, int], left: tuple[int, int], same: bool
) -> tuple[int, int, int]:
    """Return score, edits and run of equal symbols of one cell from its three neighbours."""
    value, changed, equal = LOWEST, 0, 0
    if diagonal[0] > LOWEST:
        value = diagonal[0] + (MATCH if same else MISMATCH)
        changed = diagonal[1] + (0 if same else 1)
        equal = diagonal[2] + 1 if same else 0
    if above[0] > LOWEST and above[0] + GAP > value:
        value, changed, equal = above[0] + GAP, above[1] + 1, 0
    if left[0] > LOWEST and left[0] + GAP > value:
        value, changed, equal = left[0] + GAP, left[1] + 1, 0
    return value, changed, equal


cell = _compile(_cell)


def _extend(a: Symbols, b: Symbols, drop: int, band: int) -> tuple[int, int, int, int]:
    """Align the beginnings of a and b as far as it pays.

    A banded dynamic programme over rows of `a`, given up where every cell is `drop` below the
    best (X-drop: Zhang, Schwartz, Wagner & Miller 2000). It ends on a run of equal symbols, so
    that single letters which agree by chance behind a copy are left out.

    Returns:
        Symbols of a, symbols of b, edits among them, and the score, at the best cell.
    """
    width = 2 * band + 1
    score = np.full(width + 1, LOWEST)  # one more than the band, never reached
    edits = np.zeros(width + 1, np.int64)
    run = np.zeros(width + 1, np.int64)  # equal symbols in a row, up to this cell
    for j in range(min(band, len(b)) + 1):
        score[band + j] = GAP * j
        edits[band + j] = j
    best, best_i, best_j, best_edits = 0, 0, 0, 0
    highest = 0
    for i in range(1, len(a) + 1):
        alive = False
        left, left_edits = LOWEST, 0
        for d in range(max(0, band - i), min(width, len(b) - i + band + 1)):
            j = i + d - band
            corner = score[d] if j > 0 else LOWEST
            same = j > 0 and a[i - 1] == b[j - 1]
            value, changed, equal = cell(
                (corner, edits[d], run[d]),
                (score[d + 1], edits[d + 1]),
                (left, left_edits),
                same,
            )
            if value < highest - drop:
                value = LOWEST
            score[d], edits[d], run[d] = value, changed, equal
            left, left_edits = value, changed
            alive = alive or value > LOWEST
            highest = max(highest, value)
            if value > best and (equal >= LEAST_RUN or changed == 0):
                best, best_i, best_j, best_edits = value, i, j, changed
        if not alive:
            break
    return best_i, best_j, best_edits, best


edit_distance = _compile(_edit_distance)
extend = _compile(_extend)
