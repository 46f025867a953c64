"""The texts of a corpus in batches, piece by piece; and single documents where columns matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.corpus import Document, DocumentBatch, Quarantine
from forgetkit.corpus.accept import wanted_columns
from forgetkit.corpus.batches import read_piece
from forgetkit.corpus.pieces import Piece
from forgetkit.corpus.read import read_file

if TYPE_CHECKING:
    import pyarrow as pa

Columns = Mapping[str, str] | None


@dataclass(frozen=True)
class Batch:
    """Some documents of one file.

    Attributes:
        rows: `(n,)` row of each in its file, from 1, ascending.
        doc_ids: `(n,)` their ids.
        texts: `(n,)` what is compared.
    """

    rows: npt.NDArray[np.int64]
    doc_ids: pa.LargeStringArray
    texts: pa.LargeStringArray

    @classmethod
    def empty(cls) -> Batch:
        """Return a batch of no documents."""
        import pyarrow as pa

        nothing = pa.array([], pa.large_string())
        return cls(np.zeros(0, np.int64), nothing, nothing)


def read_texts(
    piece: Piece, columns: Columns, quarantine: Quarantine, *, text_only: bool = False
) -> Iterator[Batch]:
    """Yield the good documents of a piece, in order; bad rows go to quarantine.

    Args:
        piece: what to read.
        columns: names of its columns by role; None looks for usual names.
        quarantine: takes the bad rows and keeps the books.
        text_only: leave prompts and answers out; else all columns, separated by a newline.
    """
    for batch in read_piece(piece, columns=columns, quarantine=quarantine):
        yield Batch(batch.rows, batch.doc_ids, _texts(batch, text_only))


def _texts(batch: DocumentBatch, text_only: bool) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = ("text",) if text_only else ("text", "prompt", "answer")
    columns = [batch.columns[name] for name in names if name in batch.columns]
    if not columns:
        return pa.nulls(len(batch), pa.large_string())
    if len(columns) == 1:
        return columns[0]
    newline = pa.scalar("\n", pa.large_string())
    return pc.binary_join_element_wise(*columns, newline, null_handling="skip")


def documents_of(label: str, path: Path, columns: Columns) -> Iterator[tuple[int, Document]]:
    """Yield the row and the document of each good row of a file."""
    for document in read_file(label, path, wanted_columns(columns), Quarantine()):
        yield int(document.source.rpartition(":")[2]), document
