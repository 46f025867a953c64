"""Names in `acceptance`, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.errors import InputError, nearest
from forgetkit.evaluate.attacks import AttackReport, attack_metrics
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.measure import splits_to_read
from forgetkit.evaluate.metrics import compute
from forgetkit.evaluate.plugin import CustomMetric
from forgetkit.evaluate.sample import AFTER, Sample
from forgetkit.forget_set import ForgetSet
from forgetkit.known_metrics import METRICS
from forgetkit.registry import entries


def check_names(
    config: EvaluateConfig,
    forget_set: ForgetSet | None = None,
    plugin: Sequence[CustomMetric] = (),
) -> None:
    """Check that a run will have every metric that it shall be judged by.

    Args:
        config: thresholds, attacks and tasks.
        forget_set: decides which metrics there are; None: all that any set has.
        plugin: metrics of one's own.

    Raises:
        InputError: it will not have one; the message says what is missing.
    """
    known = _of_set(config, forget_set) + [one.name for one in plugin]
    for attack in config.attacks:
        known += _of_attack(attack, config)
    for name, rule in config.acceptance.items():
        if rule is None or name in known:
            continue
        if name.startswith("task_"):
            if not config.tasks:
                raise _not_run(name, "a task", "--tasks")
        elif name.startswith("attack_quantize_") and "quantize" in config.attacks:
            continue  # the formats depend on the machine
        else:
            raise _unknown(name, known, config)


def _of_set(config: EvaluateConfig, forget_set: ForgetSet | None) -> list[str]:
    if forget_set is None:
        attacks = [name for e in entries("attacks") for name in _of_attack(e.name, config)]
        names = [e.name for e in METRICS if e.name not in attacks]
        return names + [f"{name}_unseen" for name in names]
    splits = splits_to_read(forget_set)
    one_a_split = [Sample(AFTER, name, rows[0]) for name, rows in splits.items()]
    return [metric.name for metric in compute(one_a_split, forget_set.kind, config)]


def _of_attack(attack: str, config: EvaluateConfig) -> list[str]:
    made = attack_metrics([AttackReport(attack, reason="not run yet")], config, ())
    first = [metric.name for metric in made]
    further = [e.name for e in METRICS if e.name.startswith(tuple(f"{n}_" for n in first))]
    return first + [name for name in further if name not in first]


def _unknown(name: str, known: Sequence[str], config: EvaluateConfig) -> InputError:
    for entry in entries("attacks"):
        if entry.name not in config.attacks:
            gives = _of_attack(entry.name, config)
            if name in gives or name.startswith(f"{gives[0]}_"):
                return _not_run(name, f"the attack '{entry.name}'", f"--attacks {entry.name}")
    return InputError(f"acceptance names an unknown metric '{name}'", mend=nearest(name, known))


def _not_run(name: str, giver: str, flag: str) -> InputError:
    return InputError(
        f"acceptance names '{name}', which only {giver} gives",
        mend=f"Run it with {flag}, or leave the threshold out.",
    )
