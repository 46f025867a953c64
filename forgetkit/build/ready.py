"""Ready data: rows of any known shape become documents of prompt and answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from forgetkit.build.shapes import SHAPES, Shape, normal, shape_of, truth_of
from forgetkit.build.subjects import columns_about
from forgetkit.corpus import Document, Quarantine, corpus_files
from forgetkit.corpus.accept import accept, wanted_columns
from forgetkit.corpus.columns import derived_id
from forgetkit.corpus.formats import format_of
from forgetkit.corpus.read import WHOLE
from forgetkit.corpus.rows import MAX_TEXT, Row, jsonl_rows
from forgetkit.errors import InputError

FACT = "fact"
RIGHT = "right_answers"
"""Columns that a document of ready data has besides, where its shape says so."""

Count = Callable[[str, int], None]


def chosen_part(path: Path) -> tuple[Path, str]:
    """Split `file@column` into the file and the column that chooses its rows.

    >>> chosen_part(Path("no such folder/full.jsonl@forget05"))[1]
    'forget05'
    """
    name, at, column = path.name.rpartition("@")
    if not at or path.exists():
        return path, ""
    return path.with_name(name), column


def read_ready(
    paths: Sequence[Path],
    *,
    goes: bool = True,
    count: Count | None = None,
    purpose: str = "",
) -> list[Document]:
    """Read ready files whole; a bad row is an error, for nothing may be missing.

    Args:
        paths: files and folders; `file@column` takes the rows where that column says yes,
            `file@!column` the others.
        goes: of a data set that holds both, read what must go; else what may stay.
        count: told how many answers were left out, and why.
        purpose: what the rows are for, where that is neither to forget nor to keep.

    Raises:
        InputError: a path is missing, empty, or of no known shape.
        TooManyBadRowsError: a row is bad.
    """
    quarantine = Quarantine(max_bad_rows=0, mend=WHOLE)
    found: list[Document | None] = []
    for path in paths:
        plain, column = chosen_part(path)
        for label, file in corpus_files([plain]):
            found += _file(label, file, column, quarantine, goes=goes)
    quarantine.check()
    filled = [document for document in found if document is not None]
    if count is not None and len(filled) < len(found):
        count("ready answers that are empty, or have no prompt", len(found) - len(filled))
    if paths and not filled:
        where = ", ".join(map(str, paths))
        purpose = purpose or ("to forget" if goes else "to keep")
        raise InputError(f"holds nothing {purpose}", where=where)
    return filled


def _file(
    label: str, path: Path, column: str, quarantine: Quarantine, *, goes: bool
) -> Iterator[Document | None]:
    rows = rows_of(path)
    first = next((row for row in rows if row.values is not None), None)
    if first is None or first.values is None:
        _refuse_unreadable(label, path, quarantine)
        return
    shape = shape_of(first.values)
    if shape is None and goes:
        _refuse_unknown(first.values, path)
    for row in rows_of(path):
        if column and row.values is not None and not _is_chosen(row.values, column, path):
            continue
        if shape is None or row.values is None:
            made = accept(row, label, wanted_columns(None), quarantine)
            yield from [made] if made is not None else []
        else:
            yield from _shaped(row, label, shape, quarantine, goes=goes)


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a file; a JSON file may be one list of objects."""
    read = format_of(path)
    if read is None:
        raise InputError("is no file of data", where=str(path))
    if read is not jsonl_rows or path.suffix != ".json" or not _is_list(path):
        yield from read(path)
        return
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError("is not JSON", where=str(path), found=str(error)) from error
    for number, one in enumerate(values, 1):
        good = isinstance(one, dict)
        yield Row(number, None, one if good else None, "" if good else "not a JSON object")


def _is_list(path: Path) -> bool:
    if path.stat().st_size > MAX_TEXT:
        return False
    with path.open("rb") as stream:
        return stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _refuse_unreadable(label: str, path: Path, quarantine: Quarantine) -> None:
    for row in rows_of(path):
        accept(row, label, wanted_columns(None), quarantine)
    quarantine.check()


def _refuse_unknown(values: Any, path: Path) -> None:
    """Refuse a row that has neither a known shape nor the usual columns."""
    usual = wanted_columns(None)
    if any(values.get(name) is not None for role in ("text", "prompt") for name in usual[role]):
        return
    known = [", ".join(shape.columns) for shape in SHAPES[2:4]]
    raise InputError(
        "has no shape that build knows",
        where=str(path),
        found=f"the columns {', '.join(map(str, list(values)[:8]))}",
        mend=f"Known: question and answer, prompt and response, text, {'; '.join(known)}, "
        "and PKU-SafeRLHF, HaluEval, TruthfulQA, chat messages.",
    )


def _is_chosen(values: Any, column: str, path: Path) -> bool:
    name = column.removeprefix("!")
    if name not in values:
        raise InputError("has no such column", where=f"{path}@{column}", found=name)
    try:
        return truth_of(values, name) != column.startswith("!")
    except ValueError as error:
        raise InputError(str(error), where=str(path)) from error


def _shaped(
    row: Row, label: str, shape: Shape, quarantine: Quarantine, *, goes: bool
) -> Iterator[Document | None]:
    quarantine.saw(label)
    values = normal(row.values or {})
    try:
        said = list(shape.read(values))
    except (ValueError, KeyError) as error:
        quarantine.reject_digest(label, row.number, row.offset, str(error), row.digest)
        return
    quarantine.keep(label)
    source = f"{label}:{row.number}"
    name = str(values.get("id") or derived_id(source))
    for number, one in enumerate(said):
        if one.goes != goes and not shape.one_sided:
            continue
        right = [answer for answer in one.right if answer.strip()]
        extra = columns_about(values) | ({RIGHT: right} if right else {})
        if shape.facts and goes:
            extra[FACT] = True
        doc_id = name if len(said) == 1 else f"{name}#{number}"
        is_full = one.prompt.strip() and one.answer.strip()
        made = Document(doc_id, source, prompt=one.prompt, answer=one.answer, extra=extra)
        yield made if is_full else None


def right_answers(documents: Sequence[Document]) -> list[Document]:
    """Return, for each document that says so, its prompt with what is right, answer by answer."""
    return [
        Document(d.doc_id, d.source, prompt=d.prompt, answer=answer)
        for d in documents
        for answer in d.extra.get(RIGHT, ())
    ]
