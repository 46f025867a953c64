"""Spans: what `mine` finds, `dedupe` groups, people decide on and `build` reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import schema
from forgetkit.errors import InputError
from forgetkit.files import atomic_path, sha256_bytes

if TYPE_CHECKING:
    import pyarrow as pa

_DERIVED = ("span_id", "text_sha256")
_NEEDED = frozenset(
    {"doc_id", "source", "field", "start", "end", "detector", "category", "score", "text"}
)


@dataclass(frozen=True)
class Span:
    """One piece of one document.

    Attributes:
        doc_id: id of the document in its corpus.
        source: `file:row`, the row counted from 1.
        field: the column of the document (`text`, `prompt`, `answer`).
        start: first code point in the original text.
        end: one past the last code point.
        detector: verbatim, semantic, harm or pattern.
        category: what it is (`copy`, `toxicity`, ...).
        score: the detector's score in [0, 1].
        work_id: the work it comes from, if any.
        work_start: first code point in the work.
        work_end: one past the last code point in the work.
        similarity: share of the span's symbols that match the work, or the cosine, in [0, 1].
        edit_class: verbatim, normalised or edited; empty for other detectors.
        is_quote: it stands in quotation marks, or is attributed.
        cluster_id: the group of copies it belongs to; null before `dedupe`.
        text: the piece itself.
        prompt: the whole prompt of a prompt-answer document, else null.
        answer: the whole answer of a prompt-answer document, else null.
    """

    doc_id: str
    source: str
    field: str
    start: int
    end: int
    detector: str
    category: str
    score: float
    text: str
    work_id: str | None = None
    work_start: int | None = None
    work_end: int | None = None
    similarity: float | None = None
    edit_class: str = ""
    is_quote: bool = False
    cluster_id: str | None = None
    prompt: str | None = None
    answer: str | None = None

    @property
    def span_id(self) -> str:
        """Name the span by where it is and who found it: stable from run to run."""
        key = (self.source, self.doc_id, self.field, self.start, self.end, self.detector)
        return sha256_bytes("\0".join(map(str, (*key, self.category))).encode())[:16]

    @property
    def text_sha256(self) -> str:
        """Return the digest of the span's text."""
        return sha256_bytes(self.text.encode("utf-8", "surrogatepass"))

    @property
    def place(self) -> tuple[str, int, str, int, int, str, str]:
        """Return where it stands: the order of all spans, by file and number of the row."""
        file, _, row = self.source.rpartition(":")
        number = int(row) if row.isdecimal() else 0
        where = (file if row.isdecimal() else self.source, number, self.field)
        return (*where, self.start, self.end, self.detector, self.category)

    def row(self) -> dict[str, Any]:
        """Return the span as a row of `spans.parquet`."""
        return vars(self) | {"span_id": self.span_id, "text_sha256": self.text_sha256}

    @staticmethod
    def of_row(row: Mapping[str, Any]) -> Span:
        """Return the span of a row."""
        return Span(**{name: value for name, value in row.items() if name not in _DERIVED})

    def in_cluster(self, cluster_id: str) -> Span:
        """Return the same span with its cluster."""
        return replace(self, cluster_id=cluster_id)


def write_spans(path: Path, spans: list[Span]) -> None:
    """Write `spans.parquet` in the order of `mine`, mode 0600 (it holds protected text)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [span.row() for span in sorted(spans, key=lambda s: (s.place, s.span_id))]
    with atomic_path(path, private=True) as temporary:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema.spans()), temporary)


def read_spans(path: Path) -> list[Span]:
    """Read `spans.parquet`.

    Raises:
        InputError: the file is missing, is not Parquet, or lacks a column or has one of another
            type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise InputError("no such spans file", where=str(path), mend="Run `forgetkit mine` first.")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError("is not a spans file", where=str(path), found=str(error)) from error
    missing = set(schema.spans().names) - set(table.column_names)
    if missing:
        raise InputError("lacks columns", where=str(path), found=", ".join(sorted(missing)))
    for field in schema.spans():
        column = table.column(field.name)
        if not _is_kind(column.type, field.type):
            raise InputError(
                f"column '{field.name}' holds no {field.type}",
                where=str(path),
                found=str(column.type),
            )
        if column.null_count and field.name in _NEEDED:
            raise InputError(f"column '{field.name}' has empty cells", where=str(path))
    names = [name for name in schema.spans().names if name not in _DERIVED]
    return [Span(**row) for row in table.select(names).to_pylist()]


def _is_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Say whether values of a type can stand for those of another: wide or narrow, or all null."""
    import pyarrow.types as of

    if of.is_dictionary(found):
        found = found.value_type
    if of.is_null(found):
        return True
    if of.is_integer(wanted):
        return bool(of.is_integer(found))
    if of.is_floating(wanted):
        return bool(of.is_floating(found) or of.is_integer(found))
    if of.is_boolean(wanted):
        return bool(of.is_boolean(found))
    return bool(of.is_string(found) or of.is_large_string(found) or of.is_string_view(found))
