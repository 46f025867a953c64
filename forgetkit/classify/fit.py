"""Fit the linear student, and where asked an embedding head, on labelled texts.

Each category is a logistic regression of its own. Its strength is chosen, its scores are
calibrated (Platt 1999) and its threshold is set on out-of-fold scores of the training rows, so the
held-out rows are touched once, to measure. Folds and the held-out part are hashes of row ids.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify.figures import area, figures
from forgetkit.classify.linear import LinearClassifier, sigmoid
from forgetkit.classify.scan import features
from forgetkit.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FOLDS = 5
LEAST = 10  # rows of each kind that a category needs for training
STRENGTHS = (1.0, 3.0, 10.0)
Vector = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Labelled:
    """One text with its label for one category.

    Attributes:
        key: id of its row; decides the fold.
        text: the text as the classifier will see it.
        label: whether it belongs to the category.
        source: where it comes from; figures are given by source.
        weight: how much it counts in training; above 0.
        is_held: it is kept out of training and measures.
    """

    key: str
    text: str
    label: bool
    source: str = "labels"
    weight: float = 1.0
    is_held: bool = False


@dataclass(frozen=True)
class Recipe:
    """How to fit.

    Attributes:
        bits: 2**bits buckets a category.
        runs: lengths of character runs beside words and word pairs.
        false_positives: share of harmless rows that may score above the threshold.
        recall: recall that the threshold is set for instead, if given.
    """

    bits: int = 17
    runs: tuple[int, ...] = ()
    false_positives: float = 0.05
    recall: float | None = None


def fraction(purpose: str, key: object) -> float:
    """Return a fixed pseudo-random number in [0, 1) for a row.

    >>> round(fraction("held", "a"), 3) == round(fraction("held", "a"), 3)
    True
    """
    digest = hashlib.blake2b(f"{purpose}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def matrix(texts: Sequence[str], recipe: Recipe) -> csr_matrix:
    """Return the hashed features of texts, sparse (n, 2**bits)."""
    from scipy.sparse import csr_matrix

    values, places, rows = features(texts, recipe.bits, recipe.runs)
    return csr_matrix((values, places, rows), shape=(len(texts), 2**recipe.bits))


@dataclass(frozen=True)
class Fitted:
    """One fitted logistic regression and what it said of its own rows when it had not seen them.

    Attributes:
        weights: (D,).
        bias: log-odds of an empty row.
        unseen: calibrated out-of-fold log-odds, (n,).
    """

    weights: Vector
    bias: float
    unseen: Vector


def fit(rows: Any, labels: Any, weights: Any, folds: Any, strengths: Sequence[float]) -> Fitted:
    """Fit one calibrated logistic regression.

    Args:
        rows: features, (n, D), dense or sparse.
        labels: (n,) booleans.
        weights: (n,), above 0.
        folds: (n,) numbers 0 to 4.
        strengths: inverse penalties to choose from by out-of-fold area under ROC.
    """
    tried = [_unseen(rows, labels, weights, folds, strength) for strength in strengths]
    areas = [round(area(labels, scores) or 0.0, 4) for scores in tried]
    chosen = int(np.argmax(areas))
    strength, unseen = strengths[chosen], tried[chosen]
    slope, shift = joined(unseen[:, None], labels, weights).tolist()
    model = _regression(rows, labels, weights, strength)
    return Fitted(
        (model.coef_[0] * slope).astype(np.float32),
        float(model.intercept_[0] * slope + shift),
        (unseen * slope + shift).astype(np.float32),
    )


def _unseen(rows: Any, labels: Any, weights: Any, folds: Any, strength: float) -> Vector:
    """Return what models of the other folds say of each row, in log-odds."""
    unseen = np.zeros(len(labels), np.float32)
    for fold in np.unique(folds).tolist():
        inside = folds == fold
        model = _regression(rows[~inside], labels[~inside], weights[~inside], strength)
        unseen[inside] = model.decision_function(rows[inside])
    return unseen


def _regression(rows: Any, labels: Any, weights: Any, strength: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(
        C=strength, solver="liblinear", class_weight="balanced", random_state=0, max_iter=200
    )
    return model.fit(rows, labels, sample_weight=weights)


def joined(scores: Any, labels: Any, weights: Any) -> Vector:
    """Fit probabilities to the log-odds of one or more models; return slopes, then the shift."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e3, random_state=0).fit(scores, labels, sample_weight=weights)
    slopes = np.maximum(model.coef_[0], 1e-3)
    return np.append(slopes, model.intercept_[0]).astype(np.float32)


