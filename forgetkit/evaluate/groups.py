"""Rows by model and split, and the estimates that most metrics are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forgetkit.evaluate.config import EvaluateConfig
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL, Sample
from forgetkit.results import ABSENT, Better, Estimate, Metric, mean, rate

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Picks = Sequence[npt.NDArray[np.int64]]

Rows = Sequence[Sample]
Value = Callable[[Sample], float | None]
Measure = Callable[[Rows], Estimate]


@dataclass
class Groups:
    """The rows of an evaluation by (model, split).

    Attributes:
        config: draws and seed of the bootstrap.
        rows: by model and split.
    """

    config: EvaluateConfig
    rows: dict[tuple[str, str], list[Sample]] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Sequence[Sample], config: EvaluateConfig) -> Groups:
        """Sort samples by model and split."""
        groups = cls(config)
        for sample in samples:
            groups.rows.setdefault((sample.model, sample.split), []).append(sample)
        return groups

    def control(self, split: str) -> tuple[str, str]:
        """Return model and split of the control: the retain model, else the holdout."""
        with_retain = (RETAIN_MODEL, split)
        return with_retain if with_retain in self.rows else (AFTER, "holdout")

    def estimate(self, model: str, split: str, measure: Measure) -> Estimate:
        """Measure the rows of one model and split; not measured when there are none."""
        rows = self.rows.get((model, split))
        return ABSENT if rows is None else measure(rows)

    def mean(self, rows: Rows, value: Value) -> Estimate:
        """Return the mean over the rows that have a value."""
        values = [v for s in rows if (v := value(s)) is not None]
        return mean(values, self.config.seed, self.config.bootstrap)

    def resampled(
        self, purpose: str, counts: Sequence[int], statistic: Callable[[Picks], float]
    ) -> tuple[float, float]:
        """Return the bootstrap interval (percentile, 95 %) of a number of several groups of rows.

        Args:
            purpose: what the random numbers are for.
            counts: rows of each group; each is drawn anew by itself.
            statistic: the number, given the places drawn from each group.
        """
        import numpy as np

        from forgetkit.seeds import generator

        rng = generator(self.config.seed, purpose)
        values = [
            statistic([rng.integers(0, count, count) for count in counts])
            for _ in range(self.config.bootstrap)
        ]
        low, high = np.quantile(values, [0.025, 0.975])
        return float(low), float(high)

    def metric(self, name: str, split: str, better: Better, measure: Measure) -> Metric:
        """Return a metric measured before, after and on the control."""
        return Metric(
            name,
            split,
            better,
            self.estimate(BEFORE, split, measure),
            self.estimate(AFTER, split, measure),
            self.estimate(*self.control(split), measure),
        )

    def by_role(
        self, name: str, split: str, better: Better, of: Callable[[str], Estimate]
    ) -> Metric:
        """Return a metric of the models before and after and the retain model."""
        return Metric(name, split, better, of(BEFORE), of(AFTER), of(RETAIN_MODEL))

    def paired(self, split: str) -> list[tuple[Sample, Sample]]:
        """Return the rows of before and after that show the same example."""
        before = {s.example.example_id: s for s in self.rows.get((BEFORE, split), ())}
        after = self.rows.get((AFTER, split), ())
        return [(before[s.example.example_id], s) for s in after if s.example.example_id in before]


def rate_of(rows: Rows, hit: Callable[[Sample], bool]) -> Estimate:
    """Return the share of continuations that hit."""
    return rate([hit(s) for s in rows if s.completion is not None])


def exponential(estimate: Estimate) -> Estimate:
    """Return the exponential of an estimate in nats, interval and all."""
    if estimate.value is None:
        return estimate
    low, high = estimate.low or 0.0, estimate.high or 0.0
    return Estimate(bounded_exp(estimate.value), estimate.n, bounded_exp(low), bounded_exp(high))


def bounded_exp(nats: float) -> float:
    """Return e^nats, at most e^700: a broken model's loss; the largest double is e^709."""
    return math.exp(min(nats, 700.0))
