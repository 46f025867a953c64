"""Which reader opens which file, by the ending of its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from forgetkit.corpus.rows import Row, csv_rows, jsonl_rows, text_rows
from forgetkit.corpus.tables import arrow_rows, parquet_rows
from forgetkit.corpus.warc import warc_rows

FORMATS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": jsonl_rows,
    ".json": jsonl_rows,
    ".csv": csv_rows,
    ".txt": text_rows,
    ".md": text_rows,
    ".parquet": parquet_rows,
    ".arrow": arrow_rows,
    ".feather": arrow_rows,
    ".warc": warc_rows,
    ".wet": warc_rows,
}
_COMPRESSED = (".gz", ".zst")
_STREAMED = (".jsonl", ".json", ".csv", ".warc", ".wet")


def format_of(path: Path) -> Callable[[Path], Iterator[Row]] | None:
    """Return the reader for a file by its name; None when it is of no known kind.

    >>> format_of(Path("a.jsonl.gz")) is jsonl_rows
    True
    """
    suffix = path.suffix.lower()
    if suffix in _COMPRESSED:
        suffix = Path(path.stem).suffix.lower()
        return FORMATS[suffix] if suffix in _STREAMED else None
    return FORMATS.get(suffix)
