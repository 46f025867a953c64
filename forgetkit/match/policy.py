"""Policies: what is copied, and yet no evidence against a document."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from forgetkit.match.verbatim import Match

Hit = tuple[int, Match]
CLOSE = 200  # code points between short pieces that count together
TOGETHER = 2.0  # times the least length that they must have in all
MOST_OF = 0.8  # share of a match that decides about the whole


def overlap(a: Match, b: Match) -> int:
    """Return how many code points of the document two matches share."""
    return max(0, min(a.end, b.end) - max(a.start, b.start))


def long_together(found: Sequence[tuple[int, Match, bool]], chars: int) -> list[Hit]:
    """Keep matches that are long enough, and short ones that are so together.

    A passage whose sentences were shuffled, or with a stretch put in or rewritten, is a row of
    short pieces of one work.

    Args:
        found: row, match, and whether it is long enough by itself.
        chars: least length of a copy; short pieces must make up twice as much.
    """
    kept: list[Hit] = []
    ordered = sorted(found, key=lambda hit: (hit[0], hit[1].work_id, hit[1].start))
    for _, own in itertools.groupby(ordered, key=lambda hit: (hit[0], hit[1].work_id)):
        beside: list[tuple[int, Match, bool]] = []
        for hit in [*own, None]:
            if beside and (hit is None or hit[1].start - beside[-1][1].end > CLOSE):
                total = sum(match.end - match.start for _, match, _ in beside)
                enough = total >= TOGETHER * chars
                kept += [(row, match) for row, match, is_long in beside if is_long or enough]
                beside = []
            if hit is not None:
                beside.append(hit)
    return sorted(kept, key=lambda hit: (hit[0], hit[1].start, hit[1].end, hit[1].work_id))


def without_common(hits: Sequence[Hit], most: int) -> list[Hit]:
    """Drop matches whose text stands in more than `most` works: a proverb, a licence, scripture.

    Args:
        hits: row and match, sorted by row.
        most: works that may share a stretch.
    """
    kept: list[Hit] = []
    for _, group in itertools.groupby(hits, key=lambda hit: hit[0]):
        own = list(group)
        for row, match in own:
            least = MOST_OF * (match.end - match.start)
            works = {other.work_id for _, other in own if overlap(match, other) >= least}
            if len(works) <= most:
                kept.append((row, match))
    return kept


def without_ignored(hits: Sequence[Hit], ignored: Sequence[Hit]) -> list[Hit]:
    """Drop matches that lie for the most part in texts that anyone may quote.

    Args:
        hits: row and match.
        ignored: the same for the texts to ignore.
    """
    by_row: dict[int, list[Match]] = {}
    for row, match in ignored:
        by_row.setdefault(row, []).append(match)
    return [(row, match) for row, match in hits if not _mostly_in(match, by_row.get(row, []))]


def _mostly_in(match: Match, ignored: Sequence[Match]) -> bool:
    covered, at = 0, match.start
    for other in sorted(ignored, key=lambda m: m.start):
        begin, end = max(at, other.start), min(match.end, other.end)
        if end > begin:
            covered += end - begin
            at = end
    return covered >= MOST_OF * (match.end - match.start)


def rows_of(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], rows: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return some rows of a column of UTF-8 as a column of its own."""
    pieces = [data[offsets[row] : offsets[row + 1]] for row in rows]
    places = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    text = np.concatenate([*pieces, np.zeros(1, np.uint8)])
    text.flags.writeable = False
    return text, places
