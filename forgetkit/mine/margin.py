"""How far the nearest window of a work stands out from the work's other windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

OTHERS = 4  # windows of the same work that the nearest one has to stand out from
BLOCK = 512  # texts compared with a work at a time

Floats = npt.NDArray[np.float32]


def margins(
    scores: Floats,
    nearest: npt.NDArray[np.int64],
    texts: Floats,
    seeds: Floats,
    works: Sequence[str | None],
    bounds: npt.NDArray[np.int64],
    least: float,
) -> Floats:
    """Return how far the nearest seed stands out from the next ones of its work, (n,).

    Artetxe & Schwenk 2019, arXiv:1811.01136, with the difference as the margin. Windows that
    overlap the nearest one do not count, and a work of few windows has zeros for the others; a
    seed of no work stands alone, at a margin of 1.

    Args:
        scores: cosine of each text with its nearest seed, (n,).
        nearest: that seed's row, (n,).
        texts: `(n, D)` rows of length 1.
        seeds: `(S, D)` rows of length 1.
        works: work of each seed, S of them.
        bounds: first code point of each seed in its work, and one past its last, `(S, 2)`.
        least: texts of a lower score are not looked at; their margin is 0.
    """
    found = np.zeros(len(scores), np.float32)
    members: dict[str, list[int]] = {}
    for place, work in enumerate(works):
        if work is not None:
            members.setdefault(work, []).append(place)
    asked: dict[str, list[int]] = {}
    for row in np.flatnonzero(scores >= least).tolist():
        work = works[int(nearest[row])]
        if work is None:
            found[row] = 1.0
        else:
            asked.setdefault(work, []).append(row)
    for work, rows in asked.items():
        own = np.array(members[work])
        for start in range(0, len(rows), BLOCK):
            block = np.array(rows[start : start + BLOCK])
            others = _others(texts[block] @ seeds[own].T, bounds[own], bounds[nearest[block]])
            # the nearest is no farther than the others, but rounding may say so
            found[block] = np.maximum(scores[block] - others.sum(axis=1) / OTHERS, 0.0)
    return found


def _others(
    cosines: Floats, own: npt.NDArray[np.int64], taken: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return the highest cosines of windows beside the one taken, (n, at most `OTHERS`)."""
    beside = (own[:, 1] <= taken[:, :1]) | (own[:, 0] >= taken[:, 1:])
    kept = np.where(beside, np.maximum(cosines, 0.0), 0.0)
    if kept.shape[1] <= OTHERS:
        return kept
    return np.partition(kept, -OTHERS, axis=1)[:, -OTHERS:]
