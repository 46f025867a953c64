"""The results as a table for the terminal and for the page."""

from __future__ import annotations

from forgetkit.report.text import MISSING, metric_label, number, visible
from forgetkit.results import Estimate, Results

HEADER = ("metric", "before", "after", "control", "threshold", "verdict")


def table(results: Results) -> list[tuple[str, ...]]:
    """Return one row a metric, in the order of the results, with the columns of `HEADER`.

    A number that could not be computed is a dash; the `after` column says why.
    """
    return [
        (
            visible(metric_label(metric.name)),
            number(metric.before.value),
            _with_reason(metric.after),
            number(metric.control.value),
            visible(metric.threshold) or MISSING,
            metric.verdict or MISSING,
        )
        for metric in results.metrics
    ]


def _with_reason(estimate: Estimate) -> str:
    if estimate.value is None and estimate.reason:
        return f"{MISSING} ({visible(estimate.reason)})"
    return number(estimate.value)
