"""Documents: exact and near duplicates, one of each cluster kept, none forgotten."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from forgetkit import __version__
from forgetkit.corpus import Quarantine, corpus_files
from forgetkit.dedupe.catalogue import Catalogue, Numbers
from forgetkit.dedupe.clusters import (
    Clusters,
    Matches,
    cluster,
    match_copies,
    split_by_representative,
)
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.keeping import ranks
from forgetkit.dedupe.nearby import Nearby, Shingled, compare_near
from forgetkit.dedupe.outcome import MARKER, DedupeResult, result_of
from forgetkit.dedupe.parts import Parts, Source, collect_books
from forgetkit.dedupe.shards import write_shard
from forgetkit.dedupe.signing import shingle_file, sign_file
from forgetkit.dedupe.tables import write_clusters, write_duplicates, write_labels
from forgetkit.errors import ForgetkitError, InputError
from forgetkit.files import claim_folder, digest_of, sha256_file, write_json
from forgetkit.match.fingerprints import key_of
from forgetkit.match.signatures import Signer, bands_for, salts_of
from forgetkit.progress import Progress, Silent

PARTS = ".parts"


def dedupe(
    source: Sequence[Path],
    out: Path,
    *,
    against: Sequence[Path] = (),
    config: DedupeConfig | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> DedupeResult:
    """Keep one document of each group of copies.

    Args:
        source: files and folders of a corpus.
        out: folder for `kept/` (the corpus without its copies, file by file),
            `duplicates.parquet` (which document each copy matched), `clusters.parquet`,
            `quarantine.jsonl` and `summary.json`.
        against: another corpus; what it holds goes from ours, and it stays as it is.
        config: settings.
        workers: threads; their number changes no byte of the outputs.
        progress: who watches.

    Raises:
        InputError: a path is missing, or the corpus is empty.
        TooManyBadRowsError: after `quarantine.jsonl` was written.
        UsageError: `out` holds something else.
    """
    began = time.monotonic()
    config, progress = config or DedupeConfig(), progress or Silent()
    ours, theirs = _sources(source), _sources(against)
    identity = {
        "command": "dedupe",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "inputs": {one.label: one.sha256 for one in ours},
        "against": {one.label: one.sha256 for one in theirs},
    }
    run = Run(source, ours, theirs, out, config, digest_of(identity), workers, progress)
    if not claim_folder(out, MARKER, identity):
        summary = run.whole()
        shutil.rmtree(out / PARTS, ignore_errors=True)
        write_json(out / MARKER, identity | summary)
    return result_of(out, run.outputs, time.monotonic() - began)


def _sources(paths: Sequence[Path]) -> list[Source]:
    return [Source(label, path, sha256_file(path)) for label, path in corpus_files(paths)]


@dataclass(frozen=True)
class Run:
    """One run over documents.

    Attributes:
        paths: what the user named.
        ours: files of the corpus.
        theirs: files of the other corpus.
        out: output folder.
        config: settings.
        digest: of everything the result depends on.
        workers: threads.
        progress: who watches.
    """

    paths: Sequence[Path]
    ours: list[Source]
    theirs: list[Source]
    out: Path
    config: DedupeConfig
    digest: str
    workers: int
    progress: Progress

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the names of what is written."""
        corpus = "labels.parquet" if self.config.annotate else "kept"
        return corpus, "duplicates.parquet", "clusters.parquet", "quarantine.jsonl"

    @property
    def sources(self) -> list[Source]:
        """Return all files, the other corpus first."""
        return self.theirs + self.ours

    def whole(self) -> dict[str, Any]:
        """Do all steps; return the summary."""
        quarantine = Quarantine(self.config.max_bad_rows)
        corpus_files(self.paths, quarantine)  # lists the files that are no corpus
        catalogue = self._read(quarantine)
        near = self._compare(catalogue)
        clusters = self._cluster(catalogue, near)
        matches = match_copies(clusters, catalogue, near, self.config.threshold)
        ours = matches.numbers >= catalogue.settled
        names = write_clusters(self.out / "clusters.parquet", clusters, catalogue)
        _, group = clusters.dropped()
        write_duplicates(
            self.out / "duplicates.parquet",
            _chosen(matches, ours),
            [names[g] for g in group[ours].tolist()],
            catalogue,
            self.config.compare,
        )
        dropped = np.sort(matches.numbers[ours])
        if self.config.annotate:
            path = self.out / "labels.parquet"
            write_labels(path, catalogue, clusters, names, dropped)
        else:
            self._write_kept(catalogue, dropped, quarantine)
        return self._summary(catalogue, clusters, dropped, quarantine)

    def _read(self, quarantine: Quarantine) -> Catalogue:
        config = self.config
        bands = bands_for(config.threshold) if config.near else None
        signer = Signer(
            key_of(bytes.fromhex(self.digest)),
            salts_of(config.seed),
            bands,
            folds=config.compare == "folded",
        )
        self.progress.stage("reading the corpus", len(self.sources))
        parts = Parts(self.out / PARTS, f"sign {self.digest}", self.workers, self.progress).make(
            self.sources,
            lambda source, books: sign_file(source, books, signer, config.columns),
            config.max_bad_rows,
        )
        others = Quarantine(config.max_bad_rows)
        collect_books(parts[: len(self.theirs)], others)
        collect_books(parts[len(self.theirs) :], quarantine)
        quarantine.write(self.out / "quarantine.jsonl")
        quarantine.check()
        others.check()
        for file in quarantine.files:
            quarantine.balance(file)
        self._refuse_nothing(quarantine)
        return Catalogue.load(
            parts,
            [source.label for source in self.sources],
            len(self.theirs),
            alone=config.against_only,
        )

    def _refuse_nothing(self, quarantine: Quarantine) -> None:
        if quarantine.total().kept == 0:
            bad = quarantine.rows
            raise InputError(
                "the corpus is empty",
                where=", ".join(map(str, self.paths)),
                found=f"{len(bad)} bad rows, the first: {bad[0].reason}" if bad else "",
                mend="See quarantine.jsonl." if bad else "",
            )

    def _compare(self, catalogue: Catalogue) -> Nearby:
        config = self.config
        if not config.near:
            return Nearby.nothing()
        self.progress.stage("comparing candidates", None)
        return compare_near(
            catalogue,
            bands_for(config.threshold).count,
            config.threshold,
            self.out / PARTS,
            self._shingles,
            alone=config.against_only,
        )

    def _shingles(self, part: int, rows: Numbers) -> Shingled:
        return shingle_file(self.sources[part], self.config.columns, rows)

    def _cluster(self, catalogue: Catalogue, near: Nearby) -> Clusters:
        rank = np.arange(len(catalogue))
        clusters = cluster(catalogue, near, rank)
        rank = ranks(catalogue, self.sources, self.config, np.sort(clusters.members))
        clusters = cluster(catalogue, near, rank)
        if self.config.verify_representative:
            return split_by_representative(clusters, catalogue, near, self.config.threshold, rank)
        return clusters

    def _write_kept(self, catalogue: Catalogue, dropped: Numbers, quarantine: Quarantine) -> None:
        self.progress.stage("writing what stays", len(self.ours))
        bad: dict[str, list[int]] = {}
        for row in quarantine.rows:
            bad.setdefault(row.file, []).append(row.line)
        for part, source in enumerate(self.sources):
            if part < len(self.theirs):
                continue
            begin, end = catalogue.bounds[part], catalogue.bounds[part + 1]
            rows = catalogue.rows[begin:end]
            stays = ~np.isin(np.arange(begin, end), dropped)
            starts = np.union1d(rows, np.array(bad.get(source.label, []), np.int64))
            write_shard(source.label, source.path, self.out / "kept", rows[stays], starts)
            self.progress.advance()

    def _summary(
        self, catalogue: Catalogue, clusters: Clusters, dropped: Numbers, quarantine: Quarantine
    ) -> dict[str, Any]:
        accounting = {
            file: {**books, "duplicate": 0} for file, books in quarantine.accounting().items()
        }
        parts, lost = np.unique(catalogue.part_of(dropped), return_counts=True)
        for part, count in zip(parts.tolist(), lost.tolist(), strict=True):
            books = accounting[catalogue.labels[part]]
            books["duplicate"] += count
            books["kept"] -= count
        counts = {
            name: sum(books[name] for books in accounting.values())
            for name in ("read", "kept", "duplicate", "quarantined")
        }
        if counts["read"] != counts["kept"] + counts["duplicate"] + counts["quarantined"]:
            raise ForgetkitError("rows do not add up", found=str(counts))
        return {
            "counts": counts | {"clusters": len(clusters)},
            "accounting": accounting,
            "warnings": self._warnings(accounting, counts),
            "ignored_files": sorted(quarantine.ignored),
        }

    def _warnings(self, accounting: dict[str, dict[str, int]], counts: dict[str, int]) -> list[str]:
        warnings = [
            f"{file}: {books['duplicate']} of {books['read']} documents are duplicates"
            for file, books in accounting.items()
            if books["read"] > 1
            and books["duplicate"] / books["read"] > self.config.max_source_loss
        ]
        if counts["quarantined"]:
            warnings.append(f"{counts['quarantined']} bad rows were put into quarantine.jsonl")
        return warnings


def _chosen(matches: Matches, mask: Any) -> Matches:
    return Matches(
        matches.numbers[mask],
        matches.others[mask],
        matches.method[mask],
        matches.jaccard[mask],
        matches.containment[mask],
    )
