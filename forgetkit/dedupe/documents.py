"""Documents: exact and near duplicates, one of each cluster kept, none forgotten."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from forgetkit import __version__
from forgetkit.corpus import Document, Quarantine, corpus_files, read_corpus
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.graph import Graph, Place
from forgetkit.dedupe.outcome import MARKER, DedupeResult, cluster_name, result_of, write_table
from forgetkit.errors import ForgetkitError, InputError
from forgetkit.files import atomic_path, claim_folder, sha256_bytes, sha256_file, write_json
from forgetkit.match import NearDuplicates, folded_text, shingles
from forgetkit.match.minhash import Shingles
from forgetkit.progress import Progress, Silent

OUTPUTS = ("kept.jsonl", "duplicates.parquet", "clusters.parquet", "quarantine.jsonl")


def dedupe(
    source: Sequence[Path],
    out: Path,
    *,
    config: DedupeConfig | None = None,
    progress: Progress | None = None,
) -> DedupeResult:
    """Keep one document of each group of copies.

    Args:
        source: files and folders of a corpus.
        out: folder for `kept.jsonl`, `duplicates.parquet` (which document each duplicate matched),
            `clusters.parquet`, `quarantine.jsonl` and `summary.json`.
        config: settings.
        progress: who watches.

    Raises:
        InputError: a path is missing, or the corpus is empty.
        TooManyBadRowsError: after `quarantine.jsonl` was written.
        UsageError: `out` holds something else.
    """
    began = time.monotonic()
    config, progress = config or DedupeConfig(), progress or Silent()
    identity = {
        "command": "dedupe",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": {label: sha256_file(path) for label, path in corpus_files(source)},
    }
    if not claim_folder(out, MARKER, identity):
        summary = _run(source, out, config, progress)
        write_json(out / MARKER, identity | summary)
    return result_of(out, OUTPUTS, time.monotonic() - began)


def _run(
    source: Sequence[Path], out: Path, config: DedupeConfig, progress: Progress
) -> dict[str, Any]:
    quarantine = Quarantine(config.max_bad_rows)
    near = NearDuplicates(config.seed)
    try:
        graph, numbers = _read(source, quarantine, near, config, progress)
    finally:
        quarantine.write(out / "quarantine.jsonl")
    quarantine.check()
    if config.near:
        progress.stage("comparing candidates", None)
        _connect_near(graph, near, numbers, source, config)
    clusters = graph.clusters()
    kept = {_representative(graph, members, config) for members in clusters}
    dropped = {n for members in clusters for n in members} - kept
    _write_clusters(out, graph, clusters, kept)
    _write_kept(source, out, dropped, len(graph.places), config, progress)
    return _summary(graph, clusters, dropped, quarantine, config)


def _read(
    source: Sequence[Path],
    quarantine: Quarantine,
    near: NearDuplicates,
    config: DedupeConfig,
    progress: Progress,
) -> tuple[Graph, list[int]]:
    """Read once; return the graph with its exact pairs, and the document of each signature."""
    graph = Graph()
    first: dict[str, int] = {}
    numbers: list[int] = []
    progress.stage("reading the corpus", None)
    for document in read_corpus(source, columns=config.columns, quarantine=quarantine):
        text = document.whole()
        number = len(graph.places)
        graph.places.append(Place(document.doc_id, document.source, len(text)))
        original = first.setdefault(_fingerprint(text), number)
        if original != number:
            graph.connect(original, number, 1.0, "exact")
        elif config.near:
            near.add(shingles(text))
            numbers.append(number)
        progress.advance()
    return graph, numbers


def _fingerprint(text: str) -> str:
    """Return a digest of the letters and digits; of the raw text where it has none."""
    folded = folded_text(text)
    key = f"folded\0{folded}" if folded else f"raw\0{text}"
    return sha256_bytes(key.encode("utf-8", "surrogatepass"))


def _connect_near(
    graph: Graph,
    near: NearDuplicates,
    numbers: list[int],
    source: Sequence[Path],
    config: DedupeConfig,
) -> None:
    wanted = {numbers[n] for pair in near.candidates() for n in pair}
    if not wanted:
        return
    held: dict[int, Shingles] = {
        number: shingles(document.whole())
        for number, document in enumerate(_again(source, config))
        if number in wanted
    }
    for pair in near.pairs(config.threshold, lambda n: held[numbers[n]]):
        graph.connect(numbers[pair.first], numbers[pair.second], round(pair.jaccard, 6), "near")


def _again(source: Sequence[Path], config: DedupeConfig) -> Iterator[Document]:
    return read_corpus(source, columns=config.columns, quarantine=Quarantine(config.max_bad_rows))


def _representative(graph: Graph, members: list[int], config: DedupeConfig) -> int:
    if config.keep == "longest":
        return max(members, key=lambda n: (graph.places[n].length, -n))
    return members[0]


def _write_clusters(out: Path, graph: Graph, clusters: list[list[int]], kept: set[int]) -> None:
    import pyarrow as pa

    duplicates, groups = [], []
    for members in clusters:
        stays = next(n for n in members if n in kept)
        sources = [graph.places[n].source for n in members]
        cluster_id = cluster_name(sources)
        groups.append(
            {
                "cluster_id": cluster_id,
                "size": len(members),
                "members": sources,
                "representative": graph.places[stays].source,
                "representative_doc_id": graph.places[stays].doc_id,
            }
        )
        duplicates += [_duplicate(graph, n, stays, cluster_id) for n in members if n != stays]
    text, real, count = pa.string(), pa.float64(), pa.int64()
    columns = {
        "doc_id": text,
        "source": text,
        "matched_doc_id": text,
        "matched_source": text,
        "jaccard": real,
        "method": text,
        "cluster_id": text,
        "reason": text,
    }
    write_table(out / "duplicates.parquet", duplicates, pa.schema(columns))
    columns = {
        "cluster_id": text,
        "size": count,
        "members": pa.list_(text),
        "representative": text,
        "representative_doc_id": text,
    }
    write_table(out / "clusters.parquet", groups, pa.schema(columns))


def _duplicate(graph: Graph, number: int, stays: int, cluster_id: str) -> dict[str, Any]:
    edge = max(graph.edges[number], key=lambda e: (e.other == stays, e.jaccard, -e.other))
    place, matched = graph.places[number], graph.places[edge.other]
    if edge.method == "exact":
        reason = "same letters and digits"
    else:
        reason = f"Jaccard {edge.jaccard:.3f} of word 5-grams"
    return {
        "doc_id": place.doc_id,
        "source": place.source,
        "matched_doc_id": matched.doc_id,
        "matched_source": matched.source,
        "jaccard": edge.jaccard,
        "method": edge.method,
        "cluster_id": cluster_id,
        "reason": reason,
    }


def _write_kept(
    source: Sequence[Path],
    out: Path,
    dropped: set[int],
    total: int,
    config: DedupeConfig,
    progress: Progress,
) -> None:
    progress.stage("writing what stays", total)
    seen = 0
    with (
        atomic_path(out / "kept.jsonl", private=True) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        for number, document in enumerate(_again(source, config)):
            seen += 1
            if number not in dropped:
                row = json.dumps(_row(document), ensure_ascii=False, default=str)
                stream.write(row + "\n")
            progress.advance()
    if seen != total:
        raise InputError("the corpus changed while it was read", found=f"{seen} of {total} rows")


def _row(document: Document) -> dict[str, Any]:
    columns: dict[str, Any] = {"id": document.doc_id} | dict(document.fields())
    return columns | {key: document.extra[key] for key in document.extra if key not in columns}


def _summary(
    graph: Graph,
    clusters: list[list[int]],
    dropped: set[int],
    quarantine: Quarantine,
    config: DedupeConfig,
) -> dict[str, Any]:
    accounting = {
        file: {**books, "duplicate": 0} for file, books in quarantine.accounting().items()
    }
    for number in dropped:
        books = accounting[graph.places[number].file]
        books["duplicate"] += 1
        books["kept"] -= 1
    counts = {
        name: sum(books[name] for books in accounting.values())
        for name in ("read", "kept", "duplicate", "quarantined")
    }
    if counts["read"] != counts["kept"] + counts["duplicate"] + counts["quarantined"]:
        raise ForgetkitError("rows do not add up", found=str(counts))
    warnings = [
        f"{file}: {books['duplicate']} of {books['read']} documents are duplicates"
        for file, books in accounting.items()
        if books["read"] > 1 and books["duplicate"] / books["read"] > config.max_source_loss
    ]
    if counts["quarantined"]:
        warnings.append(f"{counts['quarantined']} bad rows were put into quarantine.jsonl")
    return {
        "counts": counts | {"clusters": len(clusters)},
        "accounting": accounting,
        "warnings": warnings,
        "ignored_files": sorted(quarantine.ignored),
    }
