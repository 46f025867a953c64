"""Which spans go, by file and row; and what that means for one row, checked against its text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from forgetkit.corpus.accept import wanted_columns
from forgetkit.corpus.columns import derived_id
from forgetkit.decisions import current
from forgetkit.errors import InputError
from forgetkit.files import sha256_bytes
from forgetkit.redact.config import RedactConfig
from forgetkit.redact.edits import Edit, applied, cuts, masks
from forgetkit.spans import Span, read_spans

FRESH = "Run `forgetkit mine` on this corpus again."


@dataclass(frozen=True)
class Mark:
    """One accepted span, without its text."""

    span_id: str
    doc_id: str
    field: str
    start: int
    end: int
    sha256: str
    work_id: str | None
    cluster_id: str | None
    detector: str
    category: str

    @staticmethod
    def of(span: Span) -> Mark:
        """Keep of a span what names and checks it."""
        return Mark(
            span.span_id,
            span.doc_id,
            span.field,
            span.start,
            span.end,
            span.text_sha256,
            span.work_id,
            span.cluster_id,
            span.detector,
            span.category,
        )


Marks = dict[str, dict[int, list[Mark]]]
"""Accepted spans by file and row."""


def accepted_marks(spans: Path, decisions: Path | None, *, accept_all: bool) -> Marks:
    """Read the spans that were accepted.

    Args:
        spans: a spans file.
        decisions: of a review; without it no span counts, unless `accept_all`.
        accept_all: a span without a decision counts as accepted.

    Raises:
        InputError: there are spans, and none is accepted.
    """
    found = read_spans(spans)
    decided = current(decisions) if decisions is not None else {}
    marks: Marks = {}
    for span in found:
        decision = decided.get(span.span_id)
        if decision.accepted if decision else accept_all:
            label, _, row = span.source.rpartition(":")
            marks.setdefault(label, {}).setdefault(int(row), []).append(Mark.of(span))
    if found and not marks:
        raise InputError(
            "no span is accepted",
            where=str(spans),
            found=f"{len(found)} spans",
            mend="Give --decisions, or --accept-all.",
        )
    return marks


@dataclass
class Redaction:
    """The redaction of one file: judges rows, keeps the books.

    Attributes:
        label: the file, as in a document's source.
        marks: accepted spans by row.
        config: settings.
        rows: rows read.
        outcomes: what became of each row that holds a span: dropped, cut, masked, or emptied
            when a cut left nothing.
    """

    label: str
    marks: Mapping[int, Sequence[Mark]]
    config: RedactConfig
    rows: int = 0
    outcomes: dict[int, str] = field(default_factory=dict)

    @cached_property
    def _marked(self) -> list[int]:
        return sorted(self.marks)

    def marked(self, first: int, last: int) -> list[int]:
        """Return the rows from `first` to `last`, both included, that hold spans."""
        rows = self._marked
        return rows[bisect_left(rows, first) : bisect_right(rows, last)]

    def judge(self, row: int, values: Mapping[str, Any] | None) -> dict[str, list[Edit]] | None:
        """Say what changes in a row that holds spans: edits by column; None when it goes.

        Raises:
            InputError: the row is not what it was when the spans were found.
        """
        if values is None:
            raise self._stale(row, self.marks[row][0])
        texts: dict[str, tuple[str, list[tuple[int, int]]]] = {}
        for mark in self.marks[row]:
            column, text = self._text(row, mark, values)
            texts.setdefault(column, (text, []))[1].append((mark.start, mark.end))
        mode = self.config.mode
        if mode == "drop":
            self.outcomes[row] = "dropped"
            return None
        edits: dict[str, list[Edit]] = {}
        for column, (text, ranges) in texts.items():
            if mode == "mask":
                edits[column] = masks(ranges, self.config.placeholder)
            else:
                edits[column] = cuts(text, ranges)
            if not applied(text, edits[column]).strip():
                self.outcomes[row] = "emptied"
                return None
        self.outcomes[row] = "masked" if mode == "mask" else "cut"
        return edits

    def _text(self, row: int, mark: Mark, values: Mapping[str, Any]) -> tuple[str, str]:
        """Return the column and the text that a span is in, after checking that it is there."""
        wanted = wanted_columns(self.config.columns)
        names = (n for n in wanted.get(mark.field, ()) if values.get(n) is not None)
        column = next(names, "")
        text = values.get(column)
        ids = (values[n] for n in wanted["id"] if values.get(n) is not None)
        doc_id = str(next(ids, derived_id(f"{self.label}:{row}")))
        there = text[mark.start : mark.end] if isinstance(text, str) else ""
        same = sha256_bytes(there.encode("utf-8", "surrogatepass")) == mark.sha256
        if not isinstance(text, str) or not same or doc_id != mark.doc_id:
            raise self._stale(row, mark)
        return column, text

    def _stale(self, row: int, mark: Mark) -> InputError:
        return InputError(
            "the corpus is not what it was when the spans were found",
            where=f"{self.label}:{row}",
            found=f"another text at {mark.field}[{mark.start}:{mark.end}] (span {mark.span_id})",
            mend=FRESH,
        )

    def finish(self) -> dict[str, int]:
        """Return the counts of the file.

        Raises:
            InputError: a row that holds a span was not met.
        """
        missed = sorted(set(self.marks) - set(self.outcomes))
        if missed:
            raise self._stale(missed[0], self.marks[missed[0]][0])
        words = list(self.outcomes.values())
        gone = words.count("dropped") + words.count("emptied")
        return {
            "documents": self.rows,
            "kept": self.rows - len(words),
            "changed": len(words) - gone,
            "dropped": words.count("dropped"),
            "emptied": words.count("emptied"),
        }

    def tombstones(self) -> list[dict[str, Any]]:
        """Return what was removed, a row a span, by place and digest, never by text."""
        return [
            vars(mark) | {"file": self.label, "row": row, "mode": self.config.mode}
            | {"outcome": self.outcomes[row]}
            for row, marks in sorted(self.marks.items())
            for mark in sorted(marks, key=lambda m: (m.field, m.start, m.end, m.span_id))
        ]  # fmt: skip
