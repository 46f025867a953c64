"""Results: metrics with n and interval, or null with the reason; thresholds and the verdict.

A metric is judged by fixed rules that are part of the configuration before the run. A metric
that could not be computed cannot pass.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from forgetkit import schema
from forgetkit.errors import InputError
from forgetkit.files import read_json, write_json
from forgetkit.intervals import wilson as wilson

Outcome = Literal["pass", "marginal", "fail"]
Better = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class Estimate:
    """One number with its sample size and 95 % interval, or null with the reason.

    Attributes:
        value: the number, or None.
        n: how many records it was computed from.
        low: lower end of the interval, or None.
        high: upper end of the interval, or None.
        reason: why the value is None; empty otherwise.
    """

    value: float | None
    n: int = 0
    low: float | None = None
    high: float | None = None
    reason: str = ""


ABSENT = Estimate(None, reason="not measured")


@dataclass(frozen=True)
class Metric:
    """One metric before and after, with its control, its threshold and its verdict.

    Attributes:
        name: the name in `forgetkit list metrics`, with `_unseen` for probes not trained on.
        split: the split it was computed on.
        better: lower, higher or none (reported, not judged).
        before: on the target model.
        after: on the unlearned model.
        control: on text never trained on (or of the retain model).
        threshold: the rule in words, with the numbers filled in; empty when not judged.
        verdict: pass, marginal, fail, or None when it is not judged.
        version: raised when the definition changes.
    """

    name: str
    split: str
    better: Better
    before: Estimate = ABSENT
    after: Estimate = ABSENT
    control: Estimate = ABSENT
    threshold: str = ""
    verdict: Outcome | None = None
    version: int = 1


Five = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Alike:
    """How like forget a control is in one number: a two-sample Kolmogorov-Smirnov test.

    Attributes:
        what: words, or surprise in nats a word or token.
        forget: its least, quartiles and greatest value in forget.
        holdout: the same in holdout, the control.
        distance: the statistic, in [0, 1]; smaller is more alike.
        p_value: how often chance alone gives such a distance, in [0, 1].
    """

    what: str
    forget: Five
    holdout: Five
    distance: float
    p_value: float

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Alike:
        """Return what the manifest of a forget set says of one number."""
        return cls(**{f.name: row[f.name] for f in fields(cls)})


@dataclass(frozen=True)
class Results:
    """Everything `evaluate` found: the content of `results.json`.

    Attributes:
        metrics: in the order they are shown.
        verdict: the whole run's, or None when nothing is judged.
        models: role (`before`, `after`) to name and digest.
        configuration: the resolved settings, thresholds among them.
        provenance: versions, seed, digests of the inputs, command.
        pairs: per-example values (before and after) for the pictures and the worst-first table.
        notes: what was not done and why.
        attacks: what each attack recovered, per span, worst first, and its curve.
        tasks: what each model scored on the tasks of lm-evaluation-harness.
        control: how like forget holdout is, as `build` found.
    """

    metrics: tuple[Metric, ...]
    verdict: Outcome | None
    models: Mapping[str, Mapping[str, str]]
    configuration: Mapping[str, Any]
    provenance: Mapping[str, Any]
    pairs: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    attacks: Sequence[Mapping[str, Any]] = ()
    tasks: Sequence[Mapping[str, Any]] = ()
    control: Sequence[Alike] = ()
    schema: str = field(default=schema.RESULTS)

    def metric(self, name: str) -> Metric:
        """Return a metric by name.

        Raises:
            KeyError: there is none.
        """
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(name)

    def save(self, path: Path) -> None:
        """Write `results.json`."""
        write_json(path, asdict(self))


def load_results(path: Path) -> Results:
    """Read `results.json`.

    Raises:
        InputError: it is missing, not of this schema, or something in it is of another type.
    """
    from pydantic import TypeAdapter, ValidationError

    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != schema.RESULTS:
        raise InputError("is no results file", where=str(path), mend="Run `forgetkit evaluate`.")
    try:
        return TypeAdapter(Results).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"is damaged at {place}",
            where=str(path),
            found=first["msg"],
            mend="Run `forgetkit evaluate` again.",
        ) from error


def rate(hits: Sequence[bool], least: int = 20) -> Estimate:
    """Return a rate with n and interval; null on fewer than `least` records."""
    n = len(hits)
    if n < least:
        return Estimate(None, n, reason=f"fewer than {least} probes")
    low, high = wilson(sum(hits), n)
    return Estimate(sum(hits) / n, n, low, high)


def mean(values: Sequence[float], seed: int, draws: int = 1000) -> Estimate:
    """Return a mean with a seeded bootstrap interval (percentile, 95 %); null when empty."""
    import numpy as np

    from forgetkit.seeds import generator

    n = len(values)
    if n == 0:
        return Estimate(None, 0, reason="no records")
    array = np.asarray(values, dtype=np.float64)
    picks = generator(seed, "bootstrap").integers(0, n, size=(draws, n))
    low, high = np.quantile(array[picks].mean(axis=1), [0.025, 0.975])
    return Estimate(float(array.mean()), n, float(low), float(high))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and standard deviation (of a sample, n - 1); None below two values.

    >>> mean_and_deviation([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    average = statistics.fmean(values)
    return average, statistics.stdev(values) if len(values) > 1 else None


def judged(metric: Metric, limit: float, fail: float | None, rule: str) -> Metric:
    """Return the metric with its threshold and verdict.

    Args:
        metric: the metric; its `after` value is compared.
        limit: the value it must reach (at most for lower, at least for higher).
        fail: the value beyond which it fails; between is marginal. None: no such zone.
        rule: the threshold in words.
    """
    value = metric.after.value
    if value is None or math.isnan(value):
        return replace(metric, threshold=rule, verdict="fail")
    sign = -1.0 if metric.better == "higher" else 1.0
    passed = sign * value <= sign * limit + 1e-12
    failed = not passed and (fail is None or sign * value > sign * fail)
    return replace(
        metric, threshold=rule, verdict="pass" if passed else "fail" if failed else "marginal"
    )


def overall(metrics: Sequence[Metric]) -> Outcome | None:
    """Return the run's verdict: the worst of the judged metrics."""
    seen = {metric.verdict for metric in metrics if metric.verdict is not None}
    order: tuple[Outcome, ...] = ("fail", "marginal", "pass")
    return next((verdict for verdict in order if verdict in seen), None)
