"""Parquet and Arrow files by the batch: whole columns where they are sound, else row by row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.corpus.batch import buffers
from forgetkit.corpus.columns import Wanted
from forgetkit.corpus.lines import MAX_BYTES
from forgetkit.corpus.rows import Row
from forgetkit.files import sha256_bytes, sha256_file

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_BYTES = 4 * 2**20
MOST_ROWS = 16_384


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a Parquet file; a file that is none is one bad row."""
    for number, batch in parquet_batches(path):
        yield from batch if isinstance(batch, list) else table_rows(batch, number)


def arrow_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of an Arrow file or stream; a file that is none is one bad row."""
    for number, batch in arrow_batches(path):
        yield from batch if isinstance(batch, list) else table_rows(batch, number)


def parquet_batches(
    path: Path, groups: range | None = None, names: set[str] | None = None, number: int = 1
) -> Iterator[tuple[int, pa.RecordBatch | list[Row]]]:
    """Yield record batches with the number of their first row, or one bad row.

    Args:
        path: the file.
        groups: row groups to read; None for all.
        names: columns to read; None for all.
        number: number of the first row of the first group.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = number
    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            everything = range(file.metadata.num_row_groups)
            sizes = [file.metadata.row_group(g).total_byte_size for g in everything]
            if max(sizes, default=0) > MAX_BYTES:
                yield number, [_bad_file(path, number, f"a row group of over {MAX_BYTES} bytes")]
                return
            chosen = everything if groups is None else groups
            there = [name for name in file.schema_arrow.names if names is None or name in names]
            rows = max(1, sum(file.metadata.row_group(g).num_rows for g in chosen))
            fit = BATCH_BYTES * rows // max(1, _bytes(file.metadata, chosen, set(there)))
            for batch in file.iter_batches(
                batch_size=min(MOST_ROWS, max(1, fit)),
                row_groups=list(chosen),
                columns=there,
                use_threads=False,
            ):
                yield number, batch
                number += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        reason = "broken Parquet" if number > first else "not a Parquet file"
        yield number, [_bad_file(path, number, f"{reason} ({type(error).__name__})")]


def _bytes(metadata: Any, groups: range, names: set[str]) -> int:
    total = 0
    for group in groups:
        columns = metadata.row_group(group)
        for index in range(columns.num_columns):
            column = columns.column(index)
            if column.path_in_schema.split(".")[0] in names:
                total += int(column.total_uncompressed_size)
    return total


def arrow_batches(
    path: Path, groups: range | None = None, number: int = 1
) -> Iterator[tuple[int, pa.RecordBatch | list[Row]]]:
    """Yield record batches of an Arrow file (Feather 2) or stream, as `parquet_batches` does."""
    import pyarrow as pa

    first = number
    try:
        with open_arrow(path) as (reader, count):
            chosen = range(count or 0) if groups is None else groups
            batches = reader if count is None else map(reader.get_batch, chosen)
            for batch in batches:
                for start in range(0, batch.num_rows, MOST_ROWS):
                    part = batch.slice(start, MOST_ROWS)
                    yield number, part
                    number += part.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        reason = "broken Arrow" if number > first else "not an Arrow file"
        yield number, [_bad_file(path, number, f"{reason} ({type(error).__name__})")]


@contextmanager
def open_arrow(path: Path) -> Iterator[tuple[Any, int | None]]:
    """Open an Arrow file or stream, memory-mapped, with its number of batches (None: a stream)."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        if source.size() >= 6 and source.read(6) == b"ARROW1":
            source.seek(0)
            reader = pa.ipc.open_file(source)
            yield reader, int(reader.num_record_batches)
            return
        source.seek(0)
        yield pa.ipc.open_stream(source), None


def table_rows(batch: pa.RecordBatch, number: int) -> Iterator[Row]:
    """Yield the rows of a record batch one by one, the first of them `number`."""
    for index in range(batch.num_rows):
        yield _row(batch, index, number + index)


def _row(batch: pa.RecordBatch, index: int, number: int) -> Row:
    names = batch.schema.names
    try:
        values = {name: batch.column(i)[index].as_py() for i, name in enumerate(names)}
    except (UnicodeDecodeError, ValueError, OverflowError) as error:
        raw = bytes(error.object) if isinstance(error, UnicodeDecodeError) else b""
        reason = "invalid UTF-8" if raw else f"unreadable value ({type(error).__name__})"
        return Row(number, None, None, reason, sha256_bytes(raw))
    return Row(number, None, values)


def _bad_file(path: Path, number: int, reason: str) -> Row:
    return Row(number, None, None, reason, sha256_file(path))


def sound_roles(batch: pa.RecordBatch, wanted: Wanted) -> dict[str, list[pa.Array]] | None:
    """Return the columns by role, or None when the rows must be judged one by one."""
    import pyarrow as pa

    roles: dict[str, list[pa.Array]] = {}
    for role, options in wanted.items():
        roles[role] = []
        for name in options:
            if batch.schema.get_field_index(name) < 0:
                continue
            array = _as_text(batch.column(name), number=role == "id")
            if array is None or (array.type == pa.large_string() and not _is_sound(array)):
                return None
            roles[role].append(array)
    return roles if roles.get("text") or roles.get("prompt") else None


def _as_text(array: pa.Array, *, number: bool) -> pa.Array | None:
    """Return a column as large_string (an id: perhaps as numbers), or None when it is no text."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_large_string(kind) or (number and pa.types.is_integer(kind)):
        return array
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            return None
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    view = pa.types.is_string_view(kind)
    return array.cast(pa.large_string()) if text or view or pa.types.is_null(kind) else None


def _is_sound(array: pa.LargeStringArray) -> bool:
    """Say whether a column is valid UTF-8 without NUL."""
    import pyarrow as pa

    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    offsets, data = buffers(array)
    text = data[offsets[0] : offsets[-1]]
    return len(text) == 0 or int(text.min()) > 0
