"""The corpus without its repeated lines or paragraphs: rows that lose nothing stay as they are."""

from __future__ import annotations

import csv
import io
import itertools
import json
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from forgetkit.corpus import Document
from forgetkit.corpus.accept import wanted_columns
from forgetkit.corpus.lines import read_lines
from forgetkit.corpus.rows import Row, csv_rows
from forgetkit.dedupe.cutting import Ranges, cut
from forgetkit.dedupe.reading import Columns, documents_of
from forgetkit.dedupe.shards import (
    LINE_FILES,
    TEXT_FILES,
    inside,
    kind_of,
    opened,
    parquet_writer,
    write_documents,
)
from forgetkit.files import atomic_path, write_text


@dataclass(frozen=True)
class Rewriter:
    """Rewrites one file.

    Attributes:
        ranges: what goes, in code points of the text, by row.
        level: line or paragraph.
        bad: rows that are in quarantine.
        columns: names of the columns by role; None looks for usual names.
    """

    ranges: Ranges
    level: str
    bad: Collection[int]
    columns: Columns

    @property
    def names(self) -> Sequence[str]:
        """Return the columns that may hold the text, in order of preference."""
        return wanted_columns(self.columns)["text"]

    def write(self, label: str, path: Path, folder: Path) -> int:
        """Write the file below `folder`; return how many rows lost all their text."""
        target, kind = folder / inside(label), kind_of(path)
        if kind in TEXT_FILES:
            return self._text(path, target)
        if kind == ".parquet":
            return self._parquet(path, target)
        if kind == ".csv":
            return self._csv(path, target)
        if kind in LINE_FILES:
            return self._lines(path, target)
        return self._documents(label, path, target)

    def _documents(self, label: str, path: Path, target: Path) -> int:
        lost = 0

        def left() -> Iterator[Document]:
            nonlocal lost
            for row, document in documents_of(label, path, self.columns):
                text = self._cut(row, document.text) if row in self.ranges else document.text
                if text is None:
                    lost += 1
                else:
                    yield replace(document, text=text)

        write_documents(target, left())
        return lost

    def _cut(self, row: int, text: str) -> str | None:
        """Return what is left of a row's text; None when that is nothing."""
        left = cut(text, self.ranges[row], self.level)
        return left if left.strip() else None

    def _text(self, path: Path, target: Path) -> int:
        if 1 in self.bad:
            return 0
        text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8")
        if 1 not in self.ranges:
            if text.strip():
                with atomic_path(target, private=True) as temporary:
                    shutil.copyfile(path, temporary)
            return 0
        left = self._cut(1, text)
        if left is not None:
            write_text(target, left, private=True)
        return int(left is None)

    def _lines(self, path: Path, target: Path) -> int:
        lost = 0
        with atomic_path(target, private=True) as temporary, opened(temporary) as stream:
            for line in read_lines(path):
                raw = line.raw
                if line.number in self.bad or not line.content.strip():
                    continue
                if line.number in self.ranges:
                    values = self._changed(json.loads(line.content), line.number)
                    if values is None:
                        lost += 1
                        continue
                    raw = json.dumps(values, ensure_ascii=False).encode("utf-8") + _end(raw)
                stream.write(raw)
        return lost

    def _changed(self, values: dict[str, Any], row: int) -> dict[str, Any] | None:
        name = next(name for name in self.names if values.get(name) is not None)
        left = self._cut(row, values[name])
        return None if left is None else values | {name: left}

    def _csv(self, path: Path, target: Path) -> int:
        lost = 0
        with atomic_path(target, private=True) as temporary, opened(temporary) as stream:
            for row, raw in _rows_as_written(path):
                if row is None or row.number not in self.ranges:
                    stream.write(raw if row is None or row.number not in self.bad else b"")
                    continue
                values = self._changed(dict(row.values or {}), row.number)
                if values is None:
                    lost += 1
                else:
                    cells = io.StringIO(newline="")
                    csv.writer(cells, lineterminator="\r\n").writerow(values.values())
                    row_alone = cells.getvalue().removesuffix("\r\n")
                    stream.write(row_alone.encode("utf-8") + _end(raw))
        return lost

    def _parquet(self, path: Path, target: Path) -> int:
        import pyarrow.parquet as pq

        lost = seen = 0
        bad = np.array(sorted(self.bad), np.int64)
        with (
            pq.ParquetFile(path) as file,
            atomic_path(target, private=True) as temporary,
            parquet_writer(temporary, file.schema_arrow) as writer,
        ):
            for batch in file.iter_batches(batch_size=4096):
                rows = np.arange(seen + 1, seen + 1 + batch.num_rows)
                seen += batch.num_rows
                keeps = ~np.isin(rows, bad)
                batch, empty = self._changed_batch(batch, rows)
                lost += len(empty)
                keeps[empty] = False
                writer.write_batch(batch.filter(_array(keeps)))
        return lost

    def _changed_batch(self, batch: Any, rows: Any) -> tuple[Any, list[int]]:
        """Return a batch with the texts that are left, and the places of those that are not."""
        empty: list[int] = []
        changes: dict[str, dict[int, str]] = {}
        for place, row in enumerate(rows.tolist()):
            if row not in self.ranges:
                continue
            names = (name for name in self.names if name in batch.schema.names)
            name = next(name for name in names if batch[name][place].is_valid)
            text = batch[name][place].as_py()
            left = self._cut(row, text)
            if left is None:
                empty.append(place)
            else:
                changes.setdefault(name, {})[place] = left
        for name, lefts in changes.items():
            at = batch.schema.get_field_index(name)
            values = batch.column(at).to_pylist()
            for place, left in lefts.items():
                values[place] = left
            field = batch.schema.field(at)
            batch = batch.set_column(at, field, _array(values, field.type))
        return batch, empty


def _rows_as_written(path: Path) -> Iterator[tuple[Row | None, bytes]]:
    """Yield what stands before the first row of a CSV file, then each row with its bytes."""
    lines = read_lines(path)
    line = next(lines, None)
    row: Row | None = None
    for following in itertools.chain(csv_rows(path), (None,)):
        raw = []
        while line is not None and (following is None or line.number < following.number):
            raw.append(line.raw)
            line = next(lines, None)
        yield row, b"".join(raw)
        row = following


def _end(raw: bytes) -> bytes:
    """Return how a row ends: the end of its line, if it has one."""
    return raw[len(raw.rstrip(b"\r\n")) :]


def _array(values: Any, kind: Any = None) -> Any:
    import pyarrow as pa

    return pa.array(values, kind)