def threshold_of(labels: Any, scores: Any, recipe: Recipe) -> float:
    """Return the score that the recipe's rule asks for, from scores of rows not trained on.

    Without a recall asked for, it is the least number of four decimals that no more than the share
    `false_positives` of harmless rows reach; where many of them tie it lies above them all.
    """
    if recipe.recall is not None:
        return round(float(np.quantile(scores[labels], 1 - recipe.recall, method="lower")), 4)
    harmless = np.sort(scores[~labels])[::-1]
    allowed = min(int(recipe.false_positives * len(harmless)), len(harmless) - 1)
    return (math.floor(float(harmless[allowed]) * 10_000) + 1) / 10_000


def quantised(fitted: Sequence[Fitted]) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a `LinearClassifier`: a byte a weight, buckets first."""
    weights = np.stack([one.weights for one in fitted])
    scale = np.maximum(np.abs(weights).max(axis=1), 1e-9) / 127
    return {
        "weights": np.ascontiguousarray(np.round(weights / scale[:, None]).astype(np.int8).T),
        "scale": scale.astype(np.float32),
        "bias": np.array([one.bias for one in fitted], np.float32),
    }


def train(
    examples: Mapping[str, Sequence[Labelled]], recipe: Recipe
) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]], dict[str, Fitted]]:
    """Fit a student for several categories.

    Args:
        examples: labelled texts by category.
        recipe: how to fit.

    Returns:
        The card, the arrays, and what was fitted, by category.

    Raises:
        InputError: a category has fewer than ten rows of a kind to train on.
    """
    fitted, thresholds, floors = {}, {}, {}
    for name, rows in examples.items():
        used = [row for row in rows if not row.is_held]
        _enough(name, used)
        labels = np.array([row.label for row in used])
        fitted[name] = fit(
            matrix([row.text for row in used], recipe),
            labels,
            np.array([row.weight for row in used]),
            folds_of(used),
            STRENGTHS,
        )
        unseen = sigmoid(fitted[name].unseen)
        thresholds[name] = threshold_of(labels, unseen, recipe)
        floors[name] = round(float(np.quantile(unseen[labels], 0.01)), 4)
    arrays = quantised(list(fitted.values()))
    card: dict[str, Any] = {
        "categories": list(examples),
        "bits": recipe.bits,
        "runs": list(recipe.runs),
        "thresholds": thresholds,
        "floors": floors,
        "trained_on": {name: counts(rows) for name, rows in examples.items()},
    }
    student = LinearClassifier("trained", card, arrays)
    card["held_out"] = {
        name: measured(rows, student.score([r.text for r in rows])[:, column], thresholds[name])
        for column, (name, rows) in enumerate(examples.items())
    }
    return card, arrays, fitted


def _enough(name: str, used: Sequence[Labelled]) -> None:
    positive = sum(row.label for row in used)
    if min(positive, len(used) - positive) < LEAST:
        raise InputError(
            f"category '{name}' has too few rows to train on",
            found=f"{positive} positive, {len(used) - positive} negative",
            mend=f"Give at least {LEAST} of each beside the held-out ones.",
        )


def folds_of(rows: Sequence[Labelled]) -> npt.NDArray[np.int64]:
    """Return the fold of each row, by a hash of its key."""
    return np.array([int(fraction("fold", row.key) * FOLDS) for row in rows])


def measured(rows: Sequence[Labelled], scores: Vector, threshold: float) -> dict[str, Any]:
    """Return figures over the held-out rows."""
    held = np.array([row.is_held for row in rows])
    kept = [row for row in rows if row.is_held]
    labels = np.array([row.label for row in kept], bool)
    return figures(labels, scores[held], [row.source for row in kept], threshold)


def counts(rows: Sequence[Labelled]) -> dict[str, dict[str, int]]:
    """Count the rows trained on, by source and label."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if not row.is_held:
            count = found.setdefault(row.source, {"harmful": 0, "harmless": 0})
            count["harmful" if row.label else "harmless"] += 1
    return found
