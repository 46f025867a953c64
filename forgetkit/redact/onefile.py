"""One file: rewritten in its own format, or copied as it is when no span is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from forgetkit.corpus.formats import format_of
from forgetkit.corpus.lines import BrokenStreamError
from forgetkit.corpus.rows import csv_rows, jsonl_rows, text_rows
from forgetkit.corpus.tables import arrow_rows, parquet_rows
from forgetkit.corpus.warc import warc_rows
from forgetkit.errors import InputError
from forgetkit.files import atomic_path, sha256_bytes, write_bytes
from forgetkit.redact.archives import rewrite_archive
from forgetkit.redact.arrows import rewrite_arrow
from forgetkit.redact.cells import rewrite_cells
from forgetkit.redact.config import RedactConfig
from forgetkit.redact.lines import rewrite_lines
from forgetkit.redact.marks import Mark, Redaction
from forgetkit.redact.parquet import rewrite_parquet
from forgetkit.redact.streams import BLOCK, Digested
from forgetkit.redact.texts import rewritten_text

_REWRITERS: dict[Any, Callable[[Path, Digested, Redaction], None]] = {
    jsonl_rows: rewrite_lines,
    csv_rows: rewrite_cells,
    parquet_rows: rewrite_parquet,
    arrow_rows: rewrite_arrow,
    warc_rows: rewrite_archive,
}
ABOUT = ("state.json", "dataset_info.json")


@dataclass(frozen=True)
class Redacted:
    """What became of one file.

    Attributes:
        counts: documents, kept, changed, dropped, emptied.
        tombstones: what was removed, a row a span.
        sha256: of the new file; None when there is none (a text file that went).
        size: bytes of the new file.
        unread: why its documents could not be counted; empty when they were.
    """

    counts: dict[str, int]
    tombstones: list[dict[str, Any]]
    sha256: str | None
    size: int
    unread: str = ""


def inside(label: str) -> PurePosixPath:
    """Return a label as a path below the output folder.

    Raises:
        InputError: it would lead outside.
    """
    relative = PurePosixPath(label)
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError("names a place outside the corpus", where=label)
    return relative


def redact_file(
    label: str,
    path: Path,
    folder: Path,
    marks: Mapping[int, Sequence[Mark]],
    config: RedactConfig,
) -> Redacted:
    """Write one file below `folder`, atomically, under its own name.

    Raises:
        InputError: a span is not where it was, or the file cannot be rewritten.
        StorageError: it cannot be read or written.
    """
    redaction = Redaction(label, marks, config)
    target, private = folder / inside(label), not path.stat().st_mode & 0o077
    if format_of(path) is text_rows:
        return _text(path, target, redaction, private=private)
    rewrite = _REWRITERS[format_of(path)]
    unread = ""
    with atomic_path(target, private=private) as temporary:
        with temporary.open("wb", buffering=0) as raw:
            sink = Digested(cast("BinaryIO", raw))
            if marks:
                _checked(rewrite, path, sink, redaction)
            else:
                _copy(path, sink)
        if not marks:
            unread = _counted(rewrite, path, redaction)
        counts = redaction.finish()
    _copy_about(path, target)
    return Redacted(counts, redaction.tombstones(), sink.sha256, sink.size, unread)


def _copy_about(path: Path, target: Path) -> None:
    """Copy what `datasets` wants to find beside the Arrow files of a saved data set."""
    if format_of(path) is arrow_rows and (path.parent / ABOUT[0]).is_file():
        for name in ABOUT:
            if (path.parent / name).is_file():
                write_bytes(target.parent / name, (path.parent / name).read_bytes())


def _text(path: Path, target: Path, redaction: Redaction, *, private: bool) -> Redacted:
    content = rewritten_text(path, redaction)
    if content is not None:
        write_bytes(target, content, private=private)
    digest = None if content is None else sha256_bytes(content)
    size = len(content or b"")
    return Redacted(redaction.finish(), redaction.tombstones(), digest, size)


def _copy(path: Path, sink: Digested) -> None:
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(BLOCK):
            sink.write(block)


def _checked(
    rewrite: Callable[[Path, Digested, Redaction], None],
    path: Path,
    sink: Digested,
    redaction: Redaction,
) -> None:
    import pyarrow as pa

    try:
        rewrite(path, sink, redaction)
    except (BrokenStreamError, pa.ArrowException) as error:
        raise InputError(
            "cannot be rewritten",
            where=str(path),
            found=str(error),
            mend="Mend the file, or take it out of the corpus.",
        ) from error


def _counted(
    rewrite: Callable[[Path, Digested, Redaction], None], path: Path, redaction: Redaction
) -> str:
    """Count the documents of a file without spans; say why when that cannot be done."""
    try:
        _checked(rewrite, path, Digested(None), redaction)
    except InputError as error:
        redaction.rows = 0
        return error.found
    return ""
