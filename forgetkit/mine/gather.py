"""The other half: what the tasks and the slow detectors found becomes one file, in order."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from forgetkit import schema
from forgetkit.engine import Part
from forgetkit.files import atomic_stream
from forgetkit.mine.config import MineConfig
from forgetkit.mine.look import CHUNK, as_spans, as_table
from forgetkit.mine.policy import chosen
from forgetkit.spans import Span


@dataclass
class Tally:
    """What is said about the spans of a run.

    Attributes:
        spans: spans by detector.
        edit_classes: copies by how they were edited.
        documents: documents with a span.
        works: works of which a copy was found.
    """

    spans: Counter[str] = field(default_factory=Counter)
    edit_classes: Counter[str] = field(default_factory=Counter)
    documents: int = 0
    works: set[str] = field(default_factory=set)

    def add(self, spans: Sequence[Span]) -> None:
        """Count the spans of one document."""
        self.documents += bool(spans)
        for span in spans:
            self.spans[span.detector] += 1
            if span.edit_class:
                self.edit_classes[span.edit_class] += 1
            if span.work_id is not None and span.detector == "verbatim":
                self.works.add(span.work_id)


def write_spans_of(
    parts: Sequence[Part], judged: Iterable[Span], path: Path, config: MineConfig
) -> Tally:
    """Write `spans.parquet` from sorted streams, a few thousand spans in memory at a time.

    Args:
        parts: of the tasks, in order.
        judged: spans that detectors returned at the end.
        path: the file.
        config: says which spans are kept.
    """
    import pyarrow.parquet as pq

    tally = Tally()
    merged = heapq.merge(_spans_of(parts), sorted(judged, key=_place), key=_place)
    with (
        atomic_stream(path, private=True) as stream,
        pq.ParquetWriter(stream, schema.spans()) as writer,
    ):
        held: list[Span] = []
        for _, group in itertools.groupby(merged, key=lambda span: span.place[:2]):
            kept = chosen(list(group), config)
            tally.add(kept)
            held += kept
            if len(held) >= CHUNK:
                writer.write_table(as_table(held))
                held = []
        if held:
            writer.write_table(as_table(held))
    return tally


def _place(span: Span) -> tuple[str, int, str, int, int, str, str]:
    return span.place


def _spans_of(parts: Sequence[Part]) -> Iterator[Span]:
    for part in parts:
        table = part.table("spans")
        if table is not None:
            for start in range(0, table.num_rows, CHUNK):
                yield from as_spans(table.slice(start, CHUNK).to_pylist())


def reports_of(
    parts: Sequence[Part], said: dict[str, dict[str, object]]
) -> dict[str, dict[str, object]]:
    """Return what each detector says about its work: counts of its looks, then its own words."""
    reports: dict[str, dict[str, object]] = {}
    for name, words in said.items():
        looks: Counter[str] = Counter()
        for part in parts:
            looks.update(part.counts["looks"].get(name, {}))
        reports[name] = {**looks, **words}
    return reports
