"""Pieces that a classifier reads: windows of each column, and whole prompts and pairs."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify import pair_text
from forgetkit.corpus import DocumentBatch
from forgetkit.mine.cascade import TALLY, draws
from forgetkit.mine.cuts import Bytes, Cuts, Places, cut, whole
from forgetkit.spans import Span

if TYPE_CHECKING:
    import pyarrow as pa

TEXT, ANSWER, PROMPT, PAIR, ASKED = range(5)
KINDS = {TEXT: "text", ANSWER: "text", PROMPT: "text", PAIR: "pair", ASKED: "prompt"}
"""What the categories that may read a piece of each kind read."""
_FIELD = {TEXT: "text", ANSWER: "answer", PROMPT: "prompt", PAIR: "answer", ASKED: "prompt"}


@dataclass(frozen=True)
class Pieces:
    """Pieces of a batch, in the order of its rows.

    Attributes:
        data: UTF-8 of all pieces.
        kind: TEXT to ASKED, (n,).
        row: row of the batch, (n,).
        first: first byte in `data`, (n,).
        last: one past the last byte, (n,).
        start: first code point in its column, (n,).
        end: one past the last code point, (n,).
        draw: a random number in [0, 1), (n,).
    """

    data: Bytes
    kind: Places
    row: Places
    first: Places
    last: Places
    start: Places
    end: Places
    draw: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.row)


def pieces(batch: DocumentBatch, window: int, kinds: Container[int] = KINDS) -> Pieces:
    """Return the windows of a batch's columns, and its prompts and pairs whole, of some kinds."""
    found = [(kind, cuts) for kind, cuts in _cuts(batch, window) if len(cuts) and kind in kinds]
    if not found:
        empty = np.zeros(0, np.int64)
        data = np.zeros(1, np.uint8)
        return Pieces(data, empty, empty, empty, empty, empty, empty, np.zeros(0))
    data = np.concatenate([cuts.data for _, cuts in found])
    base = np.cumsum([0, *(len(cuts.data) for _, cuts in found)])
    kind = np.concatenate([np.full(len(cuts), kind) for kind, cuts in found])
    row, start, end = (
        np.concatenate([getattr(cuts, name) for _, cuts in found])
        for name in ("row", "start", "end")
    )
    first = np.concatenate([cuts.first + at for at, (_, cuts) in zip(base, found, strict=False)])
    last = np.concatenate([cuts.last + at for at, (_, cuts) in zip(base, found, strict=False)])
    order = np.argsort(row, kind="stable")
    kind, row, first, last, start, end = (
        part[order] for part in (kind, row, first, last, start, end)
    )
    draw = draws(batch.label, kind, batch.rows[row], start)
    return Pieces(data, kind, row, first, last, start, end, draw)


