"""Explain a span: what the document says beside what the work says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgetkit.errors import InputError, UsageError
from forgetkit.spans import Span, read_spans

if TYPE_CHECKING:
    from forgetkit.match.aside import Line


@dataclass(frozen=True)
class Explanation:
    """A span beside its work.

    Attributes:
        span: the span.
        lines: the two texts, line by line; the document's is the first.
    """

    span: Span
    lines: list[Line]


def explain(spans: Path, span_id: str, works: Sequence[Path], width: int = 36) -> Explanation:
    """Align a span of a spans file with its work.

    Args:
        spans: a `spans.parquet`.
        span_id: the span's id, or its beginning where no other span begins so.
        works: the works that were searched: texts, tables or indexes.
        width: characters a column.

    Raises:
        UsageError: no span or several begin with the id, or the span belongs to no work.
        InputError: the spans file or a work cannot be read, or the work is not among `works`.
    """
    from forgetkit.match.aside import side_by_side

    span = _chosen(read_spans(spans), span_id, spans)
    if span.work_id is None or span.work_start is None or span.work_end is None:
        raise UsageError(f"the span {span.span_id} belongs to no work", where=str(spans))
    text = _work(span.work_id, works)
    return Explanation(span, side_by_side(span.text, text[span.work_start : span.work_end], width))


def _chosen(spans: Sequence[Span], span_id: str, where: Path) -> Span:
    found = [span for span in spans if span_id and span.span_id.startswith(span_id)]
    if len(found) != 1:
        what = "several spans begin" if found else "no span begins"
        raise UsageError(
            f"{what} with '{span_id}'", where=str(where), mend="Take an id of the column span_id."
        )
    return found[0]


def _work(work_id: str, works: Sequence[Path]) -> str:
    from forgetkit.mine.sought import read_sought

    for work in read_sought(works, None).works:
        if work.work_id == work_id:
            return work.text
    raise InputError(
        f"the work '{work_id}' is not there", where=", ".join(map(str, works)) or "--works"
    )
