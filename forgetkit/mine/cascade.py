"""Cheap first: what the expensive reader of a cascade gets to see, and what it never saw.

A cheap look ranks every piece of a corpus. What lies above its floor is read by the expensive
stage in order of rank, up to a budget; of all the rest a uniform random sample is read too. The
share of hits in that sample says how much was missed, with an interval.

Each batch keeps its pieces above the floor, the few of the rest with the smallest random draws,
and a tally of what it let go: so the sample is uniform over the corpus, however it was cut into
batches. A task's batches are thinned together, and then the tasks one after another, so memory
does not grow with the corpus.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from forgetkit.intervals import wilson

if TYPE_CHECKING:
    import pyarrow as pa

_MIX = np.uint64(0x9E3779B97F4A7C15)
_FINAL = np.uint64(0xBF58476D1CE4E5B9)
TALLY = "tally"  # column: pieces of the batch that were let go, on one row without a piece


def draws(label: str, *places: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return a fixed pseudo-random number in [0, 1) for each piece, by file and place."""
    state = np.full(len(places[0]), crc32(label.encode("utf-8", "replace")), np.uint64)
    for place in places:
        state = (state ^ place.astype(np.uint64)) * _MIX
        state = (state ^ (state >> np.uint64(29))) * _FINAL
        state ^= state >> np.uint64(32)
    return np.asarray((state >> np.uint64(11)).astype(np.float64) / 2**53)


def kept(
    rank: npt.NDArray[Any],
    draw: npt.NDArray[Any],
    is_above: npt.NDArray[Any],
    *,
    budget: int,
    sample: int,
) -> npt.NDArray[np.int64]:
    """Return which pieces of a batch go on, in their order.

    Args:
        rank: of each piece, higher is read first, (n,).
        draw: its random number, (n,).
        is_above: it lies above the floor, (n,).
        budget: pieces that are read at most; a batch can fill it alone.
        sample: pieces of the rest that are read.
    """
    above = np.flatnonzero(is_above)
    if len(above) > budget:
        above = above[np.lexsort((above, -rank[above]))[:budget]]
    rest = np.setdiff1d(np.arange(len(rank)), above)
    rest = rest[np.argsort(draw[rest], kind="stable")[:sample]]
    return np.sort(np.concatenate([above, rest]))


def thinned(candidates: pa.Table, *, budget: int, sample: int) -> pa.Table:
    """Return what of several batches' candidates may still be read; the others join the tally.

    Whatever is thinned and joined in whatever order, `reading` chooses the same.

    Args:
        candidates: with the columns that `reading` needs.
        budget: pieces read by rank at most.
        sample: pieces read of the rest at most.
    """
    import pyarrow as pa

    tally = candidates.column(TALLY).to_numpy()
    pieces = np.flatnonzero(tally == 0)
    rank, draw, is_above = (
        candidates.column(name).to_numpy()[pieces] for name in ("rank", "draw", "is_above")
    )
    stays = pieces[kept(rank, draw, is_above, budget=budget, sample=sample)]
    let_go = int(tally.sum()) + len(pieces) - len(stays)
    counted = {TALLY: let_go, "rank": 0.0, "draw": 1.0, "is_above": False}
    last = pa.Table.from_pylist([counted] if let_go else [], schema=candidates.schema)
    return pa.concat_tables([candidates.take(stays), last]).combine_chunks()


@dataclass(frozen=True)
class Reading:
    """What the expensive stage reads.

    Attributes:
        top: rows of the candidates that were taken by rank, ascending.
        sample: rows that stand for everything else, ascending.
        others: pieces of the corpus that are not in `top`; the sample is drawn from them.
    """

    top: npt.NDArray[np.int64]
    sample: npt.NDArray[np.int64]
    others: int

    @property
    def never_read(self) -> int:
        """Return how many pieces nobody reads."""
        return self.others - len(self.sample)

    def estimate(self, hits: npt.NDArray[np.bool_], sample_hits: npt.NDArray[np.bool_]) -> Recall:
        """Estimate how much of what the expensive stage would find was found."""
        found = int(hits.sum() + sample_hits.sum())
        count = len(self.sample)
        if self.never_read == 0:
            return Recall(1.0, 1.0, 1.0, found)
        if count == 0:
            return Recall(None, 0.0, 1.0, found)
        rate = float(sample_hits.sum()) / count
        low, high = wilson(float(sample_hits.sum()), count)
        missed = [share * self.never_read for share in (rate, high, low)]
        value, least, most = (found / (found + gone) if found + gone else 1.0 for gone in missed)
        return Recall(value, least, most, found)


@dataclass(frozen=True)
class Recall:
    """Estimated share of hits that were found, with a 95 % interval; None without a sample."""

    value: float | None
    low: float
    high: float
    found: int

    def report(self, prefix: str = "") -> dict[str, int | float | str]:
        """Return its lines of a detector's report."""
        value = "unknown: nothing of the rest was read" if self.value is None else self.value
        return {
            f"{prefix}estimated_recall": value if isinstance(value, str) else round(value, 4),
            f"{prefix}recall_low": round(self.low, 4),
            f"{prefix}recall_high": round(self.high, 4),
        }


def reading(candidates: pa.Table, *, budget: int, sample: int) -> Reading:
    """Choose what is read of all batches' candidates.

    Args:
        candidates: with the columns `rank`, `draw`, `is_above` and `tally`.
        budget: pieces read by rank at most.
        sample: pieces read of the rest.
    """
    tally = candidates.column(TALLY).to_numpy()
    rank, draw = (candidates.column(name).to_numpy() for name in ("rank", "draw"))
    is_above = candidates.column("is_above").to_numpy()
    is_piece = tally == 0
    above = np.flatnonzero(is_above & is_piece)
    top = np.sort(above[np.lexsort((above, -rank[above]))[:budget]])
    rest = np.setdiff1d(np.flatnonzero(is_piece), top)
    chosen = np.sort(rest[np.argsort(draw[rest], kind="stable")[:sample]])
    return Reading(top, chosen, int(tally.sum()) + len(rest))
