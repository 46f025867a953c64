"""The one file that calls faiss: flat inner products; approximate only where that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import numpy.typing as npt

FLAT = 2048  # rows that are compared one by one; more go into lists
PROBES = 8  # lists that are looked into
TAUGHT, ROUNDS = 20, 4  # rows for each list that its centre is taken from, and rounds of k-means
BLOCK = 4096  # rows that are asked for at a time


def nearest(
    seeds: npt.NDArray[np.float32], windows: npt.NDArray[np.float32], k: int = 1
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Find the nearest seeds of each window.

    Args:
        seeds: `(S, D)` rows of length 1.
        windows: `(n, D)` rows of length 1.
        k: seeds a window; at most S are returned.

    Returns:
        Cosines in [-1, 1] and numbers of seeds, both `(n, min(k, S))`, the best first.
    """
    import faiss
    import numpy as np

    k = min(k, len(seeds))
    if k == 0 or len(windows) == 0:
        return np.zeros((len(windows), k), np.float32), np.zeros((len(windows), k), np.int64)
    index = faiss.IndexFlatIP(seeds.shape[1])
    index.add(np.ascontiguousarray(seeds, np.float32))
    scores, ids = index.search(np.ascontiguousarray(windows, np.float32), k)
    return scores, ids


def range_hits(
    seeds: npt.NDArray[np.float32], windows: npt.NDArray[np.float32], threshold: float
) -> list[tuple[int, int, float]]:
    """Return every (window, seed, cosine) of at least the threshold, in order."""
    import faiss
    import numpy as np

    if not len(seeds) or not len(windows):
        return []
    index = faiss.IndexFlatIP(seeds.shape[1])
    index.add(np.ascontiguousarray(seeds, np.float32))
    below = float(np.nextafter(np.float32(threshold), np.float32(-2.0)))
    limits, scores, ids = index.range_search(np.ascontiguousarray(windows, np.float32), below)
    hits = [
        (window, int(ids[at]), float(scores[at]))
        for window in range(len(windows))
        for at in range(int(limits[window]), int(limits[window + 1]))
    ]
    return sorted(hits)


class NearIndex:
    """Vectors that many others are compared with: flat, or by inverted lists where they are many.

    In lists a vector takes a byte a dimension, which moves a cosine by less than .003.

    Args:
        count: vectors, S.
        rows: gives those of a slice, `(n, D)` rows of length 1; asked for few at a time.
    """

    def __init__(self, count: int, rows: Callable[[slice], npt.NDArray[np.float32]]) -> None:
        import faiss
        import numpy as np

        width = rows(slice(0, 0)).shape[1]
        self._index: Any = faiss.IndexFlatIP(width)
        if count > FLAT:
            lists = int(4 * count**0.5)
            step = max(1, count // (TAUGHT * lists))
            taught = np.empty((len(range(0, count, step)), width), np.float32)
            for at in range(0, len(taught), BLOCK):
                some = slice(at * step, (at + BLOCK) * step, step)
                taught[at : at + BLOCK] = rows(some)
            self._lists = self._index
            self._index = faiss.IndexIVFScalarQuantizer(
                self._lists,
                width,
                lists,
                faiss.ScalarQuantizer.QT_8bit,
                faiss.METRIC_INNER_PRODUCT,
            )
            self._index.cp.niter, self._index.cp.min_points_per_centroid = ROUNDS, 1
            self._index.train(taught)
            self._index.nprobe = PROBES
        for at in range(0, count, BLOCK):
            self._index.add(np.ascontiguousarray(rows(slice(at, at + BLOCK)), np.float32))

    def best(self, vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the highest cosine of each vector to any of the index, (n,); 0 if it is empty."""
        import numpy as np

        if self._index.ntotal == 0 or len(vectors) == 0:
            return np.zeros(len(vectors), np.float32)
        scores, _ = self._index.search(np.ascontiguousarray(vectors, np.float32), 1)
        return np.asarray(np.maximum(scores[:, 0], -1.0), np.float32)

    def nominated(self, vectors: npt.NDArray[np.float32], count: int) -> list[int]:
        """Return the rows that are among the `count` nearest of any vector, ascending."""
        import numpy as np

        if self._index.ntotal == 0 or len(vectors) == 0:
            return []
        _, ids = self._index.search(np.ascontiguousarray(vectors, np.float32), count)
        return [int(row) for row in np.unique(ids) if row >= 0]
