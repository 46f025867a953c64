"""What every kind of deduplication shares: files, books, the signer, the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.corpus import Quarantine, corpus_files
from forgetkit.corpus.pieces import pieces_of
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.parts import Parts, Source, collect_books
from forgetkit.dedupe.stored import Store
from forgetkit.errors import ForgetkitError, InputError
from forgetkit.files import digest_of, sha256_file
from forgetkit.match.fingerprints import key_of
from forgetkit.match.signatures import Signer, bands_for, salts_of
from forgetkit.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

    from forgetkit.embed import Embedder

PARTS = ".parts"


def sources_of(paths: Sequence[Path]) -> list[Source]:
    """Cut the files of a corpus into pieces, each with the digest of its file."""
    found: list[Source] = []
    for label, path in corpus_files(paths):
        digest = sha256_file(path)
        found += [Source(piece, digest) for piece in pieces_of(label, path)]
    return found


@dataclass(frozen=True)
class Job:
    """One deduplication.

    Attributes:
        paths: what the user named.
        ours: pieces of the corpus.
        theirs: pieces of the other corpus.
        store: signatures of earlier runs, or None.
        out: output folder.
        config: settings.
        digest: of everything the result depends on.
        workers: threads.
        progress: who watches.
        quarantine: books of our files, filled by `read`.
        embedder: the model of semantic duplicates; None opens the one that the settings name.
    """

    paths: Sequence[Path]
    ours: list[Source]
    theirs: list[Source]
    store: Store | None
    out: Path
    config: DedupeConfig
    digest: str
    workers: int
    progress: Progress
    quarantine: Quarantine
    embedder: Embedder | None = None

    @property
    def parts_folder(self) -> Path:
        """Return where unfinished work is kept."""
        return self.out / PARTS

    @property
    def sources(self) -> list[Source]:
        """Return all pieces that are read, the other corpus first."""
        return self.theirs + self.ours

    @property
    def signer(self) -> Signer:
        """Return the signer: its key depends on all that is read, or is that of the store."""
        near = self.config.near and self.config.level == "document"
        return Signer(
            self.store.key if self.store else key_of(bytes.fromhex(self.digest)),
            salts_of(self.config.seed),
            bands_for(self.config.threshold) if near else None,
            folds=self.config.compare == "folded",
        )

    def read(self, work: Callable[[Source, Quarantine], Iterator[pa.Table]]) -> list[Path]:
        """Make the part of every piece and keep the books; return the parts, theirs first.

        Raises:
            TooManyBadRowsError: after `quarantine.jsonl` was written.
            InputError: there is no document.
        """
        corpus_files(self.paths, self.quarantine)  # lists the files that are no corpus
        self.progress.stage("reading the corpus", len(self.sources))
        key = self.signer.key.tobytes().hex()
        step = digest_of([self.config.model_dump(mode="json"), key])
        parts = Parts(self.parts_folder, step, self.workers, self.progress).make(
            self.sources, work, self.config.max_bad_rows
        )
        others = Quarantine(self.config.max_bad_rows)
        collect_books(parts[: len(self.theirs)], others)
        collect_books(parts[len(self.theirs) :], self.quarantine)
        self.quarantine.write(self.out / "quarantine.jsonl")
        self.quarantine.check()
        others.check()
        for file in self.quarantine.files:
            self.quarantine.balance(file)
        self._refuse_nothing()
        return parts

    def _refuse_nothing(self) -> None:
        if self.quarantine.total().kept:
            return
        bad = self.quarantine.rows
        raise InputError(
            "the corpus is empty",
            where=", ".join(map(str, self.paths)),
            found=f"{len(bad)} bad rows, the first: {bad[0].reason}" if bad else "",
            mend="See quarantine.jsonl." if bad else "",
        )

    def files(self) -> list[tuple[str, Path, list[int]]]:
        """Return label, path and numbers of the pieces (from 0) of each file of ours."""
        found: list[tuple[str, Path, list[int]]] = []
        for number, source in enumerate(self.ours):
            if not found or found[-1][0] != source.label:
                found.append((source.label, source.path, []))
            found[-1][2].append(number)
        return found

    def bad_rows(self) -> dict[str, list[int]]:
        """Return the rows in quarantine, by file."""
        found: dict[str, list[int]] = {}
        for row in self.quarantine.rows:
            found.setdefault(row.file, []).append(row.line)
        return found

    def summary(
        self,
        lost: Mapping[str, int],
        extra: Mapping[str, int],
        alike: Mapping[str, int] | None = None,
    ) -> dict[str, Any]:
        """Return counts, books by file and warnings.

        Args:
            lost: documents that go, by file.
            extra: other counts.
            alike: documents that go for their meaning, by file; None where nobody looked.
        """
        accounting = self.quarantine.accounting()
        for file, books in accounting.items():
            books["duplicate"] = lost.get(file, 0)
            books["kept"] -= lost.get(file, 0)
            if alike is not None:
                books["semantic"] = alike.get(file, 0)
                books["kept"] -= alike.get(file, 0)
        names = ("read", "kept", "duplicate", "quarantined")
        counts = {name: sum(books[name] for books in accounting.values()) for name in names}
        gone = sum((alike or {}).values())
        if counts["read"] != sum(counts[name] for name in names[1:]) + gone:
            raise ForgetkitError("rows do not add up", found=str(counts))
        return {
            "counts": counts | dict(extra),
            "accounting": accounting,
            "warnings": self._warnings(accounting, counts["quarantined"]),
            "ignored_files": sorted(self.quarantine.ignored),
        }

    def _warnings(self, accounting: dict[str, dict[str, int]], quarantined: int) -> list[str]:
        limit = self.config.max_source_loss
        warnings = [
            f"{file}: {books['duplicate']} of {books['read']} documents are duplicates"
            for file, books in accounting.items()
            if books["read"] > 1 and books["duplicate"] / books["read"] > limit
        ]
        if quarantined:
            warnings.append(f"{quarantined} bad rows were put into quarantine.jsonl")
        return warnings
