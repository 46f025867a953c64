"""The data card of a forget set: what is in it and what the checks found, without its text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from forgetkit.build.control import spread
from forgetkit.forget_set import Example

SHOWN = 3
"""Examples of a split that the card shows."""

Tables = Mapping[str, Sequence[Example]]
COLUMNS = {
    "example_id": "digest of the content: the same in every build",
    "kind": "text, pair or fact",
    "prompt": "what the model is given",
    "answer": "what it must not, or must still, say; of a text it begins with its own space",
    "template": "chat: the chat template of the model; plain: prompt and answer joined",
    "variant": "which kind of mismatch, retain or probe",
    "pair_of": "the example that a mismatch or probe belongs to",
    "group": "passage, document or cluster; splits never share one",
    "work_id": "the work, if any",
    "source": "file and row, or work with `[start:answer:end]` in code points",
    "weight": "of its loss; the mean over forget is 1",
    "memorization": "extraction strength by the target model, in [0, 1]; null: not scored",
    "answer_mask": "ranges `[start, end)` of `answer` in code points that are protected and take "
    "the loss; empty: all of it",
    "part": "A or B, the side of a relearning test; empty: not cut",
}
"""What each column of the Parquet files holds."""


def card(
    splits: Tables,
    probes: Tables,
    counts: Mapping[str, Any],
    *,
    findings: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    show: bool = False,
) -> str:
    """Return the card in Markdown.

    Args:
        splits: forget, mismatch, retain, holdout.
        probes: what evaluation reads besides.
        counts: numbers by reason.
        findings: what the checks found.
        warnings: what a person should know.
        show: print examples; they are redacted otherwise.
    """
    lines = [
        "# Forget set",
        "",
        "Built by forgetkit. It holds text that someone asked a model to stop producing: handle it",
        "as the request says, and do not publish it.",
        "",
        "| split | examples | groups | kinds | prompt words | answer words |",
        "|---|---|---|---|---|---|",
    ]
    for name, examples in [*splits.items(), *((f"probes/{n}", e) for n, e in probes.items())]:
        lines.append(_row(name, examples))
    lines += _warned(warnings)
    lines += ["", "## Counts", "", "| reason | number |", "|---|---|"]
    lines += [f"| {reason} | {number} |" for reason, number in counts.items()]
    lines += _checks(findings or {})
    lines += _columns()
    lines += _examples(splits, show=show)
    return "\n".join([*lines, ""])


def _row(name: str, examples: Sequence[Example]) -> str:
    groups = len({e.group for e in examples})
    kinds = Counter(e.variant or e.kind for e in examples)
    named = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items())[:8])
    prompt = _range([len(e.prompt.split()) for e in examples])
    answer = _range([len(e.answer.split()) for e in examples])
    return f"| {name} | {len(examples)} | {groups} | {_plain(named)} | {prompt} | {answer} |"


def _plain(text: str) -> str:
    """Keep a name from the data from breaking the table."""
    return text.replace("|", "/").replace("\n", " ")[:120]


def _range(values: Sequence[int]) -> str:
    if not values:
        return "–"
    middle = sorted(values)[len(values) // 2]
    return f"{min(values)}–{max(values)}, median {middle}"


def _warned(warnings: Sequence[str]) -> list[str]:
    return ["", "## To know", "", *(f"- {warning}" for warning in warnings)] if warnings else []


def _checks(findings: Mapping[str, Any]) -> list[str]:
    if not findings:
        return []
    overlaps = findings.get("overlaps_by_kind", {})
    found = ", ".join(f"{kind} {number}" for kind, number in overlaps.items()) or "none"
    meaning = "with" if findings.get("compared_by_meaning") else "without"
    lines = ["", "## Checks", "", f"- Overlaps between splits: {found} ({meaning} meaning)."]
    broad = findings.get("ordinary_language")
    if broad:
        flag = "**possibly over-broad**" if broad["over_broad"] else "not over-broad"
        lines.append(
            f"- Ordinary language: {broad['share']:.1%} of the runs of four words, "
            f"{len(broad['flagged'])} of {broad['passages']} passages flagged: {flag}."
        )
    relearn = findings.get("relearn")
    if relearn:
        by = relearn["cut_by"] or "nothing"
        lines.append(f"- Relearning: cut by {by}, A {relearn['A']}, B {relearn['B']}.")
    odd = Counter(reason for _, reason, _ in findings.get("outliers", ()))
    named = ", ".join(f"{number} by {reason}" for reason, number in sorted(odd.items()))
    lines.append(f"- Outliers of forget: {named or 'none'}; ids in the manifest.")
    return lines + _control(findings)


def _control(findings: Mapping[str, Any]) -> list[str]:
    rows = findings.get("control") or ()
    if not rows:
        return []
    lines = [
        "",
        f"Holdout against forget (surprise: {findings['surprise']}); least, quartiles, greatest; "
        "two-sample Kolmogorov–Smirnov test:",
        "",
        "| | forget | holdout | distance | p |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        both = (" ".join(f"{v:g}" for v in row[name]) for name in ("forget", "holdout"))
        cells = " | ".join(both)
        lines.append(f"| {row['what']} | {cells} | {row['distance']:.3f} | {row['p_value']:.3g} |")
    return lines


def _columns() -> list[str]:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in COLUMNS.items()]
    return ["", "## Columns", "", "| column | what it holds |", "|---|---|", *rows]


def _examples(splits: Tables, *, show: bool) -> list[str]:
    lines = ["", "## Examples" + ("" if show else ", redacted"), ""]
    for name, examples in splits.items():
        for example in spread(examples, SHOWN):
            prompt, answer = (
                _quoted(t) if show else _shape(t) for t in (example.prompt, example.answer)
            )
            lines.append(f"- {name} `{example.example_id}` {prompt} → {answer}")
    return lines


def _quoted(text: str) -> str:
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _shape(text: str) -> str:
    return f"[{len(text.split())} words, {len(text)} characters]"
