"""CSV: rows without a span are copied as bytes; of a changed row only the cell changes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from forgetkit.corpus.lines import MAX_LINE
from forgetkit.errors import InputError
from forgetkit.redact.edits import Edit, spliced
from forgetkit.redact.marks import Redaction
from forgetkit.redact.streams import Digested, compressed_like, readable

_BOM = b"\xef\xbb\xbf"
_CODE_POINT = re.compile(r'""|.', re.S)


def rewrite_cells(path: Path, sink: Digested, redaction: Redaction) -> None:
    """Write the rows of a CSV file without the spans; what is no row stays.

    Raises:
        InputError: a line is too long to be held.
    """
    csv.field_size_limit(MAX_LINE)
    with readable(path) as stream, compressed_like(path, sink) as out:
        feed = _Feed(stream, path)
        names: list[str] | None = None
        for number, raw, values in _rows(feed):
            if values and names is None:
                names = values
            elif values is None or values:
                redaction.rows += 1
            if number in redaction.marks:
                fits = values and names is not None and len(values) == len(names)
                found = dict(zip(names or (), values or (), strict=True)) if fits else None
                raw = _changed(raw, names or [], redaction.judge(number, found))
            out.write(raw)


class _Feed:
    """Hand lines to the CSV reader, and remember the bytes that the current row was made of."""

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path = stream, path
        self._number = 0
        self.first = 1
        self.used: list[bytes] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(MAX_LINE + 1)
        if not line:
            raise StopIteration
        if len(line) > MAX_LINE:
            raise InputError(f"a line of more than {MAX_LINE} bytes", where=str(self._path))
        self._number += 1
        self.used.append(line)
        content = line.removeprefix(_BOM) if self._number == 1 else line
        return content.decode("utf-8", "surrogateescape")

    def begin(self) -> None:
        """Begin a row."""
        self.first = self._number + 1
        self.used.clear()


def _rows(feed: _Feed) -> Iterator[tuple[int, bytes, list[str] | None]]:
    """Yield the first line, the bytes and the cells of each row; None where it is broken."""
    reader = csv.reader(feed, strict=True)
    while True:
        feed.begin()
        values: list[str] | None
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            values = None
            reader = csv.reader(feed, strict=True)
        yield feed.first, b"".join(feed.used), values


def _changed(raw: bytes, names: Sequence[str], edits: dict[str, list[Edit]] | None) -> bytes:
    if edits is None:
        return b""
    body = raw.removesuffix(b"\n").removesuffix(b"\r")
    cells = _cells(body.decode("utf-8"))
    for column, changes in edits.items():
        place = len(names) - 1 - list(reversed(names)).index(column)  # the last of a name counts
        cells[place] = _edited_cell(cells[place], changes)
    return ",".join(cells).encode("utf-8") + raw[len(body) :]


def _cells(row: str) -> list[str]:
    """Cut a row into its cells as they are written, quotes included.

    >>> _cells('a,"b, c",')
    ['a', '"b, c"', '']
    """
    cells, begin, quoted = [], 0, False
    for at, character in enumerate(row):
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            cells.append(row[begin:at])
            begin = at + 1
    return [*cells, row[begin:]]


def _edited_cell(cell: str, edits: Sequence[Edit]) -> str:
    quoted = cell.startswith('"')
    pieces = _CODE_POINT.findall(cell[1:-1] if quoted else cell)
    text = "".join(spliced(pieces, [(a, b, new.replace('"', '""')) for a, b, new in edits]))
    return f'"{text}"' if quoted or any(mark in text for mark in ',"\r\n') else text
