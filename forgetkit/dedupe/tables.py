"""What `dedupe` writes about documents: duplicates, clusters, labels."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetkit.dedupe.catalogue import Catalogue, Numbers
from forgetkit.dedupe.clusters import EXACT, Clusters, Matches
from forgetkit.dedupe.meaning import SameMeaning
from forgetkit.dedupe.outcome import cluster_name, write_columns
from forgetkit.files import atomic_stream

REASONS = {"folded": "same letters and digits", "raw": "same bytes"}


@dataclass(frozen=True)
class Also:
    """Documents that go for their meaning, and the model that compared them."""

    alike: SameMeaning
    model: str


def write_clusters(path: Path, clusters: Clusters, catalogue: Catalogue) -> list[str]:
    """Write `clusters.parquet`, one row a group; return the names of the groups."""
    import pyarrow as pa

    order = _by_source(clusters, catalogue)
    sources = catalogue.sources(order)
    bounds = clusters.bounds.tolist()
    names = [cluster_name(sources[a:b]) for a, b in itertools.pairwise(bounds)]
    columns = {
        "cluster_id": pa.array(names, pa.string()),
        "size": pa.array(clusters.sizes, pa.int64()),
        "members": pa.ListArray.from_arrays(
            pa.array(clusters.bounds, pa.int32()), pa.array(sources, pa.string())
        ),
        "representative": pa.array(catalogue.sources(clusters.staying), pa.string()),
        "representative_doc_id": pa.array(catalogue.doc_ids(clusters.staying), pa.string()),
    }
    write_columns(path, columns)
    return names


def _by_source(clusters: Clusters, catalogue: Catalogue) -> Numbers:
    """Return the members in the order of the corpus within each group."""
    group = np.repeat(np.arange(len(clusters)), clusters.sizes)
    return clusters.members[np.lexsort((clusters.members, group))]


def write_duplicates(
    path: Path,
    matches: Matches,
    names: list[str],
    catalogue: Catalogue,
    compare: str,
    also: Also | None = None,
) -> None:
    """Write `duplicates.parquet`: for each document that goes, what it matched and why.

    Args:
        path: the file.
        matches: the copies, ours only.
        names: the cluster of each.
        catalogue: all documents.
        compare: how exact copies were compared.
        also: documents that go for their meaning; they come last, without cluster and Jaccard.
    """
    import pyarrow as pa

    text = pa.string()
    exact = matches.method == EXACT
    reasons = [
        REASONS[compare] if same else f"Jaccard {value:.3f} of word 5-grams"
        for same, value in zip(exact.tolist(), matches.jaccard.tolist(), strict=True)
    ]
    numbers, others = matches.numbers, matches.others
    methods = np.where(exact, "exact", "near").tolist()
    if also is not None:
        numbers = np.concatenate((numbers, also.alike.numbers))
        others = np.concatenate((others, also.alike.others))
        methods += ["semantic"] * len(also.alike.numbers)
        reasons += [f"cosine {value:.3f} of {also.model}" for value in also.alike.cosines.tolist()]
    rest: list[None] = [None] * (len(numbers) - len(names))
    columns = {
        "doc_id": pa.array(catalogue.doc_ids(numbers), text),
        "source": pa.array(catalogue.sources(numbers), text),
        "matched_doc_id": pa.array(catalogue.doc_ids(others), text),
        "matched_source": pa.array(catalogue.sources(others), text),
        "jaccard": pa.array([*matches.jaccard.tolist(), *rest], pa.float64()),
        "method": pa.array(methods, text),
        "cluster_id": pa.array([*names, *rest], text),
        "reason": pa.array(reasons, text),
        "containment": pa.array([*matches.containment.tolist(), *rest], pa.float64()),
        "matched_corpus": pa.array(
            np.where(others < catalogue.settled, "against", "own").tolist(), text
        ),
    }
    write_columns(path, columns)


def write_labels(
    path: Path, catalogue: Catalogue, clusters: Clusters, names: list[str], dropped: Numbers
) -> None:
    """Write `labels.parquet`: for every document of ours whether it stays, and its cluster."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    group = np.full(len(catalogue), -1, np.int64)
    group[clusters.members] = np.repeat(np.arange(len(clusters)), clusters.sizes)
    goes = np.zeros(len(catalogue), bool)
    goes[dropped] = True
    kinds = [(name, pa.string()) for name in ("doc_id", "source", "label", "cluster_id")]
    bounds = catalogue.where.ends
    with atomic_stream(path) as stream, pq.ParquetWriter(stream, pa.schema(kinds)) as writer:
        for begin, end in itertools.pairwise(bounds.tolist()):
            if begin < catalogue.settled:
                continue
            numbers = np.arange(begin, end)
            found: dict[str, Any] = {
                "doc_id": catalogue.doc_ids(numbers),
                "source": catalogue.sources(numbers),
                "label": np.where(goes[begin:end], "duplicate", "kept").tolist(),
                "cluster_id": [names[g] if g >= 0 else None for g in group[begin:end].tolist()],
            }
            writer.write_table(pa.table(found, schema=pa.schema(kinds)))
