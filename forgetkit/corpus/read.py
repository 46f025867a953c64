"""Documents out of files and folders, in one order, with the books kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from forgetkit.corpus.accept import accept, wanted_columns
from forgetkit.corpus.columns import Wanted
from forgetkit.corpus.document import Document
from forgetkit.corpus.formats import FORMATS, format_of
from forgetkit.corpus.hub import hub_files, is_hub
from forgetkit.corpus.quarantine import Quarantine, nothing_kept
from forgetkit.errors import InputError

WHOLE = "Mend or remove the row: of such data nothing may be missing."
"""What to do about a bad row of data that are read whole."""
_SAVED, _SPLITS = "state.json", "dataset_dict.json"
_ABOUT = (_SAVED, "dataset_info.json")  # beside the Arrow files of a saved data set


def corpus_files(
    paths: Sequence[Path], quarantine: Quarantine | None = None
) -> list[tuple[str, Path]]:
    """List the files of a corpus with the name that sources carry, sorted by that name.

    A file is named by its own name, or by its path below the folder that was given; where two
    would share a name, both get their parent folders' names in front until they differ.

    Raises:
        InputError: a path is missing, or a file is of no kind that can be read.
    """
    found: dict[Path, tuple[Path, Path]] = {}  # by what a link leads to: as named, and below what
    remote = {file: label for path in paths if is_hub(path) for label, file in hub_files(path)}
    for path in paths:
        if is_hub(path):
            continue
        if not path.exists():
            raise InputError("no such file or folder", where=str(path))
        for file, base in _walk(path, quarantine):
            named, place = file.absolute(), base.absolute()
            kept = found.get(file.resolve())
            if kept is None or len(kept[1].parts) < len(place.parts):
                found[file.resolve()] = named, place
    return _together(_labels(dict(found.values())), remote)


def _together(local: Mapping[str, Path], remote: Mapping[Path, str]) -> list[tuple[str, Path]]:
    """Return the files of disk and hub by label; a label stands for one file."""
    files = dict(local)
    for file, label in remote.items():
        if files.setdefault(label, file) != file:
            raise InputError(
                "two files have this name", where=label, mend="Rename the one on this disk."
            )
    return sorted(files.items())


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
        if file.name in _ABOUT and (file.parent / _SAVED).is_file():
            continue
        if file.name == _SPLITS and next(file.parent.glob(f"*/{_SAVED}"), None):
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
        paths: JSONL (`.jsonl`, `.json`; also `.gz`, `.zst`), Parquet, CSV, Arrow, WARC, `.txt`,
            `.md`, folders, saved data sets, `hf:org/name` of the hub.
        columns: names of the columns `id`, `text`, `prompt`, `answer`; None looks for usual names.
        quarantine: takes the bad rows and keeps the books; call its `check` when done.

    Raises:
        InputError: a path is missing or of no known kind, or the corpus is empty.
        StorageError: a file cannot be read.
    """
    wanted = wanted_columns(columns)
    for label, path in corpus_files(paths, quarantine):
        yield from read_file(label, path, wanted, quarantine)
    check_not_empty(paths, quarantine)


def check_not_empty(paths: Sequence[Path], quarantine: Quarantine) -> None:
    """Refuse a corpus without a document.

    Raises:
        InputError: nothing was kept.
    """
    total = quarantine.total()
    if total.kept == 0:
        first = quarantine.rows[0].reason if quarantine.rows else ""
        raise nothing_kept(paths, total, first, quarantine.mend)


def read_all(paths: Sequence[Path], columns: Mapping[str, str] | None = None) -> list[Document]:
    """Read small data whole; a bad row is an error here, for nothing may be missing.

    Raises:
        InputError: a path is missing or empty.
        TooManyBadRowsError: a row is bad.
    """
    if not paths:
        return []
    quarantine = Quarantine(max_bad_rows=0, mend=WHOLE)
    documents = list(read_corpus(paths, columns=columns, quarantine=quarantine))
    quarantine.check()
    return documents


def read_file(label: str, path: Path, wanted: Wanted, quarantine: Quarantine) -> Iterator[Document]:
    """Yield the documents of one file; bad rows go to quarantine, and the books balance.

    Raises:
        InputError: the file is of no kind that can be read.
    """
    read = format_of(path)
    if read is None:
        raise InputError("is no corpus file", where=str(path))
    quarantine.opened(label)
    for row in read(path):
        document = accept(row, label, wanted, quarantine)
        if document is not None:
            yield document
    quarantine.balance(label)
