"""Names in `acceptance`, checked before a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.errors import InputError, nearest
from forgetkit.evaluate.attacks import AttackReport, attack_metrics
from forgetkit.evaluate.config import USUAL_RULES, EvaluateConfig
from forgetkit.evaluate.measure import splits_to_read
from forgetkit.evaluate.metrics import compute
from forgetkit.evaluate.plugin import SPLITS, CustomMetric
from forgetkit.evaluate.sample import AFTER, Sample
from forgetkit.forget_set import Example, ForgetSet
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
    known = metrics_of(config, forget_set, plugin)
    for name, rule in config.acceptance.items():
        if rule is None or name in known:
            continue
        if name.startswith("task_"):
            if not config.tasks:
                raise _not_run(name, "a task", "--tasks")
        else:
            raise _unknown(name, known, config)


def metrics_of(
    config: EvaluateConfig,
    forget_set: ForgetSet | None = None,
    plugin: Sequence[CustomMetric] = (),
) -> list[str]:
    """Return the metrics that a run will have, but for those of tasks; see `check_names`."""
    known = _of_set(config, forget_set) + [one.name for one in plugin]
    return known + [name for attack in config.attacks for name in _of_attack(attack, config)]


def giver_of(name: str, config: EvaluateConfig) -> str | None:
    """Return the attack that gives a metric and is not run, if there is one."""
    for entry in entries("attacks"):
        if entry.name not in config.attacks and name in _of_attack(entry.name, config):
            return entry.name
    return None


def _of_set(config: EvaluateConfig, forget_set: ForgetSet | None) -> list[str]:
    """Return the metrics of a set, or of any kind of set: those of rows that nobody measured."""
    kinds: Sequence[str] = tuple(USUAL_RULES)
    splits: Sequence[str] = SPLITS
    if forget_set is not None:
        kinds, splits = (forget_set.kind,), tuple(splits_to_read(forget_set))
    unmeasured = [Sample(AFTER, split, Example("text", "prompt", "answer")) for split in splits]
    found = [metric.name for kind in kinds for metric in compute(unmeasured, kind, config)]
    return list(dict.fromkeys(found))


def _of_attack(attack: str, config: EvaluateConfig) -> list[str]:
    made = attack_metrics([AttackReport(attack, reason="not run yet")], config, ())
    first = [metric.name for metric in made]
    further = [e.name for e in METRICS if e.name.startswith(tuple(f"{n}_" for n in first))]
    return first + [name for name in further if name not in first]


def _unknown(name: str, known: Sequence[str], config: EvaluateConfig) -> InputError:
    giver = giver_of(name, config)
    if giver is not None:
        return _not_run(name, f"the attack '{giver}'", f"--attacks {giver}")
    return InputError(f"acceptance names an unknown metric '{name}'", mend=nearest(name, known))


def _not_run(name: str, giver: str, flag: str) -> InputError:
    return InputError(
        f"acceptance names '{name}', which only {giver} gives",
        mend=f"Run it with {flag}, or leave the threshold out.",
    )