def _cuts(batch: DocumentBatch, window: int) -> list[tuple[int, Cuts]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    text, prompt, answer = (batch.columns.get(name) for name in ("text", "prompt", "answer"))
    found = []
    if text is not None:
        found.append((TEXT, cut(text, window)))
    if prompt is not None:
        found += [(ASKED, whole(prompt)), (PROMPT, cut(prompt, window))]
    if answer is not None:
        found.append((ANSWER, cut(answer, window)))
    if prompt is not None and answer is not None:
        answered = pc.if_else(pc.is_valid(prompt), answer, None)
        trimmed = [pc.utf8_trim_whitespace(column) for column in (prompt, answered)]
        joined = pc.binary_join_element_wise(*trimmed, pa.scalar("\n\n", pa.large_string()))
        filled = pc.if_else(pc.greater(pc.binary_length(answered), 0), joined, None)
        found.append((PAIR, whole(filled)))
    return found


def table(
    batch: DocumentBatch,
    found: Pieces,
    chosen: npt.NDArray[Any],
    *,
    rank: npt.NDArray[Any] | None = None,
    is_above: npt.NDArray[Any] | None = None,
    let_go: int = 0,
) -> pa.Table:
    """Return some pieces as candidates, one row each, and a last row that counts the others.

    Args:
        batch: where they come from.
        found: all pieces of the batch.
        chosen: which go on.
        rank: of all pieces; 0 when not given.
        is_above: of all pieces; true when not given.
        let_go: pieces that do not go on.
    """
    import pyarrow as pa

    rank = np.zeros(len(found)) if rank is None else rank
    is_above = np.ones(len(found), bool) if is_above is None else is_above
    rows = [_row(batch, found, piece) for piece in chosen.tolist()]
    for row, piece in zip(rows, chosen.tolist(), strict=True):
        row |= {"rank": float(rank[piece]), "draw": float(found.draw[piece])}
        row |= {"is_above": bool(is_above[piece])}
    if let_go:
        rows.append({TALLY: let_go, "kind": TEXT, "rank": 0.0, "draw": 1.0, "is_above": False})
    return pa.Table.from_pylist([{TALLY: 0} | row for row in rows], schema=_schema())


def _row(batch: DocumentBatch, found: Pieces, piece: int) -> dict[str, Any]:
    """Return one piece, with the whole prompt and answer of its document."""
    kind, row = int(found.kind[piece]), int(found.row[piece])
    values: dict[str, Any] = {"kind": kind, "source": batch.source(row)}
    values |= {"doc_id": batch.doc_ids[row].as_py()}
    values |= {"start": int(found.start[piece]), "end": int(found.end[piece])}
    for name in ("prompt", "answer"):
        if name in batch.columns:
            values[name] = batch.columns[name][row].as_py()
    if kind in (ASKED, PAIR):
        return values
    values["text"] = _decoded(found, int(found.first[piece]), int(found.last[piece]))
    return values | ({"number": piece, "gap": _gap(found, piece)} if kind == TEXT else {})


def _gap(found: Pieces, piece: int) -> str:
    """Return the white space between a window and the next one of the same text."""
    following = piece + 1
    if following == len(found) or found.kind[following] != TEXT:
        return ""
    if found.row[following] != found.row[piece]:
        return ""
    return _decoded(found, int(found.last[piece]), int(found.first[following]))


def _decoded(found: Pieces, first: int, last: int) -> str:
    return found.data[first:last].tobytes().decode("utf-8", "replace")


def _schema() -> pa.Schema:
    import pyarrow as pa

    large, whole_number = pa.large_string(), pa.int64()
    return pa.schema(
        [
            ("source", large),
            ("doc_id", large),
            ("kind", whole_number),
            ("number", whole_number),
            ("start", whole_number),
            ("end", whole_number),
            ("text", large),
            ("gap", large),
            ("prompt", large),
            ("answer", large),
            ("rank", pa.float64()),
            ("draw", pa.float64()),
            ("is_above", pa.bool_()),
            (TALLY, whole_number),
        ]
    )


def piece_text(row: Mapping[str, Any]) -> str:
    """Return what a classifier reads of one candidate."""
    if row["kind"] == PAIR:
        return pair_text(row["prompt"] or "", row["answer"] or "")
    return str(row["prompt"] if row["kind"] == ASKED else row["text"])


_Hit = tuple[Mapping[str, Any], str, float]  # candidate, category, score


def spans_of(
    rows: Sequence[Mapping[str, Any]], categories: Sequence[str], scores: Sequence[float]
) -> list[Span]:
    """Return the spans of pieces that were hit, in the order of their documents.

    Neighbouring windows of a text become one span for each category; of a prompt or an answer the
    whole is marked, once for each category.
    """
    by_document: dict[tuple[str, str], list[_Hit]] = {}
    for hit in zip(rows, categories, scores, strict=True):
        by_document.setdefault((hit[0]["source"], hit[0]["doc_id"]), []).append(hit)
    return [span for hits in by_document.values() for span in _document_spans(hits)]


def _document_spans(hits: list[_Hit]) -> list[Span]:
    windows = [hit for hit in hits if hit[0]["kind"] == TEXT]
    said = [hit for hit in hits if _FIELD[hit[0]["kind"]] == "answer"]
    asked = [hit for hit in hits if _FIELD[hit[0]["kind"]] == "prompt"]
    found = [
        _span(own, str(own[0][0][_FIELD[own[0][0]["kind"]]]), 0)
        for own in _by_category(said or asked)
    ]
    for own in _by_category(windows):
        for run in _runs(sorted(own, key=lambda h: int(h[0]["number"]))):
            gaps = [str(hit[0]["text"]) + str(hit[0]["gap"]) for hit in run[:-1]]
            text = "".join([*gaps, str(run[-1][0]["text"])])
            found.append(_span(run, text, int(run[0][0]["start"])))
    return found


def _by_category(hits: list[_Hit]) -> list[list[_Hit]]:
    names = sorted({hit[1] for hit in hits})
    return [[hit for hit in hits if hit[1] == name] for name in names]


def _runs(hits: list[_Hit]) -> list[list[_Hit]]:
    """Group windows that follow each other."""
    runs: list[list[_Hit]] = []
    for hit in hits:
        if runs and int(hit[0]["number"]) == int(runs[-1][-1][0]["number"]) + 1:
            runs[-1].append(hit)
        else:
            runs.append([hit])
    return runs


def _span(run: list[_Hit], text: str, start: int) -> Span:
    row, category, _ = run[0]
    is_pair = row["prompt"] is not None and row["answer"] is not None
    return Span(
        doc_id=row["doc_id"],
        source=row["source"],
        field=_FIELD[row["kind"]],
        start=start,
        end=start + len(text),
        detector="harm",
        category=category,
        score=round(max(score for _, _, score in run), 4),
        text=text,
        prompt=row["prompt"] if is_pair else None,
        answer=row["answer"] if is_pair else None,
    )
