"""Spans: copies of one passage of a work, or of one text, get one cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.outcome import MARKER, DedupeResult, cluster_name, result_of, write_table
from forgetkit.errors import UsageError
from forgetkit.files import claim_folder, sha256_file, write_json
from forgetkit.match import clusters_of, folded_text, near_copies
from forgetkit.progress import Progress, Silent
from forgetkit.spans import Span, read_spans, write_spans

if TYPE_CHECKING:
    from forgetkit.embed import Embedder

OUTPUTS = ("spans.parquet", "clusters.parquet")
SEMANTIC = "semantic.parquet"
_OF_CORPORA = (
    "level",
    "compare",
    "verify_representative",
    "keep_column",
    "prefer",
    "against_only",
    "annotate",
    "max_source_loss",
    "max_bad_rows",
    "columns",
)


@dataclass
class Passage:
    """One passage of a work and the spans that copy it.

    Attributes:
        start: first code point of its longest copy in the work, which every member overlaps.
        end: one past the last.
        members: the spans.
    """

    start: int
    end: int
    members: list[Span] = field(default_factory=list)

    def overlap(self, span: Span) -> float:
        """Return how much of the shorter of the two ranges overlaps, in [0, 1]."""
        start, end = _range(span)
        shared = min(self.end, end) - max(self.start, start)
        return max(0, shared) / max(1, min(self.end - self.start, end - start))


def _range(span: Span) -> tuple[int, int]:
    return span.work_start or 0, span.work_end or 0


def dedupe_spans(
    spans_file: Path,
    out: Path,
    *,
    config: DedupeConfig | None = None,
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> DedupeResult:
    """Give each span the cluster of its copies; every span stays.

    Spans of a work belong together when they overlap the passage's longest copy by half of the
    shorter one, in the work; so a chain of overlapping quotations never grows beyond twice that
    copy. Spans without a work belong together when their letters agree, or their word 5-grams.
    Clusters of the same meaning stay apart: `semantic.parquet` says which they are.

    Args:
        spans_file: `spans.parquet` of `mine`.
        out: folder for `spans.parquet` (with `cluster_id`), `clusters.parquet`, `summary.json`.
        config: settings.
        embedder: the model that compares meanings; None opens the one that the settings name.
        progress: who watches.

    Raises:
        InputError: the file is no spans file.
        UsageError: `out` holds something else, or a setting has no effect on spans.
    """
    began = time.monotonic()
    config, progress = config or DedupeConfig(), progress or Silent()
    _refuse_what_has_no_effect(config)
    spans = read_spans(spans_file)
    identity = {
        "command": "dedupe",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": {"spans": sha256_file(spans_file)},
    }
    if not claim_folder(out, MARKER, identity):
        progress.stage("grouping spans", len(spans))
        groups = _by_work(spans, config) + _by_text(spans, config)
        progress.advance(len(spans))
        rows = sorted((_row(group, config) for group in groups), key=lambda r: str(r["cluster_id"]))
        clustered = [
            span.in_cluster(cluster_name(s.span_id for s in group))
            for group in groups
            for span in group
        ]
        write_spans(out / "spans.parquet", clustered)
        _write_clusters(out / "clusters.parquet", rows)
        counts = {"read": len(spans), "kept": len(clustered), "clusters": len(groups)}
        if config.semantic != "off":
            progress.stage("comparing meanings", None)
            counts |= _same_meaning(out / SEMANTIC, clustered, rows, config, embedder)
        write_json(out / MARKER, identity | {"counts": counts, "warnings": []})
    names = OUTPUTS if config.semantic == "off" else (*OUTPUTS, SEMANTIC)
    return result_of(out, names, time.monotonic() - began)


def holds_spans(path: Path) -> bool:
    """Say whether a file is a spans file, by its columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.suffix.lower() != ".parquet" or not path.is_file():
        return False
    try:
        return {"span_id", "detector", "start", "end"} <= set(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError):
        return False  # the reader of corpora says what is wrong with it


def _refuse_what_has_no_effect(config: DedupeConfig) -> None:
    usual = DedupeConfig()
    idle = [name for name in _OF_CORPORA if getattr(config, name) != getattr(usual, name)]
    if idle:
        raise UsageError("is for corpora, not for spans", where=", ".join(idle))
    if config.semantic == "drop":
        raise UsageError("of spans none is dropped", mend="Write --semantic label.")


