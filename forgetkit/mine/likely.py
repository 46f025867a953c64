"""Which windows of a corpus are likely to be close in meaning, told by static vectors.

Before the corpus is read, the embedding model reads a sample of its windows and of the works; a map
from static vectors to the model's is fitted to them (`embed.prefilter`). Then every window costs
microseconds, and the model is spent on those that the map brings near to something looked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from forgetkit.corpus import DocumentBatch
from forgetkit.embed import Embedder, NearIndex, open_static_embedder
from forgetkit.embed.prefilter import Fit, fit, mapped
from forgetkit.engine import Output, Part
from forgetkit.mine.cascade import draws
from forgetkit.mine.cuts import Cuts, cut

if TYPE_CHECKING:
    import pyarrow as pa

    from forgetkit.embed.static import StaticEmbedder

LEAST_FITTED = 200  # texts under which no map is worth having
MOST_FITTED = 2000  # windows of the corpus that the model reads for it
SHARE = 5  # one in so many windows of the budget is spent on the fit
TABLE = "map"

Vectors = npt.NDArray[np.float32]


class Likely:
    """Tell how close windows may be to what is looked for.

    Args:
        found: the map.
        static: gives the static vectors that the map takes.
        seeds: texts that stand for what is looked for.
    """

    def __init__(self, found: Fit, static: StaticEmbedder, seeds: Sequence[str]) -> None:
        self._fit, self._static = found, static
        self._index = NearIndex(len(seeds), lambda piece: self._mapped(seeds[piece]))

    @property
    def floor(self) -> float:
        """Return the cosine from which a window is worth reading."""
        return self._fit.floor

    def score(self, found: Cuts) -> npt.NDArray[np.float64]:
        """Return the cosine to the nearest seed by the map, of each window, (n,)."""
        vectors = self._static.encode_pieces(found.data, found.first, found.last)
        return self._index.best(mapped(vectors, self._fit.weights)).astype(np.float64)

    def nominated(self, texts: Sequence[str], count: int) -> list[int]:
        """Return the seeds that are among the nearest of any text by the map, in order."""
        return self._index.nominated(self._mapped(texts), count)

    def _mapped(self, texts: Sequence[str]) -> Vectors:
        return mapped(self._static.encode(texts), self._fit.weights)

    def report(self) -> dict[str, int | float | str]:
        """Return what the map was measured to be worth."""
        recall, (low, high) = self._fit.recall, self._fit.interval()
        return {
            "prefilter_floor": self._fit.floor,
            "prefilter_pairs": self._fit.pairs,
            "prefilter_recall": "unknown: no pair" if recall is None else round(recall, 4),
            "prefilter_recall_low": round(low, 4),
            "prefilter_recall_high": round(high, 4),
        }


def learned(
    batches: Iterable[DocumentBatch],
    seeds: Sequence[str],
    embedder: Embedder,
    static: StaticEmbedder,
    *,
    window: int,
    least: int,
    budget: int,
    threshold: float,
    recall: float,
) -> Output:
    """Fit a map on a sample; return it as tables and counts, empty where texts are too few.

    Args:
        batches: of the sampled places of the corpus.
        seeds: texts that stand for what is looked for; neighbours may overlap.
        embedder: the model.
        static: the static embedder.
        window: length of a window, in code points.
        least: shorter windows are left out, in code points.
        budget: windows of the corpus that the model may read in all.
        threshold: cosine from which a window counts as found.
        recall: share of such windows that the floor keeps.
    """
    most = min(MOST_FITTED, budget // SHARE)
    corpus = _sampled(batches, most, window, least)
    every_second = _spread(range(0, len(seeds), 2), most // 2)
    texts = sorted({*corpus, *(seeds[number] for number in every_second)})
    if min(len(texts), most) < LEAST_FITTED:
        return Output(counts={"windows_fitted": 0})
    model, cheap = embedder.encode(texts), static.encode(texts)
    held_out = np.arange(len(texts)) % 4 == 0
    found = fit(cheap, model, held_out, threshold=threshold, recall=recall)
    counts = {"floor": found.floor, "pairs": found.pairs, "reached": found.reached}
    return Output({TABLE: _table(found.weights)}, counts | {"windows_fitted": len(corpus)})


def likely(part: Part, static: StaticEmbedder, seeds: Sequence[str]) -> Likely | None:
    """Return what was learned out of its part; None where there was too little to learn from."""
    table = part.table(TABLE)
    if table is None:
        return None
    width = table.column("row").type.list_size
    weights = np.asarray(table.column("row").combine_chunks().flatten()).reshape(-1, width)
    counts = part.counts
    return Likely(Fit(weights, counts["floor"], counts["pairs"], counts["reached"]), static, seeds)


def static_of(embedder: str) -> StaticEmbedder | None:
    """Return static vectors that can stand for a model: its own, else MiniLM's; or None."""
    return open_static_embedder(embedder) or open_static_embedder("minilm")


def _table(weights: Vectors) -> pa.Table:
    import pyarrow as pa

    flat = pa.array(weights.ravel(), pa.float32())
    return pa.table({"row": pa.FixedSizeListArray.from_arrays(flat, weights.shape[1])})


def _sampled(batches: Iterable[DocumentBatch], count: int, window: int, least: int) -> list[str]:
    """Return so many windows at most, those with the smallest random draws of all batches."""
    drawn: list[tuple[float, str]] = []
    for batch in batches:
        for field, column in batch.columns.items():
            found = cut(column, window, least)
            draw = draws(f"fit\0{batch.label}\0{field}", batch.rows[found.row], found.start)
            chosen = np.argsort(draw, kind="stable")[:count]
            drawn += [(float(draw[at]), found.text(int(at))) for at in chosen]
    return [text for _, text in sorted(drawn)[:count]]


def _spread(numbers: Sequence[int], count: int) -> Sequence[int]:
    """Return so many numbers at most, evenly spread."""
    if len(numbers) <= count:
        return numbers
    return [numbers[at * len(numbers) // count] for at in range(count)]
