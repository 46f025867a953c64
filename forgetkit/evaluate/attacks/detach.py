"""Detaching the adapter: what the base model still says. Reported, never hidden."""

from __future__ import annotations

from collections.abc import Mapping

from forgetkit.evaluate.attacks.report import AttackReport, Context, worst_first
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.sample import AFTER, BEFORE
from forgetkit.results import ABSENT, Estimate, Metric, mean

MERGED = "the weights are merged: there is no adapter to detach"


def detach(context: Context) -> AttackReport:
    """Say what the model gives without its adapter; it was measured as the model before."""
    from forgetkit.lm.score import extraction_strength

    if not context.has_adapter:
        return AttackReport("detach", reason=MERGED)
    before, after = context.of(BEFORE, "forget"), context.of(AFTER, "forget")
    rows = [
        {
            "example_id": name,
            "split": "forget",
            "recovered": extraction_strength(before[name].argmax_hit),
            "without": extraction_strength(sample.argmax_hit),
        }
        for name, sample in after.items()
        if name in before
    ]
    return AttackReport("detach", worst_first(rows), value="extraction strength")


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
