"""Acceptance: thresholds fixed before the run, filled in with before and control, and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from forgetkit.errors import InputError, nearest
from forgetkit.evaluate.config import Rule
from forgetkit.results import Better, Metric, judged, overall

Limit = tuple[float, str]
"""A value and where it comes from, in words."""


def accept(metrics: Sequence[Metric], rules: Mapping[str, Rule]) -> list[Metric]:
    """Return the metrics with threshold and verdict where a rule names them.

    A metric that could not be computed, or whose limit could not, fails; with `where_measured` the
    former is not judged.

    Raises:
        InputError: a rule names a metric that this kind of set does not have.
    """
    known = [metric.name for metric in metrics]
    for name in rules:
        if name not in known:
            raise InputError(
                f"acceptance names an unknown metric '{name}'", mend=nearest(name, known)
            )
    return [_judge(m, rules[m.name]) if m.name in rules else m for m in metrics]


def _judge(metric: Metric, rule: Rule) -> Metric:
    if rule.where_measured and metric.after.value is None:
        return metric
    most = [(rule.max, "fixed")] if rule.max is not None else []
    least = [(rule.min, "fixed")] if rule.min is not None else []
    relative = least if metric.better == "higher" else most
    relative += _relative(metric, rule)
    if (not relative and rule.is_relative) or not most + least:
        reason = "threshold needs before or control, which is missing"
        if metric.after.value is None:
            reason = "could not be computed"
        return replace(metric, threshold=reason, verdict="fail")
    sides: list[tuple[Better, list[Limit]]] = [("lower", most), ("higher", least)]
    found = [_side(metric, better, limits, rule) for better, limits in sides if limits]
    words = " and ".join(one.threshold for one in found)
    return replace(metric, threshold=words, verdict=overall(found))


def _side(metric: Metric, better: Better, limits: Sequence[Limit], rule: Rule) -> Metric:
    """Judge by the loosest of the limits on one side."""
    value = (min if better == "higher" else max)(limit for limit, _ in limits)
    words = " or ".join(text for _, text in limits)
    sign = "≥" if better == "higher" else "≤"
    turned = replace(metric, better=better)
    return judged(turned, value, rule.fails_beyond, f"{sign} {value:.3g} ({words})")


def _relative(metric: Metric, rule: Rule) -> list[Limit]:
    """Return the limits by before and control, which are on the side that the metric is judged."""
    before, control = metric.before.value, metric.control.value
    found: list[Limit] = []
    if rule.control_plus is not None and control is not None:
        found.append((control + rule.control_plus, f"control + {rule.control_plus:g}"))
    if rule.before_plus is not None and before is not None:
        found.append((before + rule.before_plus, f"before + {rule.before_plus:g}"))
    if rule.share_of_before is not None and before is not None:
        found.append((before * rule.share_of_before, f"{rule.share_of_before:.3g} of before"))
    if rule.toward_control is not None and before is not None and control is not None:
        limit = before + rule.toward_control * (control - before)
        found.append((limit, f"{rule.toward_control:.0%} of the way from before to control"))
    if rule.times_usual is not None and control is not None:
        found.append((control * rule.times_usual, f"{rule.times_usual:g} × usual"))
    return found
