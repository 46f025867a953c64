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
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from forgetkit.classify.scan import Bytes, Places, buffer, logits, run_masks
from forgetkit.classify.weights import MODELS, Arrays, open_weights
from forgetkit.config import Config, parse
from forgetkit.errors import InputError

FILTER = "filter"  # stem of the files that `train-filter` writes
Limits = dict[str, Annotated[float, Field(ge=0.0, le=2.0)]]  # above 1: no text reaches it


class Head(Config):
    """What a card says of the embedding head; more may stand there, for people."""

    model_config = ConfigDict(extra="ignore")

    thresholds: Limits


class Card(Config):
    """What a card must hold for its filter to work; more may stand there, for people."""

    model_config = ConfigDict(extra="ignore")

    categories: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    bits: int = Field(ge=1, le=30, strict=True)
    runs: tuple[Annotated[int, Field(ge=2, le=7, strict=True)], ...] = ()
    thresholds: Limits
    floors: Limits | None = None
    reads: dict[str, Literal["text", "prompt", "answer", "pair"]] = Field(default_factory=dict)
    embedder: str | None = None
    second: Head | None = None


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
        self._scale, self._bias = (_of_columns(arrays, part, name) for part in ("scale", "bias"))
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


def _of_columns(arrays: Arrays, part: str, where: str) -> npt.NDArray[np.float32]:
    found, count = arrays.get(part), arrays["weights"].shape[1]
    if found is None or found.shape != (count,) or found.dtype.kind not in "fiu":
        raise InputError(f"weights lack a '{part}' for each category", where=where)
    return np.asarray(found, np.float32)


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
    known = parse(Card, card, where)
    for limits in (known.thresholds, known.floors, known.second and known.second.thresholds):
        if limits is not None and set(limits) != set(known.categories):
            raise InputError("has no threshold for each category", where=where)
    if known.embedder is not None and known.second is None:
        raise InputError("names an embedding model, and no thresholds with it", where=where)
    return LinearClassifier(str(folder), card, arrays)
