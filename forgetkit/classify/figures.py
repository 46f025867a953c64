"""Figures of a classifier on rows that training never saw: the numbers of its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.intervals import wilson

BINS = 10
Labels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.floating[Any]]


def area(labels: Labels, scores: Scores) -> float | None:
    """Return the area under ROC: the chance that a positive outranks a negative; ties count half.

    Returns:
        A number in [0, 1], higher is better, .5 is chance; None without both kinds.
    """
    from scipy.stats import rankdata

    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return None
    ranks = rankdata(scores)[labels].sum()
    return float((ranks - positive * (positive + 1) / 2) / (positive * negative))


def rate(hits: int, n: int) -> dict[str, Any]:
    """Return a rate with n and Wilson's 95 % interval; null without rows."""
    low, high = wilson(hits, n)
    value = round(hits / n, 4) if n else None
    return {"value": value, "n": n, "low": round(low, 4), "high": round(high, 4)}


def at_threshold(labels: Labels, scores: Scores, threshold: float) -> dict[str, Any]:
    """Return precision, recall and false positives where a score of the threshold counts."""
    said = scores >= threshold
    right = int((said & labels).sum())
    return {
        "precision": rate(right, int(said.sum())),
        "recall": rate(right, int(labels.sum())),
        "false_positives": rate(int((said & ~labels).sum()), int((~labels).sum())),
    }


def calibration(labels: Labels, scores: Scores) -> dict[str, float]:
    """Return the expected calibration error over ten bins and the Brier score; lower is better."""
    place = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
    error = 0.0
    for number in range(BINS):
        inside = place == number
        if inside.any():
            gap = abs(float(scores[inside].mean()) - float(labels[inside].mean()))
            error += gap * float(inside.mean())
    brier = float(((scores - labels) ** 2).mean())
    return {"expected_error": round(error, 4), "brier": round(brier, 4)}


def figures(
    labels: Labels, scores: Scores, sources: Sequence[str], threshold: float
) -> dict[str, Any]:
    """Return all figures of one category, and the area under ROC by source.

    A source with one kind of label is measured against the negatives of all sources.
    """
    names = np.array(sources)
    by_source = {}
    for name in sorted(set(sources)):
        inside = names == name
        if not labels[inside].any():
            continue
        if labels[inside].all():
            inside = inside | ~labels
        value = area(labels[inside], scores[inside])
        if value is not None:
            by_source[name] = {
                "auc": round(value, 3),
                "n": int(inside.sum()),
                "harmful": int(labels[inside].sum()),
            }
    whole = area(labels, scores)
    return {
        "auc": None if whole is None else round(whole, 4),
        "n": len(labels),
        "harmful": int(labels.sum()),
        **at_threshold(labels, scores, threshold),
        "calibration": calibration(labels, scores),
        "by_source": by_source,
    }
