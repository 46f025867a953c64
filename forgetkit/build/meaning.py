"""Vectors of texts, each computed once in a build however many steps ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from forgetkit.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from forgetkit.embed import Embedder

READ = 600
"""Characters of a text that are embedded; MiniLM reads about 128 words."""


class Meaning:
    """Embed texts and remember them.

    Args:
        progress: told of every batch of new texts.
        embedder: turns texts into vectors of length 1; None opens MiniLM when first needed.
    """

    def __init__(self, progress: Progress, embedder: Embedder | None = None) -> None:
        self._progress, self._embedder = progress, embedder
        self._known: dict[str, npt.NDArray[np.float32]] = {}

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return `(n, D)` rows of length 1, in the order of the texts."""
        import numpy as np

        from forgetkit.embed import open_embedder

        keys = [" ".join(text.split())[:READ] for text in texts]
        fresh = [key for key in dict.fromkeys(keys) if key not in self._known]
        if self._embedder is None:
            self._embedder = open_embedder()
        if fresh:
            self._progress.stage("read by meaning", len(fresh))
            vectors = self._embedder.encode(fresh)
            self._progress.advance(len(fresh))
            self._known |= dict(zip(fresh, vectors, strict=True))
        if not keys:
            return np.zeros((0, self._embedder.dimension), np.float32)
        return np.stack([self._known[key] for key in keys])
