"""Numbers of public benchmarks: MUSE (arXiv:2407.06460) and SemEval-2025 task 4 (2504.02883)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from forgetkit.evaluate.groups import Groups, Rows
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL
from forgetkit.evaluate.truth import harmonic
from forgetkit.results import Better, Estimate, Metric

if TYPE_CHECKING:
    from forgetkit.evaluate.groups import Picks

MMLU = "task_mmlu_acc"
NO_MMLU = Estimate(None, reason="MMLU was not run (--tasks mmlu)")


def benchmarks(groups: Groups, kind: str, metrics: Sequence[Metric]) -> list[Metric]:
    """Return MUSE's three others beside privacy leakage, and SemEval's aggregate and score."""
    near = next(m for m in metrics if m.name == "membership_closeness")
    aggregates = {role: _aggregate(groups, role) for role in (BEFORE, AFTER, RETAIN_MODEL)}
    closeness = {BEFORE: near.before, AFTER: near.after, RETAIN_MODEL: near.control}
    verbatim = "" if kind == "text" else "the set holds no passages to continue"
    asked = "the set holds no questions about the text" if kind == "text" else ""
    return [
        _rouge(groups, "muse_verbatim", "forget", "lower", verbatim),
        _rouge(groups, "muse_knowledge", "forget", "lower", asked),
        _rouge(groups, "muse_utility", "retain", "higher", ""),
        groups.by_role("semeval_aggregate", "forget, retain", "higher", lambda r: aggregates[r]),
        groups.by_role(
            "semeval_score",
            "forget, holdout, retain",
            "higher",
            lambda r: _score(aggregates[r], closeness[r], NO_MMLU),
        ),
    ]


def _rouge(groups: Groups, name: str, split: str, better: Better, lacking: str) -> Metric:
    """Return the mean ROUGE-L (F) of continuations against the true text."""

    def measure(rows: Rows) -> Estimate:
        if lacking:
            return Estimate(None, reason=lacking)
        return groups.mean(rows, lambda s: s.rouge)

    return groups.by_role(name, split, better, lambda r: groups.estimate(r, split, measure))


def _aggregate(groups: Groups, role: str) -> Estimate:
    """Return the harmonic mean of 1 - ROUGE-L on forget and ROUGE-L on retain.

    SemEval averages twelve such numbers, over three kinds of documents; a forget set is one kind.
    """
    import numpy as np

    rouge = []
    for split in ("forget", "retain"):
        values = [s.rouge for s in groups.rows.get((role, split), ()) if s.rouge is not None]
        if not values:
            return Estimate(None, reason=f"no continuations of {split} prompts")
        rouge.append(np.asarray(values))
    forget, retain = rouge

    def aggregate(picks: Picks) -> float:
        return harmonic([1 - float(forget[picks[0]].mean()), float(retain[picks[1]].mean())])

    value = harmonic([1 - float(forget.mean()), float(retain.mean())])
    counts = [len(forget), len(retain)]
    return Estimate(value, sum(counts), *groups.resampled("semeval", counts, aggregate))


def with_mmlu(metrics: Sequence[Metric]) -> list[Metric]:
    """Fill in SemEval's score where MMLU is among the tasks (`--tasks mmlu`).

    It is the mean of three numbers of different rows, without an interval.
    """
    known = {metric.name: metric for metric in metrics}
    mmlu = known.get(MMLU)
    if mmlu is None:
        return list(metrics)
    aggregate, near = known["semeval_aggregate"], known["membership_closeness"]
    filled = replace(
        known["semeval_score"],
        before=_score(aggregate.before, near.before, mmlu.before),
        after=_score(aggregate.after, near.after, mmlu.after),
        control=_score(aggregate.control, near.control, mmlu.control),
    )
    return [filled if metric.name == filled.name else metric for metric in metrics]


def _score(aggregate: Estimate, closeness: Estimate, mmlu: Estimate) -> Estimate:
    """Return the mean of aggregate, membership and MMLU."""
    parts = (aggregate, closeness, mmlu)
    lacking = next((part for part in parts if part.value is None), None)
    if lacking is not None:
        return Estimate(None, aggregate.n, reason=lacking.reason)
    return Estimate(sum(part.value or 0.0 for part in parts) / len(parts), aggregate.n)
