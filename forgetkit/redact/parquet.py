"""Parquet: what holds no span is copied as bytes: row groups, and columns of changed ones."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from forgetkit.corpus.accept import wanted_columns
from forgetkit.redact.arrows import edited_batch, judged_batch, redacted_batch
from forgetkit.redact.footer import (
    COLUMNS,
    GROUP_ROWS,
    GROUPS,
    OFFSETS,
    Chunk,
    Writer,
    chunks_of,
    columns_of,
    read_footer,
)
from forgetkit.redact.marks import Redaction
from forgetkit.redact.streams import Digested
from forgetkit.redact.thrift import Struct

_VERSIONS = ("1.0", "2.4", "2.6")


def rewrite_parquet(path: Path, sink: Digested, redaction: Redaction) -> None:
    """Write a Parquet file without the spans.

    Row groups without a span are copied as they are. Where one only has texts changed, its other
    columns are copied too; one that loses rows is encoded anew with the compression it had, and
    goes when it loses all of them. A file whose columns come out otherwise when they are encoded
    anew (old writers' lists) is encoded anew as a whole, row group by row group.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file, path.open("rb") as stream:
        if sink.counts_only:
            redaction.rows = file.metadata.num_rows
            return
        source = _Source(file, stream, read_footer(stream, str(path)))
        if source.can_be_mixed():
            source.splice(Writer(sink, source.metadata), redaction)
            return
        settings = source.settings(0)
        with pq.ParquetWriter(pa.PythonFile(sink, "w"), file.schema_arrow, **settings) as writer:
            for number in range(file.metadata.num_row_groups):
                left = redacted_batch(source.read(number), redaction)
                if left.num_rows:
                    writer.write_table(pa.Table.from_batches([left]), left.num_rows)


@dataclass(frozen=True)
class _Source:
    """The file that is read: by pyarrow, as bytes, and its footer."""

    file: Any
    stream: BinaryIO
    metadata: Struct

    def can_be_mixed(self) -> bool:
        """Say whether chunks that pyarrow encodes fit the schema of the file."""
        if not self.file.metadata.num_row_groups:
            return True
        empty = self._encoded(self.file.schema_arrow.empty_table(), 0)
        return columns_of(empty) == columns_of(self.metadata)

    def splice(self, writer: Writer, redaction: Redaction) -> None:
        """Write every row group, as bytes where no span is in it."""
        for number, group in enumerate(self.metadata.get(GROUPS).values):
            rows = group.get(GROUP_ROWS)
            if redaction.marked(redaction.rows + 1, redaction.rows + rows):
                self._changed(number, group, writer, redaction)
            else:
                redaction.rows += rows
                writer.group(group, chunks_of(group, self.stream), rows, resorted=False)
        writer.close()

    def _changed(self, number: int, group: Struct, writer: Writer, redaction: Redaction) -> None:
        roles = wanted_columns(redaction.config.columns).values()
        wanted = {name for names in roles for name in names}
        names = [name for name in self.file.schema_arrow.names if name in wanted]
        batch = self.read(number, names)
        goes, changes = judged_batch(batch, redaction)
        batch = self.read(number) if goes else batch.select(list(changes))
        batch = edited_batch(batch, goes, changes)
        if not batch.num_rows:
            return
        new = self._chunks(batch, number)
        chunks = [new.get(chunk.path, chunk) for chunk in chunks_of(group, self.stream)]
        writer.group(group, chunks, batch.num_rows, resorted=bool(changes))

    def read(self, number: int, names: list[str] | None = None) -> Any:
        """Return a row group as one record batch."""
        import pyarrow as pa

        table = self.file.read_row_group(number, columns=names, use_threads=False)
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)

    def _chunks(self, batch: Any, number: int) -> Mapping[tuple[bytes, ...], Chunk]:
        """Return the column chunks of a batch, encoded as those of the row group were."""
        import pyarrow as pa

        buffer = io.BytesIO()
        made = self._encoded(pa.Table.from_batches([batch]), number, buffer)
        return {chunk.path: chunk for chunk in chunks_of(made.get(GROUPS).values[0], buffer)}

    def _encoded(self, table: Any, number: int, buffer: io.BytesIO | None = None) -> Struct:
        import pyarrow.parquet as pq

        buffer = buffer or io.BytesIO()
        with pq.ParquetWriter(buffer, table.schema, **self.settings(number)) as writer:
            writer.write_table(table, max(1, table.num_rows))
        return read_footer(buffer, "")

    def settings(self, number: int) -> dict[str, Any]:
        """Return how a row group was written, as far as its metadata tell, for pyarrow."""
        whole = self.file.metadata
        settings: dict[str, Any] = {
            "version": whole.format_version if whole.format_version in _VERSIONS else "2.6",
            "store_schema": b"ARROW:schema" in (whole.metadata or {}),
        }
        if not whole.num_row_groups:
            return settings
        group, struct = whole.row_group(number), self.metadata.get(GROUPS).values[number]
        columns = [group.column(i) for i in range(group.num_columns)]
        return settings | {
            "compression": {
                c.path_in_schema: c.compression.lower().replace("uncompressed", "none")
                for c in columns
            },
            "use_dictionary": [c.path_in_schema for c in columns if c.has_dictionary_page],
            "write_statistics": [c.path_in_schema for c in columns if c.is_stats_set],
            "write_page_index": any(c.get(OFFSETS) for c in struct.get(COLUMNS).values),
            "use_deprecated_int96_timestamps": any(c.physical_type == "INT96" for c in columns),
        }
