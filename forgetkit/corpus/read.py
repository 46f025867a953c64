"""Documents out of files and folders, in one order, with the books kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from forgetkit.corpus.document import Document
from forgetkit.corpus.quarantine import Quarantine
from forgetkit.corpus.rows import FORMATS, Row, format_of, unusable
from forgetkit.errors import InputError
from forgetkit.files import sha256_bytes

COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "doc_id"),
    "text": ("text", "content"),
    "prompt": ("prompt", "question"),
    "answer": ("answer", "response", "completion"),
}
"""Columns looked for, in this order, where the user names none."""


def corpus_files(
    paths: Sequence[Path], quarantine: Quarantine | None = None
) -> list[tuple[str, Path]]:
    """List the files of a corpus with the name that sources carry, sorted by that name.

    A file is named by its own name, or by its path below the folder that was given; where two
    would share a name, both get their parent folders' names in front until they differ.

    Raises:
        InputError: a path is missing, or a file is of no kind that can be read.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise InputError("no such file or folder", where=str(path))
        for file, base in _walk(path, quarantine):
            kept = found.get(file.resolve())
            if kept is None or len(kept.parts) < len(base.parts):
                found[file.resolve()] = base.resolve()
    return sorted(_labels(found).items())


def _walk(path: Path, quarantine: Quarantine | None) -> Iterator[tuple[Path, Path]]:
    if path.is_file():
        if format_of(path) is None:
            known = ", ".join(sorted(FORMATS))
            raise InputError(
                "is no corpus file", where=str(path), mend=f"Known: {known}, with .gz or .zst."
            )
        yield path, path.parent
        return
    for file in sorted(path.rglob("*")):
        relative = file.relative_to(path)
        if not file.is_file() or any(part.startswith(".") for part in relative.parts):
            continue
        if format_of(file) is not None:
            yield file, path
        elif quarantine is not None:
            quarantine.ignore(relative.as_posix())


def _labels(found: Mapping[Path, Path]) -> dict[str, Path]:
    labels = {file: file.relative_to(base).as_posix() for file, base in found.items()}
    while len(set(labels.values())) < len(labels):
        seen: dict[str, int] = {}
        for label in labels.values():
            seen[label] = seen.get(label, 0) + 1
        for file, label in labels.items():
            if seen[label] > 1:
                labels[file] = "/".join(file.parts[-len(label.split("/")) - 1 :])
    return {label: file for file, label in labels.items()}


def read_corpus(
    paths: Sequence[Path],
    *,
    columns: Mapping[str, str] | None = None,
    quarantine: Quarantine,
) -> Iterator[Document]:
    """Yield the documents of files and folders; a bad row is recorded and the reading goes on.

    Args:
        paths: JSONL (`.jsonl`, `.json`; also `.gz`, `.zst`), Parquet, CSV, `.txt`, `.md`, folders.
        columns: names of the columns `id`, `text`, `prompt`, `answer`; None looks for usual names.
        quarantine: takes the bad rows and keeps the books; call its `check` when done.

    Raises:
        InputError: a path is missing or of no known kind, or the corpus is empty.
        StorageError: a file cannot be read.
    """
    wanted = _wanted(columns)
    for label, path in corpus_files(paths, quarantine):
        yield from _read_file(label, path, wanted, quarantine)
    if quarantine.total().kept == 0:
        bad = quarantine.total().quarantined
        raise InputError(
            "the corpus is empty",
            where=", ".join(str(path) for path in paths),
            found=f"{bad} bad rows, the first: {quarantine.rows[0].reason}" if bad else "",
            mend="See quarantine.jsonl." if bad else "",
        )


def read_all(paths: Sequence[Path], columns: Mapping[str, str] | None = None) -> list[Document]:
    """Read small data whole; a bad row is an error here, for nothing may be missing.

    Raises:
        InputError: a path is missing or empty.
        TooManyBadRowsError: a row is bad.
    """
    if not paths:
        return []
    quarantine = Quarantine(max_bad_rows=0)
    documents = list(read_corpus(paths, columns=columns, quarantine=quarantine))
    quarantine.check()
    return documents


def _wanted(columns: Mapping[str, str] | None) -> dict[str, tuple[str, ...]]:
    if not columns:
        return COLUMNS
    unknown = sorted(set(columns) - set(COLUMNS))
    if unknown:
        raise InputError("unknown column role", found=unknown[0], mend=f"Known: {list(COLUMNS)}.")
    return {"id": COLUMNS["id"]} | {role: (name,) for role, name in columns.items()}


def _read_file(
    label: str, path: Path, wanted: Mapping[str, tuple[str, ...]], quarantine: Quarantine
) -> Iterator[Document]:
    read = format_of(path)
    if read is None:
        raise InputError("is no corpus file", where=str(path))
    quarantine.opened(label)
    for row in read(path):
        quarantine.saw(label)
        made = row.reason if row.values is None else _document(row.values, label, row, wanted)
        if isinstance(made, str):
            quarantine.reject_digest(label, row.number, row.offset, made, row.digest)
        else:
            quarantine.keep(label)
            yield made
    quarantine.balance(label)


def _document(
    values: Mapping[str, Any], label: str, row: Row, wanted: Mapping[str, tuple[str, ...]]
) -> Document | str:
    """Return the document of a row, or what is wrong with it."""
    source = f"{label}:{row.number}"
    names = {
        role: next((name for name in options if values.get(name) is not None), None)
        for role, options in wanted.items()
    }
    taken = {role: values[name] for role, name in names.items() if name is not None}
    if "text" not in taken and "prompt" not in taken:
        looked = [name for role in ("text", "prompt") for name in wanted.get(role, ())]
        return f"none of the columns {', '.join(looked)}"
    reason = _wrong(taken)
    if reason:
        return reason
    used = set(names.values())
    doc_id = str(taken["id"]) if "id" in taken else sha256_bytes(source.encode())[:16]
    return Document(
        doc_id=doc_id,
        source=source,
        text=taken.get("text", ""),
        prompt=taken.get("prompt"),
        answer=taken.get("answer"),
        extra={key: value for key, value in values.items() if key not in used},
    )


def _wrong(taken: Mapping[str, Any]) -> str:
    for role, value in taken.items():
        if role == "id" and isinstance(value, int) and not isinstance(value, bool):
            continue
        if not isinstance(value, str):
            return f"column of the {role} holds {type(value).__name__}, not text"
        reason = unusable(value)
        if reason:
            return f"{reason} in the {role}"
    if not any(value for role, value in taken.items() if role != "id"):
        return "no text"
    return ""
