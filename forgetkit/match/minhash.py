"""Near duplicates among texts in memory: word 5-grams, MinHash bands, exact Jaccard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from forgetkit.match.fingerprints import key_of
from forgetkit.match.groups import Sets, join_all, near_groups, roots
from forgetkit.match.shingles import column_of, shingle_sets
from forgetkit.match.signatures import Signer, bands_for, salts_of


@dataclass(frozen=True)
class Pair:
    """Two texts whose shingles overlap enough.

    Attributes:
        first: number of the one that came first.
        second: number of the other.
        jaccard: exact Jaccard similarity, in (0, 1].
    """

    first: int
    second: int
    jaccard: float


def near_copies(texts: Sequence[str], threshold: float = 0.8, seed: int = 0) -> list[Pair]:
    """Find texts that nearly repeat another one.

    Broder 1997, "On the resemblance and containment of documents". Pairs that are already joined
    through others are not compared, so `n` copies of a text give `n - 1` pairs.

    >>> near_copies(["To be or not to be", "To be, or not to be!", "That is the question"])
    [Pair(first=0, second=1, jaccard=1.0)]

    Args:
        texts: what to compare.
        threshold: least Jaccard similarity of word 5-grams, in (0, 1].
        seed: of the permutations.

    Raises:
        InputError: the threshold is too low for MinHash.
    """
    bands = bands_for(threshold)
    column = column_of(texts)
    signed = Signer(key_of(bytes(16)), salts_of(seed), bands).sign(column)
    rows = np.flatnonzero(signed.counts)
    sets = Sets(*shingle_sets(column, rows))
    found = near_groups(lambda band: signed.keys[rows, band], bands.count, sets, threshold)
    sizes = np.diff(sets.bounds)
    union = sizes[found.first] + sizes[found.second] - found.shared
    columns = (rows[found.first], rows[found.second], found.shared / union)
    return sorted(
        (Pair(int(a), int(b), float(j)) for a, b, j in zip(*columns, strict=True)),
        key=lambda pair: (pair.first, pair.second),
    )


def clusters_of(count: int, pairs: Iterable[Pair]) -> list[int]:
    """Return, for each of `count` texts, the number of the first text of its cluster."""
    parents = np.arange(count, dtype=np.int64)
    ends = np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2)
    join_all(parents, ends[:, 0].copy(), ends[:, 1].copy())
    return [int(root) for root in roots(parents)]
