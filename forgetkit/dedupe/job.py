"""What every kind of deduplication shares: tasks, books, the signer, the summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.corpus.pieces import Piece
from forgetkit.corpus.quarantine import NO_TEXT
from forgetkit.dedupe.config import DedupeConfig
from forgetkit.dedupe.parts import tables_of
from forgetkit.dedupe.signing import Shingle, shingles_in
from forgetkit.dedupe.stored import Store, StoredPart
from forgetkit.dedupe.stretches import Numbers, Stretches
from forgetkit.engine import Part, Plan, Shard, Task, Work, run
from forgetkit.engine.books import (
    bad_rows,
    books_of,
    check_bad_rows,
    check_not_empty,
    write_quarantine,
)
from forgetkit.errors import ForgetkitError
from forgetkit.files import PARTS, digest_of, sha256_bytes
from forgetkit.match.fingerprints import key_of
from forgetkit.match.signatures import Signer, bands_for, salts_of
from forgetkit.progress import Progress

if TYPE_CHECKING:
    from forgetkit.dedupe.nearby import Shingled
    from forgetkit.embed import Embedder


@dataclass(frozen=True)
class Job:
    """One deduplication.

    Attributes:
        paths: what the user named.
        ours: tasks over the corpus.
        theirs: tasks over the other corpus.
        store: signatures of earlier runs, or None.
        out: output folder.
        config: settings.
        digest: of everything the result depends on.
        inputs: digest of all that is read.
        workers: threads, or CPUs of Ray.
        engine: local or ray.
        progress: who watches.
        embedder: the model of semantic duplicates; None opens the one that the settings name.
        parts: of our tasks, filled by `find`.
    """

    paths: Sequence[Path]
    ours: Plan
    theirs: Plan
    store: Store | None
    out: Path
    config: DedupeConfig
    digest: str
    inputs: str
    workers: int
    engine: str
    progress: Progress
    embedder: Embedder | None = None
    parts: list[Part] = field(default_factory=list)

    @property
    def parts_folder(self) -> Path:
        """Return where unfinished work is kept."""
        return self.out / PARTS

    @property
    def stored(self) -> list[StoredPart]:
        """Return what earlier runs kept."""
        return self.store.before(self.digest) if self.store else []

    @property
    def pieces(self) -> list[Piece]:
        """Return the pieces of the corpus, in order."""
        return [piece for task in self.ours.tasks for piece in task.pieces]

    @property
    def settled(self) -> int:
        """Return the number of pieces that come before ours: stored ones and the other corpus."""
        return len(self.stored) + sum(len(task.pieces) for task in self.theirs.tasks)

    @property
    def signer(self) -> Signer:
        """Return the signer: its key depends on all that is read, or is that of the store."""
        near = self.config.near and self.config.level == "document"
        return Signer(
            self.store.key if self.store else key_of(bytes.fromhex(self.inputs)),
            salts_of(self.config.seed),
            bands_for(self.config.threshold) if near else None,
            folds=self.config.compare == "folded",
        )

    def find(self, work: Work) -> Stretches:
        """Do the tasks of the first look and keep the books; return what was found.

        Raises:
            TooManyBadRowsError: after `quarantine.jsonl` was written.
            InputError: there is no document.
        """
        step = self._step(work)
        theirs = self._run(self.theirs.tasks, work, step)
        self.parts.extend(self._run(self.ours.tasks, work, step))
        write_quarantine(self.parts, self.out / "quarantine.jsonl")
        check_bad_rows(self.parts, self.config.max_bad_rows)
        check_bad_rows(theirs, self.config.max_bad_rows)
        check_not_empty(self.parts, self.paths)
        ours = tables_of(self.ours.tasks, self.parts)
        return Stretches.of([*self.stored, *tables_of(self.theirs.tasks, theirs), *ours])

    def find_shard(self, work: Work, shard: Shard) -> dict[str, int]:
        """Do the tasks of one shard only; return how many, and of how many."""
        tasks = [*self.theirs.tasks, *self.ours.tasks]
        mine = shard.of(tasks)
        self._run(mine, work, self._step(work))
        return {"tasks": len(mine), "of": len(tasks)}

    def shingles(self, where: Stretches, rows: Numbers, chosen: Numbers) -> Shingled:
        """Yield the shingles and sizes of some sorted documents, in order.

        Args:
            where: all documents.
            rows: `(n,)` row of each in its file.
            chosen: `(m,)` numbers of those that are wanted.
        """
        for number, part in enumerate(self.stored):
            inside = where.within(number, chosen)
            if len(inside):
                yield from part.sets(rows[inside])
        first = len(self.stored)
        for name, plan in (("theirs", self.theirs), ("ours", self.ours)):
            wanted: dict[int, list[Numbers]] = {}
            for task in plan.tasks:
                numbers = range(first, first + len(task.pieces))
                wanted[task.number] = [rows[where.within(n, chosen)] for n in numbers]
                first += len(task.pieces)
            tasks = [task for task in plan.tasks if any(map(len, wanted[task.number]))]
            work = Shingle(self.config.columns, wanted)
            step = digest_of([name, self._step(work), sha256_bytes(chosen.tobytes())])
            yield from map(shingles_in, self._run(tasks, work, step) if tasks else ())

    def _step(self, work: Work) -> str:
        """Return the digest of all that a part depends on beside its pieces."""
        key = self.signer.key.tolist()
        return digest_of([__version__, type(work).__name__, self.config.of_looking(), key])

    def _run(self, tasks: Sequence[Task], work: Work, step: str) -> list[Part]:
        return run(
            tasks,
            work,
            self.parts_folder,
            step,
            workers=self.workers,
            engine=self.engine,
            progress=self.progress,
        )

    def files(self) -> list[tuple[str, Path, list[int]]]:
        """Return label, path and numbers of the pieces (from 0) of each file of ours."""
        found: list[tuple[str, Path, list[int]]] = []
        for number, piece in enumerate(self.pieces):
            if not found or found[-1][0] != piece.label:
                found.append((piece.label, piece.path, []))
            found[-1][2].append(number)
        return found

    def bad_rows(self) -> dict[str, list[int]]:
        """Return the rows in quarantine, by file."""
        found: dict[str, list[int]] = {}
        for row in self._bad_rows():
            found.setdefault(row["file"], []).append(row["line"])
        return found

    def _bad_rows(self) -> Iterator[dict[str, Any]]:
        for rows in bad_rows(self.parts):
            yield from rows

    def summary(
        self,
        lost: Mapping[str, int],
        extra: Mapping[str, int],
        cut: Mapping[str, tuple[int, int]] | None = None,
    ) -> dict[str, Any]:
        """Return counts, books by file and warnings.

        Args:
            lost: documents that go, by file.
            extra: other counts.
            cut: of the line and paragraph levels, how many are cut out and how many there are,
                by file.
        """
        accounting = {file: asdict(books) for file, books in books_of(self.parts).items()}
        for file, books in accounting.items():
            books["duplicate"] = lost.get(file, 0)
            books["kept"] -= lost.get(file, 0)
        names = ("read", "kept", "duplicate", "quarantined")
        counts = {name: sum(books[name] for books in accounting.values()) for name in names}
        filtered = sum(books["filtered"] for books in accounting.values())
        if counts["read"] != sum(counts[name] for name in names[1:]) + filtered:
            raise ForgetkitError("rows do not add up", found=str(counts))
        return {
            "counts": counts | dict(extra),
            "accounting": accounting,
            "warnings": self._warnings(accounting, cut or {}, counts["quarantined"], filtered),
            "ignored_files": list(self.ours.ignored),
        }

    def _warnings(
        self,
        accounting: Mapping[str, Mapping[str, int]],
        cut: Mapping[str, tuple[int, int]],
        quarantined: int,
        filtered: int,
    ) -> list[str]:
        rows = {file: (books["duplicate"], books["read"]) for file, books in accounting.items()}
        warnings = self._losses(rows, "documents") + self._losses(cut, f"{self.config.level}s")
        if quarantined:
            warnings.append(f"{quarantined} bad rows were put into quarantine.jsonl")
        if filtered:
            warnings.append(f"{filtered} {NO_TEXT} were passed over")
        return warnings

    def _losses(self, losses: Mapping[str, tuple[int, int]], what: str) -> list[str]:
        """Name the files and folders that lose more than is allowed: lost and all, by file."""
        sources = {(file,): file for file in losses} | {
            tuple(files): folder for folder, files in self._folders(losses).items()
        }
        warnings = []
        for files, name in sources.items():
            lost, of = (sum(losses[file][side] for file in files) for side in (0, 1))
            if of > 1 and lost / of > self.config.max_source_loss:
                warnings.append(f"{name}: {lost} of {of} {what} are duplicates")
        return warnings

    def _folders(self, files: Iterable[str]) -> dict[str, list[str]]:
        """Return the files of each folder, named or below one, that holds several."""
        paths = {piece.label: piece.path for piece in self.pieces}
        named = [path for path in self.paths if path.is_dir()]
        found: dict[str, list[str]] = {}
        for file in files:
            above = [str(folder) for folder in PurePosixPath(file).parents][:-1]
            at = paths.get(file)
            above += [str(n) for n in named if at and at.is_relative_to(n.absolute())]
            for folder in above:
                found.setdefault(folder, []).append(file)
        return {folder: some for folder, some in found.items() if len(some) > 1}
