"""Which spans of a document are kept: thresholds, agreement, and no place told twice."""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.mine.config import MineConfig
from forgetkit.spans import Span

COVERED = 0.9  # share of a semantic span that copies cover, from which it says nothing new
SAME_PLACE = 0.5  # share of the shorter span in common, from which two are of the same place


def chosen(spans: Sequence[Span], config: MineConfig) -> list[Span]:
    """Return the spans of one document that count.

    A span needs its detector's threshold, a copy also a wanted edit class and to be no quotation
    where those are dropped, and a span as many detectors at its place as `agree` says; then
    a semantic span that copies cover is dropped, for the copy says more.
    """
    good = [s for s in spans if s.score >= config.thresholds.get(s.detector, 0.0)]
    good = [s for s in good if not s.edit_class or s.edit_class in config.edits]
    good = [s for s in good if config.quotes == "keep" or not s.is_quote]
    if config.agree > 1:
        good = [span for span in good if _detectors_at(span, good) >= config.agree]
    copies = [span for span in good if span.detector == "verbatim"]
    return [
        span for span in good if span.detector != "semantic" or _coverage(span, copies) < COVERED
    ]


def _detectors_at(span: Span, others: Sequence[Span]) -> int:
    return len({other.detector for other in others if _same_place(span, other)})


def _same_place(one: Span, other: Span) -> bool:
    if one.field != other.field:
        return False
    common = min(one.end, other.end) - max(one.start, other.start)
    return common >= SAME_PLACE * min(one.end - one.start, other.end - other.start)


def _coverage(span: Span, copies: Sequence[Span]) -> float:
    covered, at = 0, span.start
    for copy in sorted(copies, key=lambda c: c.start):
        begin, end = max(at, copy.start), min(span.end, copy.end)
        if copy.field == span.field and end > begin:
            covered += end - begin
            at = end
    return covered / (span.end - span.start)
