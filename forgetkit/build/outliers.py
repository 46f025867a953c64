"""Forget examples that are not like the others: a person should look at them."""

from __future__ import annotations

from collections.abc import Sequence

from forgetkit.build.control import Surprise, words_of
from forgetkit.build.overlap import Encode
from forgetkit.forget_set import Example

FENCE = 3.0
"""Interquartile ranges beyond a quartile from which on a value is far out (Tukey 1977)."""
LEAST = 8
"""Examples below which nothing is called an outlier."""

Outlier = tuple[str, str, float]


def outliers(forget: Sequence[Example], surprise: Surprise, encode: Encode | None) -> list[Outlier]:
    """Return id, reason and value of forget examples far out in length, surprise or meaning.

    Args:
        forget: the examples.
        surprise: how unusual their words are.
        encode: turns texts into vectors of length 1; meaning is the cosine with the mean vector.
            None leaves it out.
    """
    if len(forget) < LEAST:
        return []
    found = _far("words", forget, [words_of(e) for e in forget])
    found += _far("surprise", forget, surprise(forget))
    if encode is not None:
        vectors = encode([f"{e.prompt} {e.answer}" for e in forget])
        centre = vectors.mean(axis=0)
        norm = float((centre @ centre) ** 0.5) or 1.0
        cosines = [float(v) for v in vectors @ centre / norm]
        found += [one for one in _far("meaning", forget, cosines) if one[2] < _median(cosines)]
    return found


def _far(what: str, forget: Sequence[Example], values: Sequence[float]) -> list[Outlier]:
    import numpy as np

    low, high = (float(v) for v in np.quantile(values, (0.25, 0.75)))
    room = FENCE * (high - low)
    return [
        (example.example_id, what, round(value, 3))
        for example, value in zip(forget, values, strict=True)
        if not low - room <= value <= high + room
    ]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
