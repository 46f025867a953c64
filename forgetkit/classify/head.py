"""The embedding head: what a sentence embedding adds to the linear student.

A logistic regression over MiniLM vectors knows paraphrases that hashed words do not; the two
disagree usefully, so their log-odds are joined by a third regression (stacking, Wolpert 1992). It
reads some hundred texts a second, so it judges what the student found worth a second look.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify.fit import (
    Fitted,
    Labelled,
    Recipe,
    fit,
    folds_of,
    joined,
    measured,
    threshold_of,
)
from forgetkit.classify.linear import LinearClassifier, sigmoid
from forgetkit.classify.scan import buffer
from forgetkit.errors import InputError

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
STRENGTHS = (10.0, 30.0)


class EmbeddedClassifier:
    """A linear student and a head over sentence embeddings, as one classifier.

    Args:
        student: the student whose folder holds the head.
        embed: the model the head was trained on, from n texts to unit vectors (n, D).

    Raises:
        InputError: the student has no head, or it does not fit.
    """

    def __init__(self, student: LinearClassifier, embed: Embed) -> None:
        self.student, self._embed = student, embed
        self.name, self.categories = (
            f"{student.name}+{student.card['embedder']}",
            student.categories,
        )
        arrays, count = student.arrays, len(student.categories)
        shapes = {"head_bias": (count,), "stack": (count, 3)}
        head = arrays.get("head")
        if (
            head is None
            or head.ndim != 2
            or len(head) != count
            or any(
                name not in arrays or arrays[name].shape != shape for name, shape in shapes.items()
            )
        ):
            raise InputError("holds no embedding head that fits its categories", where=student.name)

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return scores in [0, 1], shape (n, C)."""
        if not len(texts):
            return np.zeros((0, len(self.categories)), np.float32)
        data, offsets = buffer(texts)
        arrays = self.student.arrays
        linear = self.student.logits(data, offsets[:-1], offsets[1:])
        head = self._embed(texts) @ arrays["head"].T.astype(np.float32) + arrays["head_bias"]
        stack = arrays["stack"]
        return sigmoid(linear * stack[:, 0] + head * stack[:, 1] + stack[:, 2])

    def threshold(self, category: str) -> float:
        """Return the score from which a text counts, chosen on held-out rows (see the card)."""
        return float(self.student.card["second"]["thresholds"][category])

    def reads(self, category: str) -> str:
        """Return what a category reads: a text, a prompt, an answer, or a pair of both."""
        return self.student.reads(category)


def add_head(
    card: dict[str, Any],
    arrays: dict[str, npt.NDArray[Any]],
    examples: Mapping[str, Sequence[Labelled]],
    fitted: Mapping[str, Fitted],
    recipe: Recipe,
    embed: Embed,
    name: str,
) -> None:
    """Fit a head beside a student; card and arrays are completed in place.

    Args:
        card: of the student.
        arrays: of the student.
        examples: labelled texts by category, those the student was trained on.
        fitted: what `fit.train` returned for them.
        recipe: how thresholds are set.
        embed: the embedding model.
        name: its name for `open_embedder`.
    """
    parts: list[tuple[Fitted, npt.NDArray[np.float32]]] = []
    thresholds = {}
    for category, rows in examples.items():
        used = [row for row in rows if not row.is_held]
        labels = np.array([row.label for row in used])
        weights = np.array([row.weight for row in used])
        vectors = embed([row.text for row in used])
        head = fit(vectors, labels, weights, folds_of(used), STRENGTHS)
        unseen = np.stack([fitted[category].unseen, head.unseen], axis=1)
        stack = joined(unseen, labels, weights)
        parts.append((head, stack))
        scores = sigmoid(unseen @ stack[:2] + stack[2])
        thresholds[category] = threshold_of(labels, scores, recipe)
    arrays["head"] = np.stack([head.weights for head, _ in parts])
    arrays["head_bias"] = np.array([head.bias for head, _ in parts], np.float32)
    arrays["stack"] = np.stack([stack for _, stack in parts])
    card["embedder"] = name
    card["second"] = {"thresholds": thresholds, "held_out": {}}
    classifier = EmbeddedClassifier(LinearClassifier("trained", card, arrays), embed)
    for column, (category, rows) in enumerate(examples.items()):
        held = [row for row in rows if row.is_held]
        scores = classifier.score([row.text for row in held])[:, column]
        figures = measured(held, scores, thresholds[category])
        card["second"]["held_out"][category] = figures
