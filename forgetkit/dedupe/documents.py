"""Documents: exact and near duplicates, one of each cluster kept, none forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from forgetkit.dedupe.catalogue import Catalogue, Numbers
from forgetkit.dedupe.clusters import (
    Clusters,
    Matches,
    cluster,
    match_copies,
    split_by_representative,
)
from forgetkit.dedupe.job import Job
from forgetkit.dedupe.keeping import ranks
from forgetkit.dedupe.meaning import SameMeaning, same_meaning
from forgetkit.dedupe.nearby import Nearby, Shingled, compare_near
from forgetkit.dedupe.shards import Shard
from forgetkit.dedupe.signing import Sign, key_name, shingle_piece
from forgetkit.dedupe.tables import Also, write_clusters, write_duplicates, write_labels
from forgetkit.embed import open_embedder
from forgetkit.match.signatures import bands_for


@dataclass(frozen=True)
class Documents:
    """Finds and drops whole documents.

    Attributes:
        job: what to do.
    """

    job: Job

    def run(self) -> dict[str, Any]:
        """Do all steps; return the summary."""
        job, config = self.job, self.job.config
        where = job.find(Sign(job.signer, config.columns))
        catalogue = Catalogue.load(where, job.settled, alone=config.against_only)
        near = self._compare(catalogue)
        clusters = self._cluster(catalogue, near)
        matches = match_copies(clusters, catalogue, near, config.threshold)
        dropped = np.sort(matches.numbers[matches.numbers >= catalogue.settled])
        alike, model = self._same_meaning(catalogue, dropped)
        dropping = config.semantic == "drop"
        gone = np.union1d(dropped, alike.numbers) if dropping else dropped
        also = Also(alike, model) if dropping else None
        self._write_tables(catalogue, matches, clusters, gone, also)
        if not config.annotate:
            self._write_kept(catalogue, gone)
        if job.store is not None and not job.store.holds(job.digest):
            job.store.add(job.digest, self._to_store(catalogue, gone))
        extra = {"clusters": len(clusters)}
        if config.semantic != "off":
            extra |= {"semantic": len(alike.numbers), "semantic_unread": alike.left_out}
        return job.summary(self._by_file(catalogue, gone), extra)

    def _by_file(self, catalogue: Catalogue, numbers: Numbers) -> dict[str, int]:
        found: dict[str, int] = {}
        pieces, lost = np.unique(catalogue.where.piece_of(numbers), return_counts=True)
        for piece, count in zip(pieces.tolist(), lost.tolist(), strict=True):
            label = catalogue.where.labels[piece]
            found[label] = found.get(label, 0) + count
        return found

    def _same_meaning(self, catalogue: Catalogue, dropped: Numbers) -> tuple[SameMeaning, str]:
        """Return the documents of one meaning among those that are left, and the model."""
        job, config = self.job, self.job.config
        left = np.setdiff1d(np.arange(catalogue.settled, len(catalogue)), dropped)
        if config.semantic == "off":
            return SameMeaning(left[:0], left[:0], np.zeros(0), len(left)), ""
        job.progress.stage("comparing meanings", None)
        embedder = job.embedder or open_embedder(config.embedder)
        pieces = enumerate(job.pieces, job.settled)
        alike = same_meaning(catalogue, pieces, left, config, embedder)
        alike.write(job.out / "semantic.parquet", catalogue, embedder.name)
        return alike, embedder.name

    def _compare(self, catalogue: Catalogue) -> Nearby:
        config = self.job.config
        if not config.near:
            return Nearby.nothing()
        self.job.progress.stage("comparing candidates", None)
        return compare_near(
            catalogue,
            bands_for(config.threshold).count,
            config.threshold,
            self.job.parts_folder,
            lambda chosen: self.job.shingles(catalogue.where, catalogue.rows, chosen),
            alone=config.against_only,
        )

    def _cluster(self, catalogue: Catalogue, near: Nearby) -> Clusters:
        config = self.job.config
        clusters = cluster(catalogue, near, np.arange(len(catalogue)))
        pieces = [None] * self.job.settled + [*self.job.pieces]
        rank = ranks(catalogue, pieces, config, np.sort(clusters.members))
        clusters = cluster(catalogue, near, rank)
        if config.verify_representative:
            return split_by_representative(clusters, catalogue, near, config.threshold, rank)
        return clusters

    def _write_tables(
        self,
        catalogue: Catalogue,
        matches: Matches,
        clusters: Clusters,
        gone: Numbers,
        also: Also | None,
    ) -> None:
        """Write what was found; `gone` are the sorted numbers of our documents that go."""
        out, config = self.job.out, self.job.config
        ours = matches.numbers >= catalogue.settled
        names = write_clusters(out / "clusters.parquet", clusters, catalogue)
        _, group = clusters.dropped()
        write_duplicates(
            out / "duplicates.parquet",
            _chosen(matches, ours),
            [names[number] for number in group[ours].tolist()],
            catalogue,
            config.compare,
            also,
        )
        if config.annotate:
            write_labels(out / "labels.parquet", catalogue, clusters, names, gone)

    def _write_kept(self, catalogue: Catalogue, dropped: Numbers) -> None:
        job = self.job
        files = job.files()
        job.progress.stage("writing what stays", len(files))
        bad = job.bad_rows()
        for label, path, pieces in files:
            first, last = job.settled + pieces[0], job.settled + pieces[-1]
            begin, end = catalogue.where.bounds[[first, last + 1]]
            rows = catalogue.rows[begin:end]
            stays = np.ones(len(rows), bool)
            gone = dropped[np.searchsorted(dropped, begin) : np.searchsorted(dropped, end)]
            stays[gone - begin] = False
            starts = np.union1d(rows, np.array(bad.get(label, []), np.int64))
            shard = Shard(label, path, job.out / "kept", job.config.columns)
            shard.write(rows[stays], starts)
            job.progress.advance()

    def _to_store(
        self, catalogue: Catalogue, dropped: Numbers
    ) -> Iterator[tuple[str, Any, Shingled]]:
        import pyarrow as pa

        where, columns = catalogue.where, self.job.config.columns
        names = ["row", "doc_id", "characters", "grams", "print_a", "print_b"]
        names += [key_name(band) for band in range(bands_for(self.job.config.threshold).count)]
        for number, piece in enumerate(self.job.pieces, self.job.settled):
            numbers = np.arange(where.bounds[number], where.bounds[number + 1])
            stays = ~np.isin(numbers, where.within(number, dropped))
            table = where.piece(number, names).filter(pa.array(stays))
            yield piece.label, table, shingle_piece(piece, columns, catalogue.rows[numbers[stays]])


def _chosen(matches: Matches, mask: Any) -> Matches:
    return replace(
        matches,
        numbers=matches.numbers[mask],
        others=matches.others[mask],
        method=matches.method[mask],
        jaccard=matches.jaccard[mask],
        containment=matches.containment[mask],
    )
