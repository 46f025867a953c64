"""Passages: what accepted spans of running text ask to forget, each once however often copied."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from forgetkit.corpus import Document, Work
from forgetkit.errors import InputError
from forgetkit.spans import Span

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Passage:
    """A text to suppress: `text[start:end]`, once however many copies the corpus holds.

    Attributes:
        group: its cluster.
        work_id: its work, or empty.
        text: the whole work, or the span's own text where no work is given.
        start: first code point.
        end: one past the last.
        copies: spans of the corpus that hold it.
        source: where it comes from.
        protected: ranges inside that some span holds, merged; empty: all of it.
    """

    group: str
    work_id: str
    text: str
    start: int
    end: int
    copies: int
    source: str
    protected: Ranges = ()

    def ranges(self) -> Ranges:
        """Return what is protected."""
        return self.protected or ((self.start, self.end),)


def passages(spans: Sequence[Span], works: Sequence[Work]) -> list[Passage]:
    """Make one passage of each cluster: the work's own text where the work is given.

    A corpus copy may be garbled, so the union of the members' ranges is cut from the work; a
    cluster without a work gives its longest member, one of two works a passage of each.

    Raises:
        InputError: a span names a range outside its work.
    """
    texts = {work.work_id: work.text for work in works}
    groups: dict[str, list[Span]] = defaultdict(list)
    for span in spans:
        groups[span.cluster_id or span.span_id].append(span)
    found = [p for name, members in sorted(groups.items()) for p in _cut(name, members, texts)]
    return sorted(found, key=lambda p: (p.work_id, p.start, p.group))


def _cut(name: str, members: Sequence[Span], texts: Mapping[str, str]) -> list[Passage]:
    placed: dict[str, list[Span]] = defaultdict(list)
    for span in members:
        if span.work_id in texts and span.work_start is not None:
            placed[str(span.work_id)].append(span)
    if not placed:
        longest = max(members, key=lambda s: (s.end - s.start, s.span_id))
        source = f"{longest.source}[{longest.start}:{longest.end}]"
        work_id, size = longest.work_id or "", len(longest.text)
        return [Passage(name, work_id, longest.text, 0, size, len(members), source)]
    return [_of_work(name, work_id, texts[work_id], own) for work_id, own in sorted(placed.items())]


def _of_work(name: str, work_id: str, text: str, members: Sequence[Span]) -> Passage:
    protected = merged([(int(s.work_start or 0), int(s.work_end or 0)) for s in members])
    start, end = protected[0][0], protected[-1][1]
    if not 0 <= start < end <= len(text):
        raise InputError(
            "a span lies outside its work",
            where=work_id,
            found=f"[{start}:{end}] of {len(text)}",
            mend="Give the works that `mine` was given.",
        )
    place = f"{work_id}[{start}:{end}]"
    return Passage(name, work_id, text, start, end, len(members), place, protected)


def merged(ranges: Sequence[tuple[int, int]]) -> Ranges:
    """Return ranges in order, those that touch or overlap as one.

    >>> merged([(5, 9), (0, 3), (3, 6)])
    ((0, 9),)
    """
    found: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return tuple(found)


def passage_of_document(document: Document) -> Passage:
    """Make a passage of a whole ready text."""
    size = len(document.text)
    return Passage(document.doc_id, "", document.text, 0, size, 1, document.source)
