"""Columns of a table become columns of documents, by the same rules as single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from forgetkit.corpus.batch import FIELDS, DocumentBatch, buffers
from forgetkit.files import sha256_bytes

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Wanted = Mapping[str, tuple[str, ...]]
"""Names of columns by role (id, text, prompt, answer); the first that is not null counts."""


def derived_id(source: str) -> str:
    """Return the id of a document whose corpus gives none, from its `file:row`."""
    return sha256_bytes(source.encode())[:16]


def batch_of(
    label: str, rows: npt.NDArray[np.int64], roles: Mapping[str, Sequence[pa.Array]]
) -> tuple[DocumentBatch, npt.NDArray[np.bool_]]:
    """Build documents from the columns that may fill each role.

    Args:
        label: the file.
        rows: their numbers, shape (N,).
        roles: by role, arrays of length N in order of preference, large_string (`id`: or int64).

    Returns:
        The documents that have text, and which of the N rows have (False: look at it alone).
    """
    import numpy as np
    import pyarrow.compute as pc

    taken = {role: _first(arrays) for role, arrays in roles.items() if arrays}
    columns = {name: taken[name] for name in FIELDS if name in taken}
    good = np.zeros(len(rows), np.bool_)
    named = np.zeros(len(rows), np.bool_)
    for name, column in columns.items():
        offsets, _ = buffers(column)
        good |= np.diff(offsets) > 0
        if name != "answer":
            named |= column.is_valid().to_numpy(zero_copy_only=False)
    good &= named
    ids = taken.get("id")
    if not good.all():
        mask = _boolean(good)
        columns = {name: column.filter(mask) for name, column in columns.items()}
        ids = ids.filter(mask) if ids is not None else None
        rows = rows[good]
    if "text" in columns:
        columns["text"] = _empty_is_null(columns["text"])
    kept = {name: column for name, column in columns.items() if column.null_count < len(column)}
    return DocumentBatch(label, rows, _ids(label, rows, ids, pc), kept), good


def joined(batches: Sequence[DocumentBatch]) -> DocumentBatch:
    """Join batches of one file into one, sorted by row."""
    import numpy as np
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    rows = np.concatenate([batch.rows for batch in batches])
    names = [name for name in FIELDS if any(name in batch.columns for batch in batches)]
    columns = {
        name: pa.concat_arrays(
            [batch.columns.get(name, pa.nulls(len(batch), pa.large_string())) for batch in batches]
        )
        for name in names
    }
    ids = pa.concat_arrays([batch.doc_ids for batch in batches])
    if (np.diff(rows) < 0).any():
        order = np.argsort(rows, kind="stable")
        rows, ids = rows[order], ids.take(pa.array(order))
        columns = {name: column.take(pa.array(order)) for name, column in columns.items()}
    return DocumentBatch(batches[0].label, rows, ids, columns)


def _first(arrays: Sequence[pa.Array]) -> pa.LargeStringArray:
    import pyarrow as pa
    import pyarrow.compute as pc

    texts = [array.cast(pa.large_string()) for array in arrays if array.null_count < len(array)]
    if not texts:
        return pa.nulls(len(arrays[0]), pa.large_string())
    return texts[0] if texts[0].null_count == 0 or len(texts) == 1 else pc.coalesce(*texts)


def _empty_is_null(column: pa.LargeStringArray) -> pa.LargeStringArray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    offsets, _ = buffers(column)
    full = np.diff(offsets) > 0
    if full.all():
        return column
    return pc.if_else(_boolean(full), column, pa.scalar(None, pa.large_string()))


def _ids(
    label: str, rows: npt.NDArray[np.int64], ids: pa.LargeStringArray | None, pc: Any
) -> pa.LargeStringArray:
    import pyarrow as pa

    if ids is not None and ids.null_count == 0:
        return ids
    derived = pa.array([derived_id(f"{label}:{row}") for row in rows], pa.large_string())
    return derived if ids is None else pc.coalesce(ids, derived)


def _boolean(mask: npt.NDArray[np.bool_]) -> pa.BooleanArray:
    import pyarrow as pa

    return pa.array(mask)
