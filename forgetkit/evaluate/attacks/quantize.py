"""Quantisation: small changes that forgetting made may vanish when weights are rounded.

Zhang et al. 2024 (arXiv:2410.16454): 21 % of forgotten knowledge kept in full precision, 83 %
after 4 bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgetkit.evaluate.attacks.report import AttackReport, Context, point, worst_first
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.forget_set import Example
from forgetkit.results import ABSENT, Estimate, Metric, mean

UNTOUCHED = "no layer of this model is of a kind whose weights can be rounded here"


def quantize(context: Context) -> AttackReport:
    """Score the forget set with the merged model's weights in 8 and in 4 bits."""
    from forgetkit.lm.quantize import FORMATS, has_bitsandbytes

    rows, config = context.rows("forget"), context.config
    formats = ["int8", "int4", *(["nf4"] if has_bitsandbytes() else [])]
    context.progress.stage("quantize", len(rows) * (1 + len(formats)))
    found: dict[str, list[float]] = {"16 bits": _strengths(context, rows) or []}
    for name in formats:
        strengths = _strengths(context, rows, name)
        if strengths is None:
            return AttackReport("quantize", reason=UNTOUCHED)
        found[name] = strengths
    curve = [
        point(FORMATS.get(name, 16), mean(values, config.seed, config.bootstrap))
        for name, values in found.items()
    ]
    table = [_row(example, place, found) for place, example in enumerate(rows)]
    return AttackReport(
        "quantize",
        worst_first(table),
        {"unlearned": sorted(curve, key=lambda p: -float(p[0] or 0))},
        "bits a weight",
        "extraction strength",
        {"formats": formats},
    )


def _strengths(context: Context, rows: Sequence[Example], name: str = "") -> list[float] | None:
    """Return the extraction strength of each row in a format; None when nothing was rounded."""
    from forgetkit.lm import quantize as form
    from forgetkit.lm.score import extraction_strength, score

    model = context.after()
    if name and not form.quantize(model, name):
        return None
    scores = score(
        model, rows, max_tokens=context.config.max_tokens, advance=context.progress.advance
    )
    return [extraction_strength(s.argmax_hit) or 0.0 for s in scores]


def _row(example: Example, place: int, found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    values = {name: column[place] for name, column in found.items()}
    without = values.pop("16 bits")
    return {
        "example_id": example.example_id,
        "split": "forget",
        "recovered": max(values.values()),
        "without": without,
        **values,
    }


def measured(
    report: AttackReport, config: EvaluateConfig, known: Mapping[str, Metric]
) -> list[Metric]:
    """Return extraction strength in each format, the worst first; the control is without."""
    if report.reason:
        return [
            Metric("attack_quantize", "forget", "lower", after=Estimate(None, reason=report.reason))
        ]

    def of(column: str) -> Estimate:
        values = [float(row[column]) for row in report.rows]
        return mean(values, config.seed, config.bootstrap)

    formats = {name: of(name) for name in report.settings["formats"]}
    worst = max(formats.values(), key=lambda e: e.value or 0.0)
    found = [Metric("attack_quantize", "forget", "lower", ABSENT, worst, of("without"))]
    found += [
        Metric(f"attack_quantize_{name}", "forget", "lower", ABSENT, estimate, of("without"))
        for name, estimate in formats.items()
    ]
    return found
