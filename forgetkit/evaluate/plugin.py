"""A metric of one's own: one class in a file, named by --plugin.

    class Shouting:
        name, better, split, version = "shouting", "lower", "forget", 1
        source = "our house style"

        def value(self, sample):  # a number, or None where there is none
            said = sample.completion or ""
            return sum(c.isupper() for c in said) / len(said) if said else None

`sample` is a row of samples.parquet (`forgetkit.evaluate.sample.Sample`); the metric is the mean
with its bootstrap interval, before, after and on the control, and null where a value is not finite.
With `is_rate = True` the values are hits, and the interval is Wilson's.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Protocol, get_args

from forgetkit.errors import InputError
from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.groups import Groups, Rows
from forgetkit.evaluate.sample import Sample
from forgetkit.registry import entries
from forgetkit.results import Better, Estimate, Metric, mean, rate

SPLITS = ("forget", "prompts", "holdout", "others", "retain", "general")


class CustomMetric(Protocol):
    """What a class of a plugin has."""

    name: str
    better: Better
    split: str
    version: int

    def value(self, sample: Sample) -> float | None:
        """Return the value of a row, or None where there is none."""


def load_plugin(path: Path) -> list[CustomMetric]:
    """Run a file of the user's and return its metrics, checked as far as can be without rows.

    Raises:
        InputError: it cannot be run, holds no class with name, better, split, version and value,
            or one of these cannot be used.
    """
    module = _module(path)
    found: list[CustomMetric] = []
    for _, kind in inspect.getmembers(module, inspect.isclass):
        if kind.__module__ == module.__name__ and hasattr(kind, "name"):
            found.append(_checked(kind, path, [one.name for one in found]))
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
    sys.modules[module.__name__] = module  # where dataclasses, and errors, look for it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        found = f"{type(error).__name__}: {error}"[:200]
        raise InputError("cannot be run", where=_place(error, path), found=found) from error
    return module


def _checked(kind: type, path: Path, taken: Sequence[str]) -> CustomMetric:
    where = f"{path}: {kind.__name__}"
    lacking = [n for n in ("better", "split", "version", "value") if not hasattr(kind, n)]
    if lacking:
        raise InputError(f"{kind.__name__} lacks '{lacking[0]}'", where=str(path))
    try:
        metric: CustomMetric = kind()
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:200]
        mend = "It is made without arguments."
        raise InputError("cannot be made", where=where, found=found, mend=mend) from error
    for name, known in (("better", get_args(Better)), ("split", SPLITS)):
        if getattr(metric, name) not in known:
            listed, value = ", ".join(known), repr(getattr(metric, name))[:80]
            raise InputError(f"{name} is none of {listed}", where=where, found=value)
    if isinstance(metric.version, bool) or not isinstance(metric.version, int):
        raise InputError("version is no whole number", where=where, found=repr(metric.version)[:80])
    if not isinstance(metric.name, str) or not metric.name.strip():
        raise InputError("name is no text", where=where, found=repr(metric.name)[:80])
    known_names = {entry.name for entry in entries("metrics")} | set(taken)
    if metric.name.removesuffix("_unseen") in known_names:
        raise _taken(metric.name, where)
    return metric


def _taken(name: str, where: str) -> InputError:
    return InputError(f"the name '{name}' is taken", where=where, mend="Give the class another.")


def _place(error: BaseException, path: Path) -> str:
    """Return the plugin's file and line where an error came from."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return f"{path}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def custom(
    plugin: Sequence[CustomMetric],
    samples: Sequence[Sample],
    config: EvaluateConfig,
    known: Sequence[Metric],
) -> list[Metric]:
    """Compute the metrics of a plugin.

    Raises:
        InputError: a name is taken, or a value cannot be computed or is no number.
    """
    groups = Groups.of(samples, config)
    taken = {metric.name for metric in known}
    found = []
    for one in plugin:
        if one.name in taken:
            raise _taken(one.name, type(one).__name__)
        taken.add(one.name)

        def measure(rows: Rows, one: CustomMetric = one) -> Estimate:
            return _estimate(one, rows, groups)

        made = groups.metric(one.name, one.split, one.better, measure)
        found.append(replace(made, version=one.version))
    return found


def _estimate(metric: CustomMetric, rows: Rows, groups: Groups) -> Estimate:
    is_rate = bool(getattr(metric, "is_rate", False))
    used = [row for row in rows if not is_rate or row.completion is not None]
    values = [value for row in used if (value := _value(metric, row)) is not None or is_rate]
    odd = sum(value is not None and not math.isfinite(value) for value in values)
    if odd:
        return Estimate(None, len(values), reason=f"{odd} values are no finite numbers")
    if is_rate:
        return rate([bool(value) for value in values])
    config = groups.config
    return mean([value for value in values if value is not None], config.seed, config.bootstrap)


def _value(metric: CustomMetric, row: Sample) -> float | None:
    """Return the value of a row; an error names the line and not the text, which is protected."""
    path = Path(inspect.getfile(type(metric)))
    try:
        value = metric.value(row)
    except Exception as error:
        raise InputError(
            f"{metric.name} cannot be computed",
            where=_place(error, path),
            found=type(error).__name__,
            mend="Mend the plugin; with --debug the traceback is shown.",
        ) from error
    if value is None or isinstance(value, Real):
        return None if value is None else float(value)
    line = getattr(getattr(metric.value, "__code__", None), "co_firstlineno", None)
    raise InputError(
        f"{metric.name} has a value that is no number",
        where=f"{path}:{line}" if line else str(path),
        found=type(value).__name__,
        mend="Return a number, or None where there is none.",
    )
