"""A metric of one's own: one class in a file, named by --plugin.

    class Shouting:
        name, better, split, version = "shouting", "lower", "forget", 1
        source = "our house style"

        def value(self, sample):  # a number, or None where there is none
            said = sample.completion or ""
            return sum(c.isupper() for c in said) / len(said) if said else None

`sample` is a row of samples.parquet (`forgetkit.evaluate.sample.Sample`); the metric is the mean
with its bootstrap interval, before, after and on the control. With `is_rate = True` the values are
hits, and the interval is Wilson's.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Protocol, get_args

from forgetkit.errors import InputError
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.groups import Groups, Rows, rate_of
from forgetkit.evaluate.sample import Sample
from forgetkit.results import Better, Estimate, Metric


class CustomMetric(Protocol):
    """What a class of a plugin has."""

    name: str
    better: Better
    split: str
    version: int

    def value(self, sample: Sample) -> float | None:
        """Return the value of a row, or None where there is none."""


def load_plugin(path: Path) -> list[CustomMetric]:
    """Run a file of the user's and return its metrics.

    Raises:
        InputError: it cannot be run, or holds no class with name, better, split and value.
    """
    module = _module(path)
    found: list[CustomMetric] = []
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ == module.__name__ and hasattr(kind, "name"):
            found.append(_checked(kind, path))
    if not found:
        raise InputError(
            "holds no metric",
            where=str(path),
            mend="Write a class with name, better, split, version and value(sample).",
        )
    return found


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"forgetkit_plugin_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError("is no Python file", where=str(path))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (SyntaxError, ImportError, NameError, AttributeError, TypeError, ValueError) as error:
        raise InputError("cannot be run", where=str(path), found=str(error)[:200]) from error
    return module


def _checked(kind: type, path: Path) -> CustomMetric:
    lacking = [n for n in ("better", "split", "version", "value") if not hasattr(kind, n)]
    if lacking:
        raise InputError(f"{kind.__name__} lacks '{lacking[0]}'", where=str(path))
    metric: CustomMetric = kind()
    if metric.better not in get_args(Better):
        known = ", ".join(get_args(Better))
        raise InputError(f"{kind.__name__}.better is none of {known}", where=str(path))
    return metric


def custom(
    plugin: Sequence[CustomMetric],
    samples: Sequence[Sample],
    config: EvaluateConfig,
    known: Sequence[Metric],
) -> list[Metric]:
    """Compute the metrics of a plugin.

    Raises:
        InputError: a name is taken.
    """
    groups = Groups.of(samples, config)
    taken = {metric.name for metric in known}
    found = []
    for one in plugin:
        if one.name in taken:
            raise InputError(f"the name '{one.name}' is taken", mend="Give the class another.")
        taken.add(one.name)

        def measure(rows: Rows, one: CustomMetric = one) -> Estimate:
            if getattr(one, "is_rate", False):
                return rate_of(rows, lambda s: bool(one.value(s)))
            return groups.mean(rows, one.value)

        made = groups.metric(one.name, one.split, one.better, measure)
        found.append(
            Metric(
                made.name,
                made.split,
                made.better,
                made.before,
                made.after,
                made.control,
                version=int(one.version),
            )
        )
    return found
