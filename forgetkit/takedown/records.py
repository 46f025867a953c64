"""Records that a request names by id: they become spans whether a detector found them or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from forgetkit.corpus import Document, Quarantine, read_corpus
from forgetkit.errors import InputError
from forgetkit.spans import Span

DETECTOR = "request"


def read_record_ids(path: Path) -> set[str]:
    """Read ids: JSON lines with `doc_id` or `id`, or strings.

    Raises:
        InputError: a line is neither.
    """
    ids: set[str] = set()
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InputError("is not JSON", where=f"{path}:{number}") from error
        found = row.get("doc_id", row.get("id")) if isinstance(row, dict) else row
        if not isinstance(found, str):
            raise InputError("names no record", where=f"{path}:{number}")
        ids.add(found)
    return ids


def spans_of_records(corpora: Sequence[Path], ids: set[str]) -> list[Span]:
    """Make a span of each named record: its answer, or its whole text.

    Raises:
        InputError: a record is not in the corpora.
    """
    spans: list[Span] = []
    seen: set[str] = set()
    for document in read_corpus(corpora, quarantine=Quarantine()):
        if document.doc_id in ids:
            seen.add(document.doc_id)
            spans.append(_span(document))
    missing = sorted(ids - seen)
    if missing:
        raise InputError(
            f"{len(missing)} of {len(ids)} named records are not in the corpora", found=missing[0]
        )
    return spans


def _span(document: Document) -> Span:
    field, text = document.fields()[-1]
    return Span(
        doc_id=document.doc_id,
        source=document.source,
        field=field,
        start=0,
        end=len(text),
        detector=DETECTOR,
        category="named record",
        score=1.0,
        text=text,
        prompt=document.prompt,
        answer=document.answer,
    )
