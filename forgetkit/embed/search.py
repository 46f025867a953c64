"""The one file that calls faiss: flat inner products, so that nothing is approximate."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


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
