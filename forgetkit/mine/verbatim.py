"""Detector `verbatim`: copies of the works, exact or lightly edited."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from forgetkit.corpus import Document, DocumentBatch
from forgetkit.errors import UsageError
from forgetkit.match import IndexParams, Match, Policy, WorkIndex, search
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
        InputError: an index of works or of texts to ignore is none.
        TamperedError: such a file was changed.
    """

    def __init__(self, sought: Sought, config: MineConfig) -> None:
        if not sought.works:
            raise UsageError("the verbatim detector needs works", mend="Give --works.")
        least = Policy(config.min_chars, config.min_words, config.min_identity)
        ignored = tuple(WorkIndex.open(Path(name), least) for name in config.ignore)
        policy = replace(least, max_works=config.max_works, ignore=ignored)
        used = {
            "dropped_in_many_works": config.max_works is not None,
            "dropped_as_ignored": bool(config.ignore),
        }
        self._policies = [name for name, is_used in used.items() if is_used]
        self._indexes = [WorkIndex.open(path, policy) for path in sought.indexes]
        held = {name for index in self._indexes for name in index.names}
        texts = {work.work_id: work.text for work in sought.works if work.work_id not in held}
        if texts:
            params = IndexParams(config.seed_symbols, config.seed_density)
            self._indexes.append(WorkIndex(texts, params, policy))

    def look(self, batch: DocumentBatch) -> Found:
        """Return the copies in a batch, and how many copies each policy in use dropped."""
        spans = []
        dropped: Counter[str] = Counter()
        for field, column in batch.columns.items():
            found = search(self._indexes, column)
            dropped.update(dropped_in_many_works=found.common, dropped_as_ignored=found.ignored)
            for row, matches in itertools.groupby(found.hits, key=lambda hit: hit[0]):
                document = batch.document(row)
                spans += [_span(document, field, match) for _, match in matches]
        return Found(spans, counts={name: dropped[name] for name in self._policies})

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Return nothing: `look` said it all."""
        return []

    def report(self) -> dict[str, int | float | str]:
        """Return nothing more than `look` counted: every document was read to its end."""
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
