"""Acceptance: thresholds fixed before the run, filled in with before and control, and judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from forgetkit.errors import InputError, nearest
from forgetkit.evaluate.config import Rule
from forgetkit.results import Metric, judged


def accept(metrics: Sequence[Metric], rules: Mapping[str, Rule]) -> list[Metric]:
    """Return the metrics with threshold and verdict where a rule names them.

    A metric that could not be computed, or whose limit could not, fails.

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
    limits = _limits(metric, rule)
    if not limits:
        reason = "threshold needs before or control, which is missing"
        return replace(metric, threshold=reason, verdict="fail")
    higher = metric.better == "higher"
    value = min(limit for limit, _ in limits) if higher else max(limit for limit, _ in limits)
    words = " or ".join(text for _, text in limits)
    sign = "≥" if higher else "≤"
    return judged(metric, value, rule.fails_beyond, f"{sign} {value:.3g} ({words})")


def _limits(metric: Metric, rule: Rule) -> list[tuple[float, str]]:
    before, control = metric.before.value, metric.control.value
    found: list[tuple[float, str]] = []
    if rule.max is not None:
        found.append((rule.max, "fixed"))
    if rule.min is not None:
        found.append((rule.min, "fixed"))
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
