"""Parquet: the same row groups, columns, metadata and compression, without the spans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from forgetkit.redact.arrows import redacted_batch
from forgetkit.redact.marks import Redaction
from forgetkit.redact.streams import Digested

_VERSIONS = ("1.0", "2.4", "2.6")


def rewrite_parquet(path: Path, sink: Digested, redaction: Redaction) -> None:
    """Write a Parquet file without the spans, one row group for each that keeps rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file:
        if sink.counts_only:
            redaction.rows = file.metadata.num_rows
            return
        settings = writer_settings(file.metadata, file.schema_arrow)
        with pq.ParquetWriter(pa.PythonFile(sink, "w"), file.schema_arrow, **settings) as writer:
            for group in range(file.metadata.num_row_groups):
                table = file.read_row_group(group, use_threads=False).combine_chunks()
                (batch,) = table.to_batches() or [None]
                left = redacted_batch(batch, redaction) if batch is not None else None
                if left is not None and left.num_rows:
                    writer.write_table(pa.Table.from_batches([left]), left.num_rows)


def writer_settings(metadata: Any, schema: Any) -> dict[str, Any]:
    """Return how a file was written, as far as its metadata tell, for `ParquetWriter`."""
    settings: dict[str, Any] = {
        "version": metadata.format_version if metadata.format_version in _VERSIONS else "2.6",
        "store_schema": b"ARROW:schema" in (metadata.metadata or {}),
    }
    if not metadata.num_row_groups:
        return settings
    group = metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    settings["compression"] = {
        c.path_in_schema: c.compression.lower().replace("uncompressed", "none") for c in columns
    }
    settings["use_dictionary"] = [c.path_in_schema for c in columns if c.has_dictionary_page]
    settings["write_statistics"] = [c.path_in_schema for c in columns if c.is_stats_set]
    return settings
