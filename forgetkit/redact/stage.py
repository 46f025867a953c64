"""The room's verb: a corpus in, the same corpus without the accepted spans out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit import __version__
from forgetkit.corpus import Quarantine, corpus_files
from forgetkit.corpus.pieces import Piece, fingerprint
from forgetkit.engine import Output, Part, Task, run
from forgetkit.errors import ForgetkitError, InputError, StorageError, UsageError
from forgetkit.files import (
    PARTS,
    atomic_path,
    claim_folder,
    digest_of,
    read_json,
    sha256_file,
    sweep,
    write_json,
)
from forgetkit.progress import Progress, Silent
from forgetkit.redact.config import RedactConfig
from forgetkit.redact.marks import Marks, accepted_marks
from forgetkit.redact.onefile import inside, redact_file

if TYPE_CHECKING:
    import pyarrow as pa

MARKER = "summary.json"
CORPUS = "corpus"
TOMBSTONES = "tombstones.parquet"
COUNTS = ("documents", "kept", "changed", "dropped", "emptied")
TOTALS = ("spans", "files", "files_changed")


@dataclass(frozen=True)
class RedactResult:
    """What `redact` did.

    Attributes:
        counts: documents = kept + changed + dropped + emptied, spans, files, files that changed.
        accounting: the same numbers of documents by file.
        warnings: sentences for the user.
        outputs: the files written, by name.
        seconds: wall-clock time.
    """

    counts: dict[str, int]
    accounting: dict[str, dict[str, int]]
    warnings: list[str]
    outputs: dict[str, Path]
    seconds: float


@dataclass(frozen=True)
class _Redacting:
    """What is done with one file.

    Attributes:
        marks: accepted spans by file and row.
        folder: where the new files are put until all are done.
        config: settings.
    """

    marks: Marks
    folder: Path
    config: RedactConfig

    @property
    def in_threads(self) -> bool:
        """Reading, hashing, compressing and writing leave Python's lock alone."""
        return True

    def __call__(self, task: Task) -> Output:
        (piece,) = task.pieces
        marks = self.marks.get(piece.label, {})
        done = redact_file(piece.label, piece.path, self.folder, marks, self.config)
        file = {"file": piece.label, "sha256": done.sha256, "bytes": done.size}
        counts = done.counts | file | {"unread": done.unread}
        return Output({"spans": _table(done.tombstones)} if done.tombstones else {}, counts)


def redact(
    corpus: Sequence[Path],
    spans: Path,
    out: Path,
    *,
    decisions: Path | None = None,
    accept_all: bool = False,
    config: RedactConfig | None = None,
    progress: Progress | None = None,
    workers: int = 1,
    engine: str = "local",
) -> RedactResult:
    """Write a corpus without the accepted spans, every other byte as it was.

    All or nothing: the new corpus appears when its last file is done. A run that was killed goes
    on file by file; a finished one is left as it is.

    Args:
        corpus: the files and folders that `mine` was given.
        spans: what it found.
        out: folder for `corpus/`, `tombstones.parquet` and `summary.json`.
        decisions: of a review; without it no span counts, unless `accept_all`.
        accept_all: spans without a decision count as accepted.
        config: settings.
        progress: who watches.
        workers: files that are worked on at once.
        engine: local or ray.

    Raises:
        InputError: no span is accepted, or a span is not where it was in the corpus.
        UsageError: `out` holds something else, or lies in the corpus.
        StorageError: a file cannot be read or written.
    """
    began = time.monotonic()
    config, progress = config or RedactConfig(), progress or Silent()
    _refuse_inside(out, corpus)
    marks = accepted_marks(spans, decisions, accept_all=accept_all)
    books = Quarantine()
    tasks = _tasks(corpus, books, progress)
    _refuse_absent(marks, tasks)
    identity: dict[str, Any] = {
        "command": "redact",
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "spans": sha256_file(spans),
        "accepted": digest_of(sorted(_span_ids(marks))),
        "inputs": {task.pieces[0].label: task.pieces[0].fingerprint for task in tasks},
    }
    if claim_folder(out, MARKER, identity):
        _tidy(out)
        return _result(out, time.monotonic() - began)
    digest = digest_of(identity)
    staging = out / PARTS / digest[:16]
    work = _Redacting(marks, staging.resolve(), config)
    try:
        parts = run(
            tasks, work, out / PARTS, digest, workers=workers, engine=engine, progress=progress
        )
    except InputError:  # what could be done must not be taken for a cleaned corpus
        shutil.rmtree(out / PARTS, ignore_errors=True)
        raise
    _publish(parts, staging, out)
    _write_tombstones(parts, out / TOMBSTONES)
    write_json(out / MARKER, identity | _summary(parts, marks, books, out))
    _tidy(out)
    return _result(out, time.monotonic() - began)


def preview(
    corpus: Sequence[Path], spans: Path, decisions: Path | None = None, *, accept_all: bool = False
) -> dict[str, int]:
    """Count what a run would touch; writes nothing.

    Raises:
        InputError: no span is accepted, or its file is not there.
    """
    marks = accepted_marks(spans, decisions, accept_all=accept_all)
    files = corpus_files(corpus)
    _refuse_missing(marks, {label for label, _ in files})
    return {
        "files": len(files),
        "files_to_change": len(marks),
        "documents_to_change": sum(len(rows) for rows in marks.values()),
        "spans": len(_span_ids(marks)),
        "bytes": sum(path.stat().st_size for _, path in files),
    }


