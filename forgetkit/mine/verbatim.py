"""Detector `verbatim`: copies of the works, exact or lightly edited."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.corpus import Document, DocumentBatch
from forgetkit.errors import UsageError
from forgetkit.match import Match, WorkIndex
from forgetkit.mine.config import MineConfig
from forgetkit.mine.detector import Found, Sought, span_of
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa


class Verbatim:
    """Look each document up in an index of the works.

    Raises:
        UsageError: there is no work to look for.
    """

    def __init__(self, sought: Sought, config: MineConfig) -> None:
        if not sought.works:
            raise UsageError("the verbatim detector needs works", mend="Give --works.")
        self._index = WorkIndex(
            {work.work_id: work.text for work in sought.works},
            seed=config.seed_symbols,
            min_chars=config.min_chars,
            min_words=config.min_words,
            min_identity=config.min_identity,
        )

    def look(self, batch: DocumentBatch) -> Found:
        """Return the copies in a batch."""
        spans = []
        for field, column in batch.columns.items():
            found = self._index.find_column(column)
            for row, matches in itertools.groupby(found, key=lambda hit: hit[0]):
                document = batch.document(row)
                spans += [_span(document, field, match) for _, match in matches]
        return Found(spans)

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Return nothing: `look` said it all."""
        return []

    def report(self) -> dict[str, int | float | str]:
        """Return nothing: every document was read to its end."""
        return {}


def _span(document: Document, field: str, match: Match) -> Span:
    span = span_of(
        document,
        field,
        match.start,
        match.end,
        detector="verbatim",
        category="copy",
        score=match.similarity,
    )
    return replace(
        span,
        work_id=match.work_id,
        work_start=match.work_start,
        work_end=match.work_end,
        similarity=match.similarity,
        edit_class=match.edit_class,
        is_quote=match.is_quote,
    )
