"""Protected works out of text files, folders and tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from forgetkit.corpus.document import Work
from forgetkit.corpus.formats import format_of
from forgetkit.corpus.read import corpus_files
from forgetkit.corpus.rows import Row, text_rows, unusable
from forgetkit.errors import InputError


def read_works(paths: Sequence[Path]) -> list[Work]:
    """Read works, sorted by id.

    A text file is one work whose id is the file's stem. A table has the columns `work` and
    `text` (and perhaps `title`); rows of the same work are joined by a blank line.

    Raises:
        InputError: a path is missing, a row is bad (a work is no place to skip rows), two files
            give the same work, or there is no work at all.
    """
    works: dict[str, Work] = {}
    for label, path in corpus_files(paths):
        for work in _works_of(label, path):
            if work.work_id in works:
                raise InputError(
                    f"two files hold the work '{work.work_id}'", where=label, mend="Rename one."
                )
            works[work.work_id] = work
    if not works:
        raise InputError("there is no work", where=", ".join(str(path) for path in paths))
    return [works[work_id] for work_id in sorted(works)]


def _works_of(label: str, path: Path) -> list[Work]:
    read = format_of(path)
    if read is None:
        raise InputError("is no text file or table", where=str(path))
    parts: dict[str, list[str]] = {}
    titles: dict[str, str] = {}
    for row in read(path):
        if row.values is None:
            raise InputError(row.reason, where=f"{path}:{row.number}")
        work_id = path.stem if read is text_rows else _text(row, "work", path)
        parts.setdefault(work_id, []).append(_text(row, "text", path))
        titles.setdefault(work_id, str(row.values.get("title") or work_id))
    return [Work(name, titles[name], "\n\n".join(texts)) for name, texts in parts.items()]


def _text(row: Row, column: str, path: Path) -> str:
    value: Any = (row.values or {}).get(column)
    where = f"{path}:{row.number}"
    if not isinstance(value, str):
        raise InputError(f"lacks the column '{column}', or it is no text", where=where)
    reason = unusable(value)
    if reason:
        raise InputError(f"{reason} in the column '{column}'", where=where)
    return value
