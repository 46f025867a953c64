"""Review: people decide which spans of a case belong to the request.

from forgetkit.review import decide, listing
decide(Path("case"), accept_all=True, reviewer="ana", reason="checked the list")
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forgetkit.decisions import Decision, current, record
from forgetkit.errors import InputError, UsageError
from forgetkit.spans import Span, read_spans

__all__ = ["decide", "listing"]


def _spans(case: Path) -> list[Span]:
    path = case / "deduped" / "spans.parquet"
    if not path.is_file():
        raise InputError(
            "has no spans yet", where=str(case), mend="Run `forgetkit takedown` first."
        )
    return read_spans(path)


def listing(case: Path) -> list[dict[str, Any]]:
    """List the spans of a case with their decisions; places, never text.

    Raises:
        InputError: the case has no spans yet.
    """
    decisions = case / "decisions.sqlite"
    decided = current(decisions) if decisions.is_file() else {}
    rows = []
    for span in _spans(case):
        decision = decided.get(span.span_id)
        word = "undecided" if decision is None else "accept" if decision.accepted else "reject"
        rows.append(
            {
                "span": span.span_id,
                "document": span.doc_id,
                "place": f"{span.field}[{span.start}:{span.end}]",
                "detector": span.detector,
                "score": round(span.score, 3),
                "work": span.work_id or "",
                "decision": word,
            }
        )
    return rows


def decide(
    case: Path,
    *,
    accept: Sequence[str] = (),
    reject: Sequence[str] = (),
    accept_all: bool = False,
    reviewer: str,
    reason: str,
) -> list[Decision]:
    """Record decisions; an earlier one stays in the history.

    Args:
        case: the case folder.
        accept: span ids.
        reject: span ids.
        accept_all: accept every span that has no decision.
        reviewer: who decides; required.
        reason: why.

    Raises:
        UsageError: no reviewer, or an id that the case does not have.
    """
    if not reviewer:
        raise UsageError("a decision needs a name", mend="Give --reviewer.")
    known = {span.span_id for span in _spans(case)}
    unknown = sorted({*accept, *reject} - known)
    if unknown:
        raise UsageError("the case has no such span", found=unknown[0])
    path = case / "decisions.sqlite"
    decided = current(path) if path.is_file() else {}
    rest = known - set(decided) - set(reject) if accept_all else set()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    chosen = [(name, True) for name in sorted({*accept, *rest})]
    chosen += [(name, False) for name in sorted(reject)]
    made = [Decision(name, accepted, reviewer, reason, now) for name, accepted in chosen]
    record(path, made)
    return made
