"""The data card of a forget set: what is in it, without its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgetkit.forget_set import Example


def card(
    splits: Mapping[str, Sequence[Example]],
    probes: Mapping[str, Sequence[Example]],
    counts: Mapping[str, Any],
) -> str:
    """Return the card in Markdown: counts and lengths by split, reasons, a redacted example."""
    lines = [
        "# Forget set",
        "",
        "Built by forgetkit. It holds text that someone asked a model to stop producing: handle it",
        "as the request says, and do not publish it.",
        "",
        "| split | examples | groups | prompt words | answer words |",
        "|---|---|---|---|---|",
    ]
    for name, examples in [*splits.items(), *((f"probes/{n}", e) for n, e in probes.items())]:
        lines.append(_row(name, examples))
    lines += ["", "## Counts", "", "| reason | number |", "|---|---|"]
    lines += [f"| {reason} | {number} |" for reason, number in counts.items()]
    lines += ["", "## One forget example, redacted", ""]
    first = splits["forget"][0]
    lines += [f"`{first.example_id}` {_shape(first.prompt)} → {_shape(first.answer)}", ""]
    return "\n".join(lines)


def _row(name: str, examples: Sequence[Example]) -> str:
    groups = len({e.group for e in examples})
    prompt = _range([len(e.prompt.split()) for e in examples])
    answer = _range([len(e.answer.split()) for e in examples])
    return f"| {name} | {len(examples)} | {groups} | {prompt} | {answer} |"


def _range(values: Sequence[int]) -> str:
    return f"{min(values)}–{max(values)}" if values else "–"


def _shape(text: str) -> str:
    return f"[{len(text.split())} words, {len(text)} characters]"