def _tasks(corpus: Sequence[Path], books: Quarantine, progress: Progress) -> list[Task]:
    progress.stage("reading fingerprints of the corpus", None)
    tasks = []
    for number, (label, path) in enumerate(corpus_files(corpus, books)):
        inside(label)
        try:
            size, mark = path.stat().st_size, fingerprint(path)
        except OSError as error:
            raise StorageError(
                "cannot be read", where=str(path), found=str(error.strerror)
            ) from error
        tasks.append(Task(number, (Piece(label, path, 0, None, 1, size, mark),)))
    return tasks


def _refuse_inside(out: Path, corpus: Sequence[Path]) -> None:
    for path in corpus:
        if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
            raise UsageError(
                "--out lies inside the corpus", where=str(out), mend="Choose another --out."
            )


def _refuse_absent(marks: Marks, tasks: Sequence[Task]) -> None:
    _refuse_missing(marks, {task.pieces[0].label for task in tasks})


def _refuse_missing(marks: Marks, labels: set[str]) -> None:
    missing = sorted(set(marks) - labels)
    if missing:
        raise InputError(
            "accepted spans are in a file that is not here",
            where=missing[0],
            found=f"{len(missing)} such files" if len(missing) > 1 else "",
            mend="Name the same files and folders as for `forgetkit mine`.",
        )


def _span_ids(marks: Marks) -> list[str]:
    return [mark.span_id for rows in marks.values() for row in rows.values() for mark in row]


def _publish(parts: Sequence[Part], staging: Path, out: Path) -> None:
    """Move the new corpus into its place, after a look whether it is all there."""
    target = out / CORPUS
    for left in sorted(staging.rglob(".*")):  # what a killed run was at
        left.unlink()
    if staging.is_dir() and not target.exists():
        staging.replace(target)
    target.mkdir(exist_ok=True)  # all of it went
    for part in parts:
        path = target / inside(part.counts["file"])
        if part.counts["sha256"] and (
            not path.is_file() or path.stat().st_size != part.counts["bytes"]
        ):
            raise StorageError(
                "a file that was written is gone",
                where=str(path),
                mend=f"Remove {out} and run the command again.",
            )


def _tidy(out: Path) -> None:
    shutil.rmtree(out / PARTS, ignore_errors=True)
    sweep(out, (MARKER, TOMBSTONES))


def _table(tombstones: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(tombstones, schema=tombstone_schema())


def tombstone_schema() -> pa.Schema:
    """Return the columns of `tombstones.parquet`: one row a span that went, never its text.

    `start` and `end` count code points of the document as it was; `sha256` is of the text there;
    `outcome` says what became of the document: dropped, cut, masked, or emptied by a cut.
    """
    import pyarrow as pa

    texts = ("file", "doc_id", "field", "sha256", "work_id", "cluster_id")
    more = ("detector", "category", "span_id", "mode", "outcome")
    fields = [(name, pa.string()) for name in texts + more]
    fields[1:1] = [("row", pa.int64())]
    fields[4:4] = [("start", pa.int64()), ("end", pa.int64())]
    return pa.schema(fields)


def _write_tombstones(parts: Sequence[Part], path: Path) -> None:
    import pyarrow.parquet as pq

    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(temporary, tombstone_schema()) as writer,
    ):
        for part in parts:
            table = part.table("spans")
            if table is not None:
                writer.write_table(table)


def _summary(parts: Sequence[Part], marks: Marks, books: Quarantine, out: Path) -> dict[str, Any]:
    accounting = {
        part.counts["file"]: {name: part.counts[name] for name in COUNTS} for part in parts
    }
    counts = {name: sum(file[name] for file in accounting.values()) for name in COUNTS}
    spans = sum(part.rows.get("spans", 0) for part in parts)
    wanted = len(_span_ids(marks))
    if counts["documents"] != sum(counts[name] for name in COUNTS[1:]) or spans != wanted:
        raise ForgetkitError("documents do not add up", found=f"{counts}, {spans} of {wanted}")
    counts |= {"spans": spans, "files": len(parts), "files_changed": len(marks)}
    outputs = {f"{CORPUS}/{p.counts['file']}": p.counts["sha256"] for p in parts}
    outputs[TOMBSTONES] = sha256_file(out / TOMBSTONES)
    return {
        "counts": counts,
        "accounting": accounting,
        "warnings": _warnings(parts, marks, books),
        "ignored_files": sorted(books.ignored),
        "outputs": outputs,
    }


def _warnings(parts: Sequence[Part], marks: Marks, books: Quarantine) -> list[str]:
    warnings = [
        f"{part.counts['file']}: copied as it is, but cannot be read ({part.counts['unread']})"
        for part in parts
        if part.counts["unread"]
    ]
    if books.ignored:
        warnings.append(f"{len(books.ignored)} files of kinds that are not read were left out")
    if not marks:
        warnings.append("there was no span to remove")
    return warnings


def _result(out: Path, seconds: float) -> RedactResult:
    summary = read_json(out / MARKER)
    outputs = {"corpus": out / CORPUS, "tombstones": out / TOMBSTONES, "summary": out / MARKER}
    counts = {name: summary["counts"][name] for name in (*COUNTS, *TOTALS)}
    return RedactResult(counts, summary["accounting"], summary["warnings"], outputs, seconds)
