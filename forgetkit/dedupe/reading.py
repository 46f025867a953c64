"""A corpus in batches of texts: Parquet without a copy where it is clean, other formats by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.corpus import Counts, Document, Quarantine
from forgetkit.corpus.accept import wanted_columns
from forgetkit.corpus.read import _read_file
from forgetkit.files import sha256_bytes
from forgetkit.match.words import Column

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 2048
BATCH_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Batch:
    """Some documents of one file.

    Attributes:
        label: the file, as in a document's source.
        rows: `(n,)` row of each, from 1.
        doc_ids: `(n,)` their ids.
        texts: `(n,)` all text of each, columns separated by a newline.
    """

    label: str
    rows: npt.NDArray[np.int64]
    doc_ids: pa.LargeStringArray
    texts: pa.LargeStringArray

    @classmethod
    def empty(cls, label: str) -> Batch:
        """Return a batch of no documents."""
        import pyarrow as pa

        nothing = pa.array([], pa.large_string())
        return cls(label, np.zeros(0, np.int64), nothing, nothing)


def read_batches(
    label: str,
    path: Path,
    columns: Mapping[str, str] | None,
    quarantine: Quarantine,
    *,
    text_only: bool = False,
) -> Iterator[Batch]:
    """Yield the good documents of one file, in order; bad rows go to quarantine.

    Args:
        label: how sources name the file.
        path: where it is.
        columns: names of its columns by role; None looks for usual names.
        quarantine: takes the bad rows and keeps the books.
        text_only: leave prompts and answers out.
    """
    wanted = wanted_columns(columns)
    done = 0
    if path.suffix.lower() == ".parquet":
        for batch in _clean_parquet(label, path, wanted):
            if batch is None:
                break
            done += len(batch.rows)
            yield batch
        else:
            quarantine.files[label] = Counts(read=done, kept=done)
            return
    held: list[Document] = []
    size = 0
    for document in _read_file(label, path, wanted, quarantine):
        if row_of(document) <= done:
            continue
        held.append(document)
        size += len(document.text) + len(document.prompt or "") + len(document.answer or "")
        if len(held) == BATCH_ROWS or size > BATCH_BYTES:
            yield _batch_of(label, held, text_only)
            held, size = [], 0
    if held:
        yield _batch_of(label, held, text_only)


def row_of(document: Document) -> int:
    """Return the row of a document in its file, from 1."""
    return int(document.source.rpartition(":")[2])


def _batch_of(label: str, documents: list[Document], text_only: bool) -> Batch:
    import pyarrow as pa

    return Batch(
        label,
        np.array([row_of(document) for document in documents], np.int64),
        pa.array([document.doc_id for document in documents], pa.large_string()),
        pa.array([d.text if text_only else d.whole() for d in documents], pa.large_string()),
    )


def _clean_parquet(
    label: str, path: Path, wanted: Mapping[str, tuple[str, ...]]
) -> Iterator[Batch | None]:
    """Yield batches while every row is good beyond doubt, else None once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = _names(file.schema_arrow, wanted)
            if names is None:
                yield None
                return
            chosen = sorted(set(names.values()))
            row = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=chosen):
                found = _clean_batch(label, batch, names, row)
                yield found
                row += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        yield None


def _names(schema: Any, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, str] | None:
    """Return the column of each role; None where a row could choose between two."""
    import pyarrow as pa

    found: dict[str, str] = {}
    for role, options in wanted.items():
        there = [name for name in options if name in schema.names]
        if len(there) > 1:
            return None
        if there:
            kind = schema.field(there[0]).type
            whole = role == "id" and pa.types.is_integer(kind)
            if not (whole or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
                return None
            found[role] = there[0]
    return found if "text" in found and not {"prompt", "answer"} & set(found) else None


def _clean_batch(label: str, batch: Any, names: Mapping[str, str], row: int) -> Batch | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = batch.column(names["text"]).cast(pa.large_string())
    rows = np.arange(row + 1, row + 1 + len(texts), dtype=np.int64)
    if "id" in names:
        doc_ids = batch.column(names["id"]).cast(pa.large_string())
    else:
        derived = [sha256_bytes(f"{label}:{number}".encode())[:16] for number in rows]
        doc_ids = pa.array(derived, pa.large_string())
    for column in (texts, doc_ids):
        column.validate(full=True)
        if column.null_count or _holds_nul(column):
            return None
    if pc.any(pc.equal(pc.binary_length(texts), 0)).as_py():
        return None
    return Batch(label, rows, doc_ids, texts)


def _holds_nul(column: Any) -> bool:
    view = Column.of(column)
    used = view.data[view.offsets[0] : view.offsets[-1]]
    return bool(len(used)) and not used.min()
