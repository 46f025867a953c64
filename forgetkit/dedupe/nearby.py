"""Near duplicates of a catalogue: candidates by band, their shingles on disk, exact Jaccard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forgetkit.dedupe.catalogue import BandKeys, Catalogue, Numbers
from forgetkit.files import scratch
from forgetkit.match.groups import Edges, Sets, near_groups, sharing_a_key

Shingled = Iterator[tuple[npt.NDArray[np.uint64], Numbers]]


@dataclass(frozen=True)
class Nearby:
    """What was compared, and what came of it.

    Attributes:
        numbers: `(m,)` sorted numbers of the documents that were compared.
        sets: their shingles.
        edges: pairs of documents, by number, that are near copies.
    """

    numbers: Numbers
    sets: Sets
    edges: Edges

    @classmethod
    def nothing(cls) -> Nearby:
        """Return the outcome of comparing nothing."""
        none = np.zeros(0, np.int64)
        return cls(
            none, Sets(np.zeros(0, np.uint64), np.zeros(1, np.int64)), Edges(none, none, none)
        )


def compare_near(
    catalogue: Catalogue,
    bands: int,
    threshold: float,
    folder: Path,
    shingles_of: Callable[[Numbers], Shingled],
    *,
    alone: bool,
) -> Nearby:
    """Find the near duplicates among documents that are no exact copies.

    Args:
        catalogue: all documents.
        bands: of their signatures.
        threshold: least Jaccard similarity.
        folder: for files that outgrow memory.
        shingles_of: returns the shingles of some documents, sorted, one behind the other.
        alone: our documents are compared with the other corpus only.
    """
    own = np.arange(len(catalogue))
    active = np.flatnonzero((catalogue.first == own) & (catalogue.grams > 0))
    keys = BandKeys(folder / "keys.u64", catalogue, active, bands)
    chosen = active[sharing_a_key(keys, bands, len(active))]
    if not len(chosen):
        return Nearby.nothing()
    place = np.searchsorted(active, chosen)
    sets = _write_sets(folder / "shingles.u64", shingles_of(chosen))
    found = near_groups(
        lambda band: keys(band)[place],
        bands,
        sets,
        threshold,
        settled=int(np.searchsorted(chosen, catalogue.settled)),
        alone=alone,
    )
    edges = Edges(chosen[found.first], chosen[found.second], found.shared)
    return Nearby(chosen, sets, edges)


def _write_sets(path: Path, shingled: Shingled) -> Sets:
    sizes = [np.zeros(1, np.int64)]
    with scratch(path) as stream:
        for hashes, counts in shingled:
            stream.write(np.ascontiguousarray(hashes, "<u8").data)
            sizes.append(counts)
    bounds = np.cumsum(np.concatenate(sizes))
    return Sets.open(path, bounds)
