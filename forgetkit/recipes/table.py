"""The table of a recipe: methods down, metrics across, the published number in brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from forgetkit import __version__
from forgetkit.recipes.recipe import Recipe
from forgetkit.report.text import MISSING, metric_label, number
from forgetkit.results import Estimate, mean_and_deviation

ORIGINAL, RETAIN = "original", "retain model"


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        name: of the method, `original`, or `retain model`.
        values: by metric, one estimate a seed.
        seconds: of training, one a seed; empty for a model that was not unlearned.
        published: by metric.
    """

    name: str
    values: Mapping[str, Sequence[Estimate]]
    seconds: Sequence[float]
    published: Mapping[str, float] = field(default_factory=dict)


def cell(estimates: Sequence[Estimate], published: float | None = None) -> str:
    """Return what a cell shows: mean, deviation over seeds, the published number in brackets.

    >>> cell([Estimate(0.25), Estimate(0.35)], 0.06)
    '0.30 ± 0.07 (0.06)'
    """
    known = [e.value for e in estimates if e.value is not None]
    shown = MISSING
    if known and len(known) == len(estimates):
        mean, deviation = mean_and_deviation(known)
        shown = number(mean) if deviation is None else f"{number(mean)} ± {number(deviation)}"
    return shown if published is None else f"{shown} ({number(published)})"


def markdown(plan: Recipe, rows: Sequence[Row], notes: Mapping[str, Any]) -> str:
    """Return the table as Markdown, with what it was measured on above it."""
    seeds = ", ".join(map(str, notes["seeds"]))
    head = ["", *(metric_label(name) for name in plan.columns), "training, s"]
    lines = [
        f"## {plan.title}",
        "",
        f"{plan.source}. Size {notes['size']}, model {notes['model']}, seeds {seeds}, forgetkit "
        f"{__version__}; n {_sizes(plan, rows)}.",
        *([f"In brackets what was published: {plan.published_note}."] if plan.published else []),
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for row in rows:
        cells = [cell(row.values[name], row.published.get(name)) for name in plan.columns]
        seconds = number(mean_and_deviation(row.seconds)[0]) if row.seconds else MISSING
        lines.append(f"| {' | '.join([row.name, *cells, seconds])} |")
    return "\n".join([*lines, *_missing(plan, rows)]) + "\n"


def _sizes(plan: Recipe, rows: Sequence[Row]) -> str:
    found = {metric_label(c): max(e.n for e in rows[-1].values[c]) for c in plan.columns}
    return ", ".join(f"{n} ({label})" for label, n in found.items() if n)


def _missing(plan: Recipe, rows: Sequence[Row]) -> list[str]:
    reasons = {
        f"{metric_label(name)}: {estimate.reason}"
        for row in rows
        if row.seconds
        for name in plan.columns
        for estimate in row.values[name]
        if estimate.value is None
    }
    return ["", *(f"- {reason}" for reason in sorted(reasons))] if reasons else []


def content(plan: Recipe, rows: Sequence[Row], notes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table for programs: every seed's value, n and interval."""
    return {
        "title": plan.title,
        "source": plan.source,
        "version": __version__,
        "columns": list(plan.columns),
        "published_note": plan.published_note,
        **notes,
        "rows": [
            {
                "name": row.name,
                "training_seconds": list(row.seconds),
                "published": dict(row.published),
                "values": {
                    name: [[e.value, e.n, e.low, e.high, e.reason] for e in estimates]
                    for name, estimates in row.values.items()
                },
            }
            for row in rows
        ],
    }
