"""Utility: what ordinary abilities are left, as ratios after / before over paired rows."""

from __future__ import annotations

from forgetkit.evaluate.groups import Groups, exponential
from forgetkit.results import ABSENT, Estimate, Metric, mean


def utility(groups: Groups) -> list[Metric]:
    """Return the least of three ratios, the ratios, and a paired test of the losses."""
    parts = {
        "utility_retain": _ratio_of_perplexity(groups, "retain"),
        "utility_general": _ratio_of_perplexity(groups, "general"),
        "utility_answers": _ratio_of_rouge(groups),
    }
    metrics = [
        Metric(name, name.removeprefix("utility_"), "higher", ABSENT, estimate)
        for name, estimate in parts.items()
    ]
    missing = [name for name, e in parts.items() if e.value is None]
    if missing:
        least = Estimate(None, reason=f"{missing[0]}: {parts[missing[0]].reason}")
    else:
        least = min(parts.values(), key=lambda e: e.value or 0.0)
    one = Estimate(1.0) if least.value is not None else ABSENT
    test = Metric("utility_p_value", "retain, general", "none", ABSENT, _wilcoxon(groups))
    return [Metric("utility", "retain, general", "higher", one, least), *metrics, test]


def _gains(groups: Groups, split: str) -> list[float]:
    pairs = groups.paired(split)
    return [b.nll - a.nll for b, a in pairs if b.nll is not None and a.nll is not None]


def _ratio_of_perplexity(groups: Groups, split: str) -> Estimate:
    """Return perplexity before / after over paired rows: 1 when nothing changed."""
    gains = _gains(groups, split)
    if not gains:
        return Estimate(None, reason=f"no {split} rows with a model before")
    return exponential(mean(gains, groups.config.seed, groups.config.bootstrap))


def _ratio_of_rouge(groups: Groups) -> Estimate:
    """Return mean ROUGE-L of retain answers after / before, with a paired bootstrap interval."""
    import numpy as np

    from forgetkit.seeds import generator

    pairs = [
        (b.rouge, a.rouge)
        for b, a in groups.paired("retain")
        if b.rouge is not None and a.rouge is not None
    ]
    if not pairs:
        return Estimate(None, reason="no retain answers with a model before")
    if not any(b for b, _ in pairs):
        why = "the model before repeats no word of the retain answers: no ratio to it"
        return Estimate(None, len(pairs), reason=why)
    values, config = np.asarray(pairs), groups.config
    picks = generator(config.seed, "rouge").integers(0, len(pairs), (config.bootstrap, len(pairs)))
    means = values[picks].mean(axis=1)
    low, high = np.quantile(means[:, 1] / np.maximum(means[:, 0], 1e-9), [0.025, 0.975])
    ratio = values[:, 1].mean() / values[:, 0].mean()
    return Estimate(float(ratio), len(pairs), float(low), float(high))


def _wilcoxon(groups: Groups) -> Estimate:
    """Return the p-value of the signed-rank test of the losses before and after (Wilcoxon 1945)."""
    gains = _gains(groups, "retain") + _gains(groups, "general")
    if not gains:
        return Estimate(None, reason="no retain or general rows with a model before")
    if not any(gains):
        return Estimate(1.0, len(gains))
    from scipy.stats import wilcoxon

    return Estimate(float(wilcoxon(gains).pvalue), len(gains))
