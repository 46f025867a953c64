"""Documents that say the same in other words: by embeddings, apart from copies of the text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.corpus import Quarantine
from forgetkit.corpus.pieces import Piece
from forgetkit.dedupe.catalogue import Catalogue, Numbers
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.outcome import write_columns
from forgetkit.dedupe.reading import read_texts

if TYPE_CHECKING:
    from forgetkit.embed import Embedder

_AT_ONCE = 1024


@dataclass(frozen=True)
class SameMeaning:
    """Documents whose embedding is near that of one before them.

    Attributes:
        numbers: `(m,)` the documents.
        others: `(m,)` the document before each, itself like none before it.
        cosines: `(m,)` cosine of the two, in (0, 1].
        left_out: documents beyond the budget, which were not looked at.
    """

    numbers: Numbers
    others: Numbers
    cosines: npt.NDArray[np.float64]
    left_out: int

    def write(self, path: Path, catalogue: Catalogue, model: str) -> None:
        """Write `semantic.parquet`."""
        import pyarrow as pa

        text = pa.string()
        columns: dict[str, Any] = {
            "doc_id": pa.array(catalogue.doc_ids(self.numbers), text),
            "source": pa.array(catalogue.sources(self.numbers), text),
            "matched_doc_id": pa.array(catalogue.doc_ids(self.others), text),
            "matched_source": pa.array(catalogue.sources(self.others), text),
            "cosine": pa.array(np.round(self.cosines, 4), pa.float64()),
            "model": pa.array([model] * len(self.numbers), text),
        }
        write_columns(path, columns)


def same_meaning(
    catalogue: Catalogue,
    pieces: Iterable[tuple[int, Piece]],
    numbers: Numbers,
    config: DedupeConfig,
    embedder: Embedder,
) -> SameMeaning:
    """Compare documents by the embedding of their beginning, as much as the model reads.

    A document matches the first one before it that matched none itself, so no chain of similar
    documents reaches further than one step.

    Args:
        catalogue: all documents.
        pieces: ours, each with its number.
        numbers: sorted numbers of the documents that are left.
        config: settings.
        embedder: the model.
    """
    chosen = numbers[: config.semantic_budget]
    vectors = np.zeros((len(chosen), embedder.dimension), np.float32)
    for number, piece in pieces:
        inside = catalogue.where.within(number, chosen)
        if len(inside):
            at = int(np.searchsorted(chosen, inside[0]))
            _embed(piece, catalogue.rows[inside], config, embedder, vectors[at:])
    pairs = leaders(vectors, config.semantic_threshold)
    first = np.array([pair[0] for pair in pairs], np.int64)
    second = np.array([pair[1] for pair in pairs], np.int64)
    cosines = np.array([pair[2] for pair in pairs], np.float64)
    return SameMeaning(chosen[first], chosen[second], cosines, len(numbers) - len(chosen))


def _embed(
    piece: Piece,
    rows: Numbers,
    config: DedupeConfig,
    embedder: Embedder,
    vectors: npt.NDArray[np.float32],
) -> None:
    """Write the vectors of some rows of a file, in order."""
    done = 0
    for batch in read_texts(piece, config.columns, Quarantine()):
        places = np.flatnonzero(np.isin(batch.rows, rows))
        if len(places):
            texts = [batch.texts[place].as_py() for place in places.tolist()]
            vectors[done : done + len(texts)] = embedder.encode(texts)
            done += len(texts)


def leaders(vectors: npt.NDArray[np.float32], threshold: float) -> list[tuple[int, int, float]]:
    """Return (text, leader before it, cosine) of those that have one."""
    from forgetkit.embed import range_hits

    found: dict[int, tuple[int, float]] = {}
    for begin in range(0, len(vectors), _AT_ONCE):
        end = min(begin + _AT_ONCE, len(vectors))
        for window, leader, cosine in range_hits(vectors[:end], vectors[begin:end], threshold):
            number = begin + window
            if leader < number and number not in found and leader not in found:
                found[number] = (leader, cosine)
    return [(number, *found[number]) for number in sorted(found)]
