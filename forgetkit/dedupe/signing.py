"""First look at a task: a signature of each document. Second look: the shingles of candidates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from forgetkit.corpus import Quarantine
from forgetkit.corpus.pieces import Piece
from forgetkit.dedupe.parts import gathered
from forgetkit.dedupe.reading import Batch, Columns, read_texts
from forgetkit.engine import Output, Part, Task
from forgetkit.errors import ForgetkitError
from forgetkit.match.shingles import shingle_sets
from forgetkit.match.signatures import Signer
from forgetkit.match.words import Column

if TYPE_CHECKING:
    import pyarrow as pa


def key_name(band: int) -> str:
    """Return the column of a band's keys."""
    return f"key_{band:03d}"


@dataclass(frozen=True)
class Sign:
    """Sign the documents of a task.

    Attributes:
        signer: how.
        columns: names of the columns by role; None looks for usual names.
    """

    signer: Signer
    columns: Columns

    @property
    def in_threads(self) -> bool:
        """Say that the kernels run outside the interpreter's lock."""
        return True

    def __call__(self, task: Task) -> Output:
        """Return the signatures and the books."""
        return gathered(
            task, lambda piece, books: sign_piece(piece, books, self.signer, self.columns)
        )


def sign_piece(
    piece: Piece, quarantine: Quarantine, signer: Signer, columns: Columns
) -> Iterator[pa.Table]:
    """Yield a table of signatures a batch; an empty one first, which carries the schema.

    Columns: row, doc_id, characters (code points), grams (word 5-grams), print_a, print_b, and
    the keys of the bands.
    """
    yield _signed(Batch.empty(), signer)
    for batch in read_texts(piece, columns, quarantine):
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


@dataclass(frozen=True)
class Shingle:
    """Cut the wanted documents of a task into shingles.

    Attributes:
        columns: names of the columns by role; None looks for usual names.
        rows: by number of the task, the sorted rows that are wanted of each of its pieces.
    """

    columns: Columns
    rows: Mapping[int, Sequence[npt.NDArray[np.int64]]]

    @property
    def in_threads(self) -> bool:
        """Say that the kernels run outside the interpreter's lock."""
        return True

    def __call__(self, task: Task) -> Output:
        """Return the tables `shingles` and `counts`."""
        import pyarrow as pa

        hashes = [np.zeros(0, np.uint64)]
        counts = [np.zeros(0, np.int64)]
        for piece, rows in zip(task.pieces, self.rows[task.number], strict=True):
            for some, sizes in shingle_piece(piece, self.columns, rows) if len(rows) else ():
                hashes.append(some)
                counts.append(sizes)
        tables = {
            "shingles": pa.table({"shingle": np.concatenate(hashes)}),
            "counts": pa.table({"count": np.concatenate(counts)}),
        }
        return Output(tables)


def shingles_in(part: Part) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the shingles and sizes that `Shingle` gave."""
    hashes, counts = part.table("shingles"), part.table("counts")
    if hashes is None or counts is None:
        raise ForgetkitError("a part lacks its table", where=part.key)
    return hashes["shingle"].to_numpy(), counts["count"].to_numpy()


def shingle_piece(
    piece: Piece, columns: Columns, rows: npt.NDArray[np.int64]
) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]]:
    """Yield the shingles and sizes of the wanted rows, sorted, batch by batch."""
    for batch in read_texts(piece, columns, Quarantine()):
        if not len(batch.rows):
            continue
        begin, end = np.searchsorted(rows, (batch.rows[0], batch.rows[-1] + 1))
        if begin < end:
            places = np.searchsorted(batch.rows, rows[begin:end])
            hashes, bounds = shingle_sets(Column.of(batch.texts), places)
            yield hashes, np.diff(bounds)
