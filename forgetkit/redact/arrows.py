"""Arrow files and streams: batches without a span stay whole, the schema and its metadata too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from forgetkit.corpus.tables import open_arrow
from forgetkit.redact.edits import applied
from forgetkit.redact.marks import Redaction
from forgetkit.redact.streams import Digested

if TYPE_CHECKING:
    import pyarrow as pa

_MAGICS = {b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}


def rewrite_arrow(path: Path, sink: Digested, redaction: Redaction) -> None:
    """Write the batches of an Arrow file or stream without the spans."""
    import pyarrow as pa

    with open_arrow(path) as (reader, count):
        is_file = count is not None
        batches = iter(reader) if count is None else map(reader.get_batch, range(count))
        if sink.counts_only:
            redaction.rows = sum(batch.num_rows for batch in batches)
            return
        options = pa.ipc.IpcWriteOptions(compression=_codec(path, is_file))
        opened = pa.ipc.new_file if is_file else pa.ipc.new_stream
        with opened(pa.PythonFile(sink, "w"), reader.schema, options=options) as writer:
            for batch in batches:
                writer.write_batch(redacted_batch(batch, redaction))


def _codec(path: Path, is_file: bool) -> str | None:
    """Return the compression of the first record batch's buffers, by the magic of its frame."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as source:
        source.seek(8 if is_file else 0)
        for message in pa.ipc.MessageReader.open_stream(source):
            if message.type == "record batch" and message.body is not None:
                return _MAGICS.get(message.body.slice(8, 4).to_pybytes())
    return None


Changes = dict[str, dict[int, str]]
"""New texts by column and place in the batch."""


def redacted_batch(batch: pa.RecordBatch, redaction: Redaction) -> pa.RecordBatch:
    """Return a batch after redaction; its rows follow those that the redaction has seen."""
    return edited_batch(batch, *judged_batch(batch, redaction))


def judged_batch(batch: pa.RecordBatch, redaction: Redaction) -> tuple[list[int], Changes]:
    """Return the places of the rows that go, and what changes in the others."""
    first = redaction.rows + 1
    redaction.rows += batch.num_rows
    goes: list[int] = []
    changes: Changes = {}
    for row in redaction.marked(first, redaction.rows):
        place = row - first
        values = {name: batch.column(i)[place].as_py() for i, name in enumerate(batch.schema.names)}
        edits = redaction.judge(row, values)
        if edits is None:
            goes.append(place)
            continue
        for column, changed in edits.items():
            changes.setdefault(column, {})[place] = applied(values[column], changed)
    return goes, changes


def edited_batch(batch: pa.RecordBatch, goes: list[int], changes: Changes) -> pa.RecordBatch:
    """Return a batch with other texts and without some rows."""
    for column, texts in changes.items():
        batch = _replaced(batch, column, texts)
    return _without(batch, goes)


def _replaced(batch: pa.RecordBatch, column: str, texts: dict[int, str]) -> pa.RecordBatch:
    import pyarrow as pa

    place = batch.schema.names.index(column)
    field = batch.schema.field(place)
    values = batch.column(place).to_pylist()
    for at, text in texts.items():
        values[at] = text
    return batch.set_column(place, field, pa.array(values, field.type))


def _without(batch: pa.RecordBatch, places: list[int]) -> pa.RecordBatch:
    import numpy as np
    import pyarrow as pa

    if not places:
        return batch
    keeps = np.ones(batch.num_rows, bool)
    keeps[places] = False
    return batch.filter(pa.array(keeps))
