"""Detaching the adapter: what the base model still says. Reported, never hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forgetkit.evaluate.attacks.report import AttackReport, Context, worst_first
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.sample import AFTER, BEFORE
from forgetkit.results import ABSENT, Estimate, Metric, mean

MERGED = "the weights are merged: there is no adapter to detach"


def detach(context: Context) -> AttackReport:
    """Say what the model gives without its adapter: the model before, or measured here."""
    from forgetkit.lm.score import extraction_strength

    if not context.has_adapter:
        return AttackReport("detach", reason=MERGED)
    base, after = _without_adapter(context), context.of(AFTER, "forget")
    rows = [
        {
            "example_id": name,
            "split": "forget",
            "recovered": extraction_strength(base[name]),
            "without": extraction_strength(sample.argmax_hit),
        }
        for name, sample in after.items()
        if name in base
    ]
    return AttackReport("detach", worst_first(rows), value="extraction strength")


def _without_adapter(context: Context) -> dict[str, Sequence[bool]]:
    """Return which answer tokens the base has right, by forget example."""
    if context.base is None:
        return {name: s.argmax_hit for name, s in context.of(BEFORE, "forget").items()}
    from forgetkit.lm.score import score

    rows = context.rows("forget")
    context.progress.stage("detach", len(rows))
    scores = score(
        context.base(),
        rows,
        max_tokens=context.config.max_tokens,
        advance=context.progress.advance,
    )
    return {e.example_id: s.argmax_hit for e, s in zip(rows, scores, strict=True)}


def measured(
    report: AttackReport, config: EvaluateConfig, known: Mapping[str, Metric]
) -> list[Metric]:
    """Return the extraction strength without the adapter; the control is with it."""

    def of(column: str) -> Estimate:
        values = [float(r[column]) for r in report.rows if r[column] is not None]
        return mean(values, config.seed, config.bootstrap)

    after = Estimate(None, reason=report.reason) if report.reason else of("recovered")
    control = ABSENT if report.reason else of("without")
    return [Metric("attack_adapter_off", "forget", "none", ABSENT, after, control)]
