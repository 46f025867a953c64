"""Attacks: ways of getting back what was forgotten. `forgetkit list attacks` names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from forgetkit.errors import UsageError
from forgetkit.evaluate.attacks.report import AttackReport, Context
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.registry import entries, lookup
from forgetkit.results import Metric

__all__ = ["AttackReport", "Context", "attack", "attack_metrics", "chosen_attacks"]

Run = Callable[[Context], AttackReport]
Measured = Callable[[AttackReport, EvaluateConfig, Mapping[str, Metric]], list[Metric]]


def chosen_attacks(words: str) -> tuple[str, ...]:
    """Return the attacks that `--attacks` names: all, or names with commas.

    Raises:
        UsageError: an attack is unknown; the message names the closest.
    """
    if words.strip() == "all":
        return tuple(entry.name for entry in entries("attacks"))
    names = [word.strip() for word in words.split(",") if word.strip()]
    if not names:
        raise UsageError("--attacks names none", mend="Write --attacks all, or names with commas.")
    return tuple(dict.fromkeys(lookup("attacks", name).name for name in names))


def attack(name: str, context: Context) -> AttackReport:
    """Run one attack."""
    run: Run = lookup("attacks", name).load()
    return run(context)


def attack_metrics(
    reports: Sequence[AttackReport], config: EvaluateConfig, metrics: Sequence[Metric]
) -> list[Metric]:
    """Return the metrics of the attacks from their rows; no model here."""
    import importlib

    known = {metric.name: metric for metric in metrics}
    found: list[Metric] = []
    for report in reports:
        module, _, _ = lookup("attacks", report.name).loads.partition(":")
        measured: Measured = importlib.import_module(module).measured
        found += measured(report, config, known)
    return found