def _same_meaning(
    path: Path,
    spans: list[Span],
    rows: list[dict[str, Any]],
    config: DedupeConfig,
    embedder: Embedder | None,
) -> dict[str, int]:
    """Write which clusters say the same, by the spans that stand for them; return the counts."""
    import pyarrow as pa

    from forgetkit.dedupe.meaning import leaders
    from forgetkit.embed import open_embedder

    named = {row["representative"] for row in rows}
    standing = sorted((s for s in spans if s.span_id in named), key=lambda s: (s.place, s.span_id))
    chosen = standing[: config.semantic_budget]
    model = embedder or open_embedder(config.embedder)
    vectors = model.encode([_text(span) for span in chosen]) if chosen else None
    pairs = leaders(vectors, config.semantic_threshold) if vectors is not None else []
    found = [
        {
            "cluster_id": chosen[one].cluster_id,
            "representative": chosen[one].span_id,
            "matched_cluster_id": chosen[other].cluster_id,
            "matched_representative": chosen[other].span_id,
            "cosine": round(float(cosine), 4),
            "model": model.name,
        }
        for one, other, cosine in pairs
    ]
    text = pa.string()
    kinds = {
        "cluster_id": text,
        "representative": text,
        "matched_cluster_id": text,
        "matched_representative": text,
        "cosine": pa.float64(),
        "model": text,
    }
    write_table(path, found, pa.schema(kinds))
    return {"semantic": len(found), "semantic_unread": len(standing) - len(chosen)}


def _by_work(spans: list[Span], config: DedupeConfig) -> list[list[Span]]:
    """Group the spans of each work by passage: the longest copy first, then what overlaps it."""
    works: dict[str, list[Passage]] = {}
    placed = [s for s in spans if s.work_id is not None and s.work_start is not None]
    for span in sorted(placed, key=_longest_copy_first):
        passages = works.setdefault(span.work_id or "", [])
        best = max(passages, key=lambda p: p.overlap(span), default=None)
        if best is None or best.overlap(span) < config.overlap:
            best = Passage(*_range(span))
            passages.append(best)
        best.members.append(span)
    return [passage.members for name in sorted(works) for passage in works[name]]


def _longest_copy_first(span: Span) -> tuple[bool, int, int, str]:
    start, end = _range(span)
    return span.detector != "verbatim", start - end, start, span.span_id


def _by_text(spans: list[Span], config: DedupeConfig) -> list[list[Span]]:
    rest = [s for s in spans if s.work_id is None or s.work_start is None]
    distinct: dict[str, list[Span]] = {}
    for span in rest:
        text = _text(span)
        distinct.setdefault(folded_text(text) or text, []).append(span)
    groups = list(distinct.values())
    if not config.near:
        return groups
    pairs = near_copies([_text(group[0]) for group in groups], config.threshold, config.seed)
    roots = clusters_of(len(groups), pairs)
    joined: dict[int, list[Span]] = {}
    for root, group in zip(roots, groups, strict=True):
        joined.setdefault(root, []).extend(group)
    return list(joined.values())


def _text(span: Span) -> str:
    """Return what is compared: with its prompt, for two prompts may share a short answer."""
    return f"{span.prompt}\n{span.text}" if span.prompt and span.field == "answer" else span.text


def _row(group: list[Span], config: DedupeConfig) -> dict[str, Any]:
    ordered = sorted(group, key=lambda s: (s.source, s.field, s.start, s.end, s.span_id))
    longest = max(ordered, key=lambda s: s.end - s.start)
    stands = longest if config.keep == "longest" else ordered[0]
    placed = [s for s in ordered if s.work_start is not None and s.detector == "verbatim"]
    placed = placed or [s for s in ordered if s.work_start is not None]
    return {
        "cluster_id": cluster_name(s.span_id for s in ordered),
        "work_id": ordered[0].work_id,
        "work_start": min((_range(s)[0] for s in placed), default=None),
        "work_end": max((_range(s)[1] for s in placed), default=None),
        "size": len(ordered),
        "members": [s.span_id for s in ordered],
        "representative": stands.span_id,
    }


def _write_clusters(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa

    text, count = pa.string(), pa.int64()
    columns = {
        "cluster_id": text,
        "work_id": text,
        "work_start": count,
        "work_end": count,
        "size": count,
        "members": pa.list_(text),
        "representative": text,
    }
    write_table(path, rows, pa.schema(columns))
