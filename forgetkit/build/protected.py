"""Ordinary rows that hold the protected text itself: nobody may train on them to keep them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from forgetkit.build.books import Books
from forgetkit.build.overlap import runs_of
from forgetkit.corpus import Document, Work
from forgetkit.spans import Span


def protected_runs(works: Iterable[Work], spans: Iterable[Span], size: int) -> set[str]:
    """Return every run of `size` words of the works and of the accepted spans."""
    found: set[str] = set()
    for work in works:
        found.update(runs_of(work.text, size))
    for span in spans:
        whole = span.text if span.prompt is None else f"{span.prompt} {span.answer or ''}"
        found.update(runs_of(whole, size))
    return found


def without_protected(
    documents: Sequence[Document], protected: set[str], size: int, books: Books
) -> list[Document]:
    """Leave out, and count, the rows that share a run of words with protected text."""
    kept = [d for d in documents if protected.isdisjoint(runs_of(d.whole(), size))]
    books.count("ordinary rows that hold protected text", len(documents) - len(kept))
    return kept
