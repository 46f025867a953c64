"""First look at a file: a signature of each document. Second look: the shingles of candidates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from forgetkit.corpus import Quarantine
from forgetkit.dedupe.parts import Source
from forgetkit.dedupe.reading import Batch, Columns, read_texts
from forgetkit.match.shingles import shingle_sets
from forgetkit.match.signatures import Signer
from forgetkit.match.words import Column

if TYPE_CHECKING:
    import pyarrow as pa


def key_name(band: int) -> str:
    """Return the column of a band's keys."""
    return f"key_{band:03d}"


def sign_file(
    source: Source, quarantine: Quarantine, signer: Signer, columns: Columns
) -> Iterator[pa.Table]:
    """Yield a table of signatures a batch; an empty one first, which carries the schema.

    Columns: row, doc_id, characters (code points), grams (word 5-grams), print_a, print_b, and
    the keys of the bands.
    """
    yield _signed(Batch.empty(), signer)
    for batch in read_texts(source.piece, columns, quarantine):
        yield _signed(batch, signer)


def _signed(batch: Batch, signer: Signer) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = signer.sign(Column.of(batch.texts))
    table = {
        "row": pa.array(batch.rows),
        "doc_id": batch.doc_ids,
        "characters": pc.utf8_length(batch.texts).cast(pa.int64()),
        "grams": pa.array(found.counts),
        "print_a": pa.array(np.ascontiguousarray(found.prints[:, 0])),
        "print_b": pa.array(np.ascontiguousarray(found.prints[:, 1])),
    }
    for band in range(found.keys.shape[1]):
        table[key_name(band)] = pa.array(np.ascontiguousarray(found.keys[:, band]))
    return pa.table(table)


def shingle_file(
    source: Source, columns: Columns, rows: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]]:
    """Yield the shingles and sizes of the wanted rows, sorted, batch by batch."""
    for batch in read_texts(source.piece, columns, Quarantine()):
        if not len(batch.rows):
            continue
        begin, end = np.searchsorted(rows, (batch.rows[0], batch.rows[-1] + 1))
        if begin < end:
            places = np.searchsorted(batch.rows, rows[begin:end])
            hashes, bounds = shingle_sets(Column.of(batch.texts), places)
            yield hashes, np.diff(bounds)
