"""Attacks: ways of getting back what was forgotten. `forgetkit list attacks` names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from forgetkit.errors import UsageError
from forgetkit.evaluate.attacks.report import AttackReport, Context
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.lm.quantized import FORMATS
from forgetkit.registry import entries, lookup
from forgetkit.results import Metric

__all__ = ["AttackReport", "Context", "attack", "attack_metrics", "check_attacks", "chosen_attacks"]

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


def check_attacks(config: EvaluateConfig, *, with_adapter: bool) -> None:
    """Refuse attacks that weights in 8 or 4 bits cannot take, before anything is measured.

    Raises:
        UsageError: such weights are to be rounded, or an adapter merged into them.
    """
    if config.dtype not in FORMATS:
        return
    for name in config.attacks:
        if name == "quantize" or (with_adapter and name != "detach"):
            raise UsageError(
                f"the attack {name} cannot be run with dtype {config.dtype}: "
                + ("it rounds" if name == "quantize" else "the adapter is merged into")
                + " whole weights",
                mend="Choose another dtype, as auto, or leave the attack out.",
            )


def attack(name: str, context: Context) -> AttackReport:
    """Run one attack."""
    run: Run = lookup("attacks", name).load()
    return run(context)


def attack_metrics(
    reports: Sequence[AttackReport], config: EvaluateConfig, metrics: Sequence[Metric]
) -> list[Metric]:
    """Return the metrics of the attacks from their rows; no model here.

    Their versions are those of the definitions in the registry.
    """
    import importlib

    known = {metric.name: metric for metric in metrics}
    found: list[Metric] = []
    for report in reports:
        module, _, _ = lookup("attacks", report.name).loads.partition(":")
        measured: Measured = importlib.import_module(module).measured
        found += measured(report, config, known)
    return [replace(m, version=lookup("metrics", m.name).version) for m in found]
