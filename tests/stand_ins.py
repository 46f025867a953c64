"""Stand-ins for models that need no weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Embedder:
    """An embedder that gives each text a vector by a function of it."""

    name: str
    dimension: int
    vector: Callable[[str], Vectors]

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Vectors:
        """Return the vectors, (n, dimension)."""
        found = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in enumerate(texts):
            found[row] = self.vector(text)
        if progress is not None:
            progress(len(texts), len(texts))
        return found


def one_hot(name: str, place: Callable[[str], int], dimension: int = 8) -> Embedder:
    """Return an embedder of texts that are alike where a number of theirs is the same."""
    return Embedder(name, dimension, lambda text: np.eye(dimension, dtype=np.float32)[place(text)])


def counting_words(dimension: int) -> Embedder:
    """Return an embedder that counts words, by a hash of each."""

    def vector(text: str) -> Vectors:
        counts = np.full(dimension, 1e-6, np.float32)
        for word in re.findall(r"\w+", text.lower()):
            counts[crc32(word.encode()) % dimension] += 1
        return np.asarray(counts / np.linalg.norm(counts), np.float32)

    return Embedder("words", dimension, vector)
