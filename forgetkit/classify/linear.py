"""The linear student: hashed words and word pairs, one logistic regression a category.

It reads a UTF-8 buffer at the speed of decoding (`scan`), so it can look at a whole corpus; its
weights are one byte each, and its card says how it did on rows that training never saw. It knows
no context: what it finds goes to a stronger classifier or to a person. The bundled one and those
of `forgetkit train-filter` have the same two files, `NAME.npz` (plain arrays) and `NAME.json`.

Categories of the bundled one: ``toxicity`` (of a text), ``harmful_request`` (of a prompt),
``harmful_answer`` (of a prompt and its answer, joined by `pair_text`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify.scan import Bytes, Places, buffer, logits, run_masks
from forgetkit.classify.weights import MODELS, Arrays, open_weights
from forgetkit.errors import InputError, nearest

FILTER = "filter"  # stem of the files that `train-filter` writes
READS = ("text", "prompt", "answer", "pair")


class LinearClassifier:
    """Logistic regressions over hashed n-grams with 8-bit weights.

    Args:
        name: what it is called in reports.
        card: `categories`, `bits`, `runs`, `thresholds`, `reads`, and figures for people.
        arrays: `weights` int8 (2**bits, C), `scale` and `bias` float32 (C,).

    Raises:
        InputError: card and arrays do not fit each other.
    """

    def __init__(self, name: str, card: dict[str, Any], arrays: Arrays) -> None:
        self.name, self.card, self.arrays = name, card, arrays
        self.categories: tuple[str, ...] = tuple(card.get("categories", ()))
        shape = (2 ** int(card.get("bits", 0)), len(self.categories))
        weights = arrays.get("weights")
        if weights is None or weights.shape != shape or weights.dtype != np.int8:
            raise InputError("weights and card do not fit each other", where=name)
        self._weights = np.ascontiguousarray(weights)
        self._scale = arrays["scale"].astype(np.float32)
        self._bias = arrays["bias"].astype(np.float32)
        self._masks = run_masks(card.get("runs", ()))

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return scores in [0, 1], shape (n, C); a text without words gets the bias alone."""
        data, offsets = buffer(texts)
        return self.score_pieces(data, offsets[:-1], offsets[1:])

    def score_pieces(self, data: Bytes, first: Places, last: Places) -> npt.NDArray[np.float32]:
        """Return the scores of pieces of a UTF-8 buffer, shape (n, C)."""
        return sigmoid(self.logits(data, first, last))

    def logits(self, data: Bytes, first: Places, last: Places) -> npt.NDArray[np.float32]:
        """Return the log-odds of pieces of a UTF-8 buffer, shape (n, C)."""
        raw = logits(data, first, last, self._weights, self._masks)
        return np.asarray(raw * self._scale + self._bias, np.float32)

    def threshold(self, category: str) -> float:
        """Return the score from which a text counts, chosen on held-out rows (see the card)."""
        return float(self.card["thresholds"][category])

    def floor(self, category: str) -> float:
        """Return the score above which .99 of the held-out harmful rows lie."""
        return float(self.card.get("floors", self.card["thresholds"])[category])

    def reads(self, category: str) -> str:
        """Return what a category reads: a text, a prompt, an answer, or a pair of both."""
        return str(self.card.get("reads", {}).get(category, "text"))


def sigmoid(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return probabilities of log-odds."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(values, -60, 60))), np.float32)


def open_bundled(folder: Path = MODELS) -> LinearClassifier:
    """Open the bundled classifier, digest checked.

    Raises:
        TamperedError: the weights are not those of the card.
    """
    return LinearClassifier("bundled", *open_weights("bundled", folder))


def is_filter(folder: Path) -> bool:
    """Say whether a folder holds what `train-filter` writes."""
    return (folder / f"{FILTER}.json").is_file()


def open_filter(folder: Path) -> LinearClassifier:
    """Open a classifier that `forgetkit train-filter` wrote, digest checked.

    Raises:
        TamperedError: the weights are not those of the card.
        InputError: the card cannot be read, or does not fit the weights.
    """
    card, arrays = open_weights(FILTER, folder)
    where = str(folder / f"{FILTER}.json")
    names = card.get("categories")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("names no categories", where=where)
    if set(card.get("thresholds", {})) != set(names):
        raise InputError("has no threshold for each category", where=where)
    for name, read in card.get("reads", {}).items():
        if read not in READS:
            raise InputError(
                f"category '{name}' reads '{read}'", where=where, mend=nearest(str(read), READS)
            )
    return LinearClassifier(str(folder), card, arrays)
