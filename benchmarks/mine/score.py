"""How good a result is: found, covered, precision and edges of spans; recall of near duplicates."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

FOUND, COVERED = 0.5, 0.9
Spans = Sequence[Sequence[Any]]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def union(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sorted ranges without overlap.

    >>> union([(5, 9), (0, 3), (2, 6)])
    [(0, 9)]
    """
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def shared(start: int, end: int, ranges: Iterable[tuple[int, int]]) -> int:
    """Return how many characters of [start, end) lie in ranges without overlap."""
    return sum(max(0, min(end, stop) - max(start, begin)) for begin, stop in ranges)


def span_scores(truth: Sequence[dict[str, Any]], spans: Spans) -> dict[str, Any]:
    """Score spans against planted copies, over all kinds and by kind.

    Args:
        truth: `doc_id`, `start`, `end`, `kind`, and perhaps `work_id`, `work_start`, `work_end`.
        spans: `(doc_id, start, end)`, or those and `(work_id, work_start, work_end)`.

    Returns:
        `all`: found (half of it covered), covered (90 %), precision (characters), strays (spans
        that touch no copy), edge (mean characters an edge is off, of copies met by one span),
        exact (share of those copies with both edges exact), and work_edge, work_exact on the side
        of the work; `kinds`: the same by kind, precision of the spans that touch it.
    """
    by_document: dict[str, list[Sequence[Any]]] = defaultdict(list)
    for span in spans:
        by_document[str(span[0])].append(span)
    rows = [_planted(planted, by_document.get(planted["doc_id"], [])) for planted in truth]
    kinds = sorted({row["kind"] for row in rows})
    whole = _summed(rows) | _precision(truth, by_document)
    by_kind = {kind: _summed([row for row in rows if row["kind"] == kind]) for kind in kinds}
    return {"all": whole, "kinds": by_kind}


def _planted(planted: dict[str, Any], spans: Spans) -> dict[str, Any]:
    start, end = planted["start"], planted["end"]
    touching = [span for span in spans if span[1] < end and start < span[2]]
    covered = shared(start, end, union((span[1], span[2]) for span in touching))
    row = {"kind": planted["kind"], "share": covered / (end - start)}
    row["inside"] = sum(shared(span[1], span[2], [(start, end)]) for span in touching)
    row["said"] = sum(span[2] - span[1] for span in touching)
    if len(touching) == 1:
        span = touching[0]
        row["edges"] = abs(span[1] - start) + abs(span[2] - end)
        if len(span) > 3 and "work_start" in planted and span[3] == planted["work_id"]:
            row["work_edges"] = abs(span[4] - planted["work_start"]) + abs(
                span[5] - planted["work_end"]
            )
    return row


def _summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    said = sum(row["said"] for row in rows)
    edges = [row["edges"] for row in rows if "edges" in row]
    works = [row["work_edges"] for row in rows if "work_edges" in row]
    return {
        "n": len(rows),
        "found": mean(row["share"] >= FOUND for row in rows),
        "covered": mean(row["share"] >= COVERED for row in rows),
        "precision": sum(row["inside"] for row in rows) / said if said else None,
        "edge": mean(edges) / 2 if edges else None,
        "exact": mean(edge == 0 for edge in edges) if edges else None,
        "work_edge": mean(works) / 2 if works else None,
        "work_exact": mean(edge == 0 for edge in works) if works else None,
    }


def _precision(
    truth: Sequence[dict[str, Any]], by_document: dict[str, list[Sequence[Any]]]
) -> dict[str, Any]:
    planted: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for copy in truth:
        planted[copy["doc_id"]].append((copy["start"], copy["end"]))
    said = inside = strays = 0
    for document, spans in by_document.items():
        copies = union(planted[document])
        strays += sum(not shared(span[1], span[2], copies) for span in spans)
        for start, end in union((span[1], span[2]) for span in spans):
            said += end - start
            inside += shared(start, end, copies)
    return {"precision": inside / said if said else None, "strays": strays}


def document_scores(truth: Sequence[dict[str, Any]], documents: Sequence[str]) -> dict[str, Any]:
    """Score a tool that only names documents: copies in them, and documents with a copy."""
    named, real = set(documents), {copy["doc_id"] for copy in truth}
    hits = len(named & real)
    return {
        "found": mean(copy["doc_id"] in named for copy in truth),
        "precision": hits / len(named) if named else None,
    }


def near_scores(near: Path, least: float, found: dict[str, Any], pairs: str) -> dict[str, Any]:
    """Score near duplicates: recall of the true pairs that a result puts together.

    Args:
        near: folder of the data.
        least: Jaccard of a true pair.
        found: a job's result with pairs, or with `kept` where a tool only says what stays; and
            with pairs `together` where it has groups that its pairs alone do not join.
        pairs: which of its lists of pairs.

    Returns:
        recall of true pairs (both in one group; where only `kept` is known, not both kept);
        precision of the pairs named (where only `kept` is known, of the documents dropped: they
        have a true partner).
    """
    import pyarrow.parquet as pq

    rows = pq.read_table(near / "truth.parquet").to_pylist()
    true = {(row["a"], row["b"]) for row in rows if row["jaccard"] >= least}
    if pairs in found:
        named = {(min(pair), max(pair)) for pair in map(tuple, found[pairs])}
        return _paired(true, named, named | set(map(tuple, found.get("together", ()))))
    kept = set(found["kept"])
    everything = {str(row["id"]) for row in read_lines(near / "made.jsonl")}
    partnered = {name for pair in true for name in pair}
    dropped = everything - kept
    return {
        "recall": mean(not (one in kept and two in kept) for one, two in true),
        "precision": len(dropped & partnered) / len(dropped) if dropped else None,
    }


def _paired(
    true: set[tuple[str, str]], named: set[tuple[str, str]], together: set[tuple[str, str]]
) -> dict[str, Any]:
    group: dict[str, str] = {}

    def root(name: str) -> str:
        while group.setdefault(name, name) != name:
            name = group[name]
        return name

    for one, two in together:
        group[root(one)] = root(two)
    ordered = {(min(pair), max(pair)) for pair in true}
    return {
        "recall": mean(root(one) == root(two) for one, two in ordered),
        "precision": len(named & ordered) / len(named) if named else None,
    }


def exact_scores(near: Path, dropped: Sequence[str]) -> dict[str, Any]:
    """Say how many documents dropped as exact share their letters and digits with no other."""
    import pyarrow.parquet as pq

    rows = pq.read_table(near / "documents.parquet").to_pylist()
    letters = {row["id"]: re.sub(r"[\W_]+", "", row["text"].casefold()) for row in rows}
    counts = Counter(letters.values())
    wrong = sum(counts[letters[name]] < 2 for name in dropped)
    return {"dropped": len(dropped), "wrong": wrong}
