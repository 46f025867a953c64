"""Rows of one file, whatever its format: values, or the reason why there are none."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forgetkit.corpus.lines import MAX_LINE, Line, read_lines
from forgetkit.errors import InputError
from forgetkit.files import sha256_bytes

MAX_DEPTH = 128
MAX_TEXT = 64 * 2**20

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"')
_SUSPECT_ESCAPE = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")


@dataclass(frozen=True)
class Row:
    """One row: its values by column, or a reason why it is bad.

    Attributes:
        number: line or row, from 1.
        offset: first byte in the decompressed file; None for Parquet.
        values: its columns; None when it is bad.
        reason: what is wrong; empty when nothing is.
        sha256: digest of its raw bytes when it is bad.
        raw: its raw bytes when it is good.
        filtered: it is of a kind that holds no text, and is counted as such.
    """

    number: int
    offset: int | None
    values: Mapping[str, Any] | None
    reason: str = ""
    sha256: str = ""
    raw: bytes = b""
    filtered: bool = False

    @property
    def digest(self) -> str:
        """Return the digest of the raw bytes; empty when there are none (a row of a table)."""
        return self.sha256 or (sha256_bytes(self.raw) if self.raw else "")


def _bad(line: Line, reason: str) -> Row:
    digest = line.sha256 or sha256_bytes(line.content)
    return Row(line.number, line.offset, None, reason, digest)


def jsonl_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a JSON lines file; blank lines are no rows."""
    for line in read_lines(path):
        if line.reason or line.content.strip():
            yield json_row(line)


def json_row(line: Line) -> Row:
    """Parse one line strictly."""
    content = line.content
    if line.reason:
        return _bad(line, line.reason)
    if content.count(b"[") + content.count(b"{") > MAX_DEPTH < depth(content):
        return _bad(line, f"JSON nested deeper than {MAX_DEPTH}")
    if line.number == 1 and content.lstrip().startswith(b"["):
        return _bad(line, "a JSON array, where one object a line is wanted (jq -c '.[]')")
    try:
        values = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError:
        return _bad(line, "invalid UTF-8")
    except ValueError:
        return _bad(line, "broken JSON")
    if not isinstance(values, dict):
        return _bad(line, "not a JSON object")
    if _SUSPECT_ESCAPE.search(content):
        reason = next(filter(None, map(unusable, _strings(values))), "")
        if reason:
            return _bad(line, reason)
    return Row(line.number, line.offset, values, raw=content)


def _strings(value: Any) -> Iterator[str]:
    """Yield every string of a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _no_constant(name: str) -> float:
    raise ValueError(name)


def depth(content: bytes) -> int:
    """Return how deep a JSON text nests, without parsing it.

    >>> depth(b'{"a": [[1], "[["]}')
    3
    """
    deepest = level = 0
    for byte in _STRINGS.sub(b"", content):
        if byte in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif byte in b"]}":
            level -= 1
    return deepest


def unusable(text: str) -> str:
    """Return why a text cannot be used, or an empty string."""
    if "\0" in text:
        return "NUL character"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return "lone surrogate"
    return ""


def csv_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file whose first row names the columns."""
    csv.field_size_limit(MAX_LINE)
    feed = _CsvFeed(read_lines(path))
    reader = csv.reader(feed, strict=True)
    names: list[str] | None = None
    while True:
        feed.begin()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield feed.row(None, feed.reason or "broken CSV")
            reader = csv.reader(feed, strict=True)
            continue
        if not values:
            continue
        if names is None:
            names = values
            continue
        yield feed.row(names, values)


class _CsvFeed:
    """Hand lines to the CSV reader and remember what the current row was made of."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._used: list[Line] = []
        self.reason = ""

    def __iter__(self) -> _CsvFeed:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self._used.append(line)
        if line.reason:
            self.reason = line.reason
            raise csv.Error(line.reason)
        content = line.raw.removeprefix(b"\xef\xbb\xbf") if line.number == 1 else line.raw
        return content.decode("utf-8", "surrogateescape")

    def begin(self) -> None:
        self._used.clear()
        self.reason = ""

    def row(self, names: list[str] | None, values: list[str] | str) -> Row:
        """Build the row of the lines used; `values` without names is a reason."""
        first = self._used[0]
        last = self._used[-1]
        raw = b"".join(line.raw for line in self._used[:-1]) + last.content
        digest = last.sha256 or sha256_bytes(raw)
        reason = values if isinstance(values, str) else ""
        if not reason and names is not None and len(values) != len(names):
            reason = f"{len(values)} cells where the header has {len(names)}"
        if not reason and any("\udc80" <= c <= "\udcff" for value in values for c in value):
            reason = "invalid UTF-8"
        if reason or names is None:
            return Row(first.number, first.offset, None, reason, digest)
        return Row(first.number, first.offset, dict(zip(names, values, strict=True)), raw=raw)


def text_rows(path: Path) -> Iterator[Row]:
    """Yield a text file as one row, its stem as the id; an empty file has none.

    Raises:
        InputError: it is too large to be one document.
    """
    size = path.stat().st_size
    if size > MAX_TEXT:
        raise InputError(
            f"a text file is one document, of {MAX_TEXT} bytes at most",
            where=str(path),
            found=f"{size} bytes",
            mend="Cut it into several files (split -C 60M).",
        )
    raw = path.read_bytes()
    try:
        text = raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        yield Row(1, 0, None, "invalid UTF-8", sha256_bytes(raw))
        return
    if text.strip():
        yield Row(1, 0, {"id": path.stem, "text": text}, raw=raw)
