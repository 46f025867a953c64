"""The books of tasks: rows read and kept by file, and the bad ones, out of the parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.corpus import Counts, Quarantine
from forgetkit.corpus.quarantine import nothing_kept
from forgetkit.engine.parts import Part
from forgetkit.errors import TooManyBadRowsError
from forgetkit.files import atomic_stream, canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

QUARANTINE = "quarantine"
_AT_ONCE = 4096


def books_output(quarantine: Quarantine) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """Return the tables and the counts that carry the books of one task."""
    import pyarrow as pa

    counts = {file: asdict(books) for file, books in quarantine.files.items()}
    if not quarantine.rows:
        return {}, {"books": counts}
    ordered = sorted(quarantine.rows, key=lambda row: (row.file, row.line))
    table = pa.Table.from_pylist([asdict(row) for row in ordered])
    return {QUARANTINE: table}, {"books": counts}


def books_of(parts: Sequence[Part]) -> dict[str, Counts]:
    """Return the books by file, over all tasks."""
    books: dict[str, Counts] = {}
    for part in parts:
        for file, counts in part.counts["books"].items():
            books[file] = books.get(file, Counts()) + Counts(**counts)
    return dict(sorted(books.items()))


def bad_rows(parts: Sequence[Part]) -> Iterator[list[dict[str, Any]]]:
    """Yield the bad rows in order of file and line, a few thousand at a time."""
    for part in parts:
        table = part.table(QUARANTINE)
        for start in range(0, table.num_rows if table is not None else 0, _AT_ONCE):
            yield table.slice(start, _AT_ONCE).to_pylist() if table is not None else []


def write_quarantine(parts: Sequence[Part], path: Path) -> None:
    """Write `quarantine.jsonl` from the parts, in order of file and line."""
    with atomic_stream(path) as stream:
        for rows in bad_rows(parts):
            stream.writelines((canonical_json(row) + "\n").encode() for row in rows)


def check_bad_rows(parts: Sequence[Part], most: int | None) -> None:
    """Compare the number of bad rows with what is allowed.

    Args:
        parts: of all tasks.
        most: rows that may be bad; None means the larger of 10 and 0.1 % of the rows read.

    Raises:
        TooManyBadRowsError: there are more.
    """
    total = sum(books_of(parts).values(), Counts())
    allowed = max(10, total.read // 1000) if most is None else most
    if total.quarantined > allowed:
        row = next(bad_rows(parts))[0]
        raise TooManyBadRowsError(
            f"{total.quarantined} bad rows, {allowed} allowed",
            where=f"{row['file']}:{row['line']}",
            found=row["reason"],
            mend="See quarantine.jsonl, or raise --max-bad-rows.",
        )


def check_not_empty(parts: Sequence[Part], corpus: Sequence[Path]) -> None:
    """Refuse a corpus without a document.

    Raises:
        InputError: no row was kept.
    """
    total = sum(books_of(parts).values(), Counts())
    if total.kept == 0:
        first = next(bad_rows(parts))[0]["reason"] if total.quarantined else ""
        raise nothing_kept(corpus, total, first, "See quarantine.jsonl.")
