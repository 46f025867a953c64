"""The bundled classifier: hashed n-grams and one logistic regression a category.

One page of NumPy, under 2 MiB, no download, some thousand short texts a second on one core. Against
MiniLM plus logistic regression it is a little worse on paraphrase and out-of-domain text; its card
``models/bundled.json`` has the areas under ROC by source on held-out rows, and what each category
was trained on. It knows no context: use it to find candidates that a person or a stronger
classifier reviews.

Categories: ``toxicity`` (of a text), ``harmful_request`` (of a prompt), ``harmful_answer`` (of a
prompt and its answer, joined by `pair_text`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from forgetkit.classify.grams import document_hashes, sparse_row
from forgetkit.classify.weights import MODELS, Arrays, open_weights


class LinearClassifier:
    """Logistic regressions over hashed n-grams with 8-bit weights."""

    name = "bundled"

    def __init__(self, card: dict[str, Any], arrays: Arrays) -> None:
        self.card = card
        self.categories: tuple[str, ...] = tuple(card["categories"])
        self._bits = int(card["bits"])
        scales = arrays["scale"].astype(np.float32)[:, None]
        self._weights = arrays["weights"].astype(np.float32) * scales  # (C, 2**bits)
        self._bias = arrays["bias"].astype(np.float32)  # (C,)

    def score(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return scores in [0, 1], shape (n, 3); a text without words gets the bias alone."""
        logits = np.empty((len(texts), len(self.categories)), dtype=np.float32)
        for row, text in enumerate(texts):
            places, values = sparse_row(document_hashes(text), self._bits)
            logits[row] = self._weights[:, places] @ values + self._bias
        return np.asarray(1.0 / (1.0 + np.exp(-logits)), dtype=np.float32)

    def threshold(self, category: str) -> float:
        """Return the score above which the card's stated false-positive rate holds."""
        return float(self.card["thresholds"][category])


def open_bundled(folder: Path = MODELS) -> LinearClassifier:
    """Open the bundled classifier, digest checked.

    Raises:
        TamperedError: the weights are not those of the card.
    """
    return LinearClassifier(*open_weights("bundled", folder))
