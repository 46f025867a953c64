"""Thresholds from labelled documents: the highest that keeps a wanted recall.

Half of the labelled documents, by a hash of their ids, choose the threshold; the other half say
what recall and precision it has, so the figures are of documents that did not choose it. Precision
holds for a corpus that is mixed as the labelled file is.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from forgetkit.classify.fit import fraction
from forgetkit.classify.labels import labels_of
from forgetkit.corpus import DocumentBatch, read_all
from forgetkit.errors import InputError, UsageError
from forgetkit.intervals import wilson
from forgetkit.mine.config import MineConfig
from forgetkit.progress import Progress

LEAST = 10  # labelled documents of each kind in each half
SETTINGS = {"harm": "harm_threshold", "semantic": "semantic_threshold"}

Scores = npt.NDArray[np.float64]


@runtime_checkable
class Scoring(Protocol):
    """A detector whose spans depend on one threshold."""

    def best(self, batch: DocumentBatch, progress: Progress) -> Scores:
        """Return for each document the highest threshold at which it has a span, (N,)."""


def calibrated(
    config: MineConfig, detectors: dict[str, Any], progress: Progress
) -> tuple[MineConfig, dict[str, dict[str, int | float | str]]]:
    """Set the threshold of every detector that has one by labelled documents.

    Args:
        config: with `calibrate` and `recall`.
        detectors: by name; those without a threshold are left alone.
        progress: who watches.

    Returns:
        The configuration with its thresholds, and lines for the detectors' reports.

    Raises:
        UsageError: no detector has a threshold.
        InputError: the labels cannot be read, are too few, or cannot be found at any threshold.
    """
    if config.calibrate is None:
        return config, {}
    scoring = {name: found for name, found in detectors.items() if isinstance(found, Scoring)}
    if not scoring:
        raise UsageError(
            "no detector has a threshold to calibrate", mend=f"Use {' or '.join(SETTINGS)}."
        )
    documents = read_all([config.calibrate], config.columns)
    labels = np.array([any(labels_of(document, "found").values()) for document in documents])
    chooses = np.array([fraction("calibrate", document.doc_id) < 0.5 for document in documents])
    _enough(labels, chooses, str(config.calibrate))
    values: dict[str, float] = {}
    reports: dict[str, dict[str, int | float | str]] = {}
    for name, detector in scoring.items():
        scores = detector.best(DocumentBatch.of(documents), progress)
        positive = scores[labels & chooses]
        limit = threshold(positive, config.recall)
        if float((positive >= limit).mean()) < config.recall:
            raise InputError(
                "no threshold reaches the recall",
                where=f"detector {name}",
                found=f"{(positive > 0).mean():.0%} of the positive labels can be found",
                mend=f"Lower --recall (it is {config.recall:g}), or semantic_margin.",
            )
        values[SETTINGS[name]] = limit
        reports[name] = _measured(scores[~chooses] >= limit, labels[~chooses])
    return config.model_copy(update=values), reports


def threshold(scores: Scores, recall: float) -> float:
    """Return the highest threshold that a share of the scores reaches, rounded down.

    >>> threshold(np.array([0.2, 0.4, 0.6, 0.8]), 0.75)
    0.4
    """
    kept = math.ceil(recall * len(scores) - 1e-9)
    lowest = float(np.sort(scores)[::-1][max(kept, 1) - 1])
    return max(math.floor(lowest * 10_000 + 1e-6) / 10_000, 0.0001)


def _enough(labels: npt.NDArray[np.bool_], chooses: npt.NDArray[np.bool_], where: str) -> None:
    for half in (chooses, ~chooses):
        positive = int((labels & half).sum())
        if min(positive, int(half.sum()) - positive) < LEAST:
            raise InputError(
                "too few labelled documents to calibrate",
                where=where,
                found=f"{int(labels.sum())} positive, {int((~labels).sum())} negative",
                mend=f"Give about {3 * LEAST} of each or more.",
            )


def _measured(
    said: npt.NDArray[np.bool_], labels: npt.NDArray[np.bool_]
) -> dict[str, int | float | str]:
    right = int((said & labels).sum())
    report: dict[str, int | float | str] = {"calibrated_on": len(labels)}
    for name, count in (("recall", int(labels.sum())), ("precision", int(said.sum()))):
        low, high = wilson(right, count)
        report[f"calibrated_{name}"] = round(right / count, 4) if count else "none found"
        report[f"calibrated_{name}_low"] = round(low, 4)
        report[f"calibrated_{name}_high"] = round(high, 4)
    return report
