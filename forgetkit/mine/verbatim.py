"""Detector `verbatim`: copies of the works, exact or lightly edited."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.corpus import Document, DocumentBatch
from forgetkit.errors import UsageError
from forgetkit.match import WorkIndex
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
        documents = map(batch.document, range(len(batch)))
        return Found([span for document in documents for span in self._copies(document)])

    def _copies(self, document: Document) -> list[Span]:
        spans = []
        for field, text in document.fields():
            for match in self._index.find(text):
                span = span_of(
                    document,
                    field,
                    match.start,
                    match.end,
                    detector="verbatim",
                    category="copy",
                    score=match.similarity,
                )
                spans.append(
                    replace(
                        span,
                        work_id=match.work_id,
                        work_start=match.work_start,
                        work_end=match.work_end,
                        similarity=match.similarity,
                        edit_class=match.edit_class,
                        is_quote=match.is_quote,
                    )
                )
        return spans

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Return nothing: `look` said it all."""
        return []

    def report(self) -> dict[str, int | float | str]:
        """Return nothing: every document was read to its end."""
        return {}
