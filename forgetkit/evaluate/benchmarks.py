"""Numbers of public benchmarks: MUSE (arXiv:2407.06460) and SemEval-2025 task 4 (2504.02883)."""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.evaluate.groups import Groups, Rows
from forgetkit.evaluate.sample import AFTER, BEFORE, RETAIN_MODEL
from forgetkit.evaluate.truth import harmonic
from forgetkit.results import Better, Estimate, Metric


def benchmarks(groups: Groups, kind: str, metrics: Sequence[Metric]) -> list[Metric]:
    """Return MUSE's three others beside privacy leakage, and SemEval's aggregate and score."""
    near = next(m for m in metrics if m.name == "membership_closeness")
    closeness = {BEFORE: near.before, AFTER: near.after, RETAIN_MODEL: near.control}
    verbatim = "" if kind == "text" else "the set holds no passages to continue"
    asked = "the set holds no questions about the text" if kind == "text" else ""
    return [
        _rouge(groups, "muse_verbatim", "forget", "lower", verbatim),
        _rouge(groups, "muse_knowledge", "forget", "lower", asked),
        _rouge(groups, "muse_utility", "retain", "higher", ""),
        groups.by_role(
            "semeval_aggregate", "forget, retain", "higher", lambda r: _aggregate(groups, r)
        ),
        groups.by_role(
            "semeval_score",
            "forget, holdout, retain",
            "higher",
            lambda r: _score(_aggregate(groups, r), closeness[r]),
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
    means = []
    for split in ("forget", "retain"):
        values = [s.rouge for s in groups.rows.get((role, split), ()) if s.rouge is not None]
        if not values:
            return Estimate(None, reason=f"no continuations of {split} prompts")
        means.append(sum(values) / len(values))
    rows = sum(len(groups.rows[role, split]) for split in ("forget", "retain"))
    return Estimate(harmonic([1 - means[0], means[1]]), rows)


def _score(aggregate: Estimate, closeness: Estimate) -> Estimate:
    """Return the mean of aggregate, membership and MMLU: null, for MMLU is not run here."""
    if aggregate.value is None:
        return aggregate
    why = closeness.reason or "MMLU was not run"
    return Estimate(None, aggregate.n, reason=why)
