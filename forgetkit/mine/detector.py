"""What every detector looks like, and the windows of sentences that two of them read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from forgetkit.corpus import Document, DocumentBatch, Work
from forgetkit.progress import Progress
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

_SENTENCE = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n[ \t]*\n\s*")


@dataclass(frozen=True)
class Sought:
    """What is looked for.

    Attributes:
        works: protected works, those of the indexes among them.
        seeds: single texts that stand for what is looked for.
        seed_ids: what each is called in spans, as `seed:3`; by number where none are given.
        indexes: files that hold some of the works ready for the verbatim detector.
    """

    works: tuple[Work, ...] = ()
    seeds: tuple[str, ...] = ()
    indexes: tuple[Path, ...] = ()
    seed_ids: tuple[str, ...] = ()

    def seeds_by_id(self) -> dict[str, str]:
        """Return the seeds by what they are called."""
        numbers = range(1, len(self.seeds) + 1)
        names = self.seed_ids or tuple(f"seed:{number}" for number in numbers)
        return dict(zip(names, self.seeds, strict=True))


@dataclass(frozen=True)
class Found:
    """What one batch gave.

    Attributes:
        spans: what is certain at once, in order of row.
        candidates: what `finish` shall judge, one row each in order of the documents, in columns
            of the detector's own choice; None where there is nothing.
        counts: numbers that add up over batches; they appear in the detector's report.
    """

    spans: list[Span] = field(default_factory=list)
    candidates: pa.Table | None = None
    counts: dict[str, int] = field(default_factory=dict)


class Detector(Protocol):
    """Find spans in two steps: a cheap look at every batch, then one judgement of what it kept.

    `look` is pure (no state of the detector changes) and may run in several threads at once, in
    other processes and on other machines: a detector is made anew there from the same arguments,
    so equal arguments must give equal detectors. `finish` runs once, in one process.
    """

    def look(self, batch: DocumentBatch) -> Found:
        """Return spans of one batch, and candidates for `finish`."""

    def finish(self, candidates: pa.Table | None, progress: Progress) -> list[Span]:
        """Return the spans among the candidates of all batches, in order of file and row."""

    def report(self) -> dict[str, int | float | str]:
        """Return what is worth knowing, above all what was not looked at."""


@runtime_checkable
class Thinning(Protocol):
    """A detector that needs only some of the candidates of many batches."""

    def thin(self, candidates: pa.Table) -> pa.Table:
        """Return what is left of the candidates of some batches, in their order."""


@dataclass(frozen=True)
class Window:
    """A piece of a text made of whole sentences: `[start, end)` in code points."""

    start: int
    end: int


def sentences(text: str) -> list[Window]:
    """Return the sentences of a text, without the space around them.

    >>> [(w.start, w.end) for w in sentences("One. Two!")]
    [(0, 4), (5, 9)]
    """
    found = []
    start = 0
    for gap in [*_SENTENCE.finditer(text), None]:
        end = gap.start() if gap else len(text)
        if gap:
            closing = len(gap.group()) - len(gap.group().lstrip("\"'”’)]"))
            end += closing
        piece = text[start:end]
        if piece.strip():
            lead = len(piece) - len(piece.lstrip())
            found.append(Window(start + lead, start + len(piece.rstrip())))
        start = gap.end() if gap else end
    return found


def windows(text: str, length: int, *, overlap: bool = False) -> list[Window]:
    """Cut a text into windows of whole sentences.

    Args:
        text: the text.
        length: code points that a window holds at most, unless one sentence is longer; such a
            sentence is cut.
        overlap: start a window at every half window, so that each passage stands well inside one.
    """
    pieces = [part for sentence in sentences(text) for part in _cut(sentence, length)]
    found: list[Window] = []
    first = 0
    while first < len(pieces):
        last = first
        while last + 1 < len(pieces) and pieces[last + 1].end - pieces[first].start <= length:
            last += 1
        found.append(Window(pieces[first].start, pieces[last].end))
        if last + 1 == len(pieces):
            break
        first = max(first + 1, (first + last + 1) // 2) if overlap else last + 1
    return found


def _cut(sentence: Window, length: int) -> list[Window]:
    starts = range(sentence.start, sentence.end, length)
    return [Window(start, min(start + length, sentence.end)) for start in starts]


def span_of(
    document: Document,
    field: str,
    start: int,
    end: int,
    *,
    detector: str,
    category: str,
    score: float,
) -> Span:
    """Return a span of one column of a document, with its text."""
    text = dict(document.fields())[field]
    return Span(
        doc_id=document.doc_id,
        source=document.source,
        field=field,
        start=start,
        end=end,
        detector=detector,
        category=category,
        score=round(float(score), 4),
        text=text[start:end],
        prompt=document.prompt if document.is_pair else None,
        answer=document.answer if document.is_pair else None,
    )


@dataclass(frozen=True)
class Hit:
    """A window that counts, with the place of a work that it resembles, if any."""

    window: Window
    score: float
    work_id: str | None = None
    work_start: int | None = None
    work_end: int | None = None


def merged(hits: Iterable[Hit], text: str) -> list[Hit]:
    """Join hits that follow each other with nothing but space between, the best score kept.

    Hits of different works stay apart.
    """
    joined: list[Hit] = []
    for hit in sorted(hits, key=lambda h: (h.work_id or "", h.window.start)):
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.work_id == hit.work_id
            and not text[last.window.end : hit.window.start].strip()
        ):
            best = max(last, hit, key=lambda h: h.score)
            joined[-1] = replace(best, window=Window(last.window.start, hit.window.end))
        else:
            joined.append(hit)
    return sorted(joined, key=lambda h: h.window.start)
