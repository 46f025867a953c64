"""Lines and paragraphs: each stays where it stands first, and is cut out of later documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forgetkit.corpus import Quarantine
from forgetkit.dedupe.catalogue import Numbers, first_equal
from forgetkit.dedupe.parts import Source
from forgetkit.dedupe.reading import read_texts
from forgetkit.files import atomic_path
from forgetkit.match.signatures import Signer
from forgetkit.match.units import units_of
from forgetkit.match.words import Column

if TYPE_CHECKING:
    import pyarrow as pa

    from forgetkit.dedupe.config import DedupeConfig

_GROUP = 4_000_000  # fingerprints compared at once
_ROWS = 65_536  # rows of a table that are written at once


def unit_file(
    source: Source, quarantine: Quarantine, signer: Signer, config: DedupeConfig
) -> Iterator[pa.Table]:
    """Yield a table a batch: row, start, end (code points of the text), print_a, print_b.

    Only the column of the text is looked at: a prompt or an answer is no place to cut lines.
    """
    import pyarrow as pa

    def table(rows: Numbers, texts: Any) -> pa.Table:
        found = units_of(
            Column.of(texts),
            signer,
            paragraphs=config.level == "paragraph",
            least=config.least_characters,
        )
        return pa.table(
            {
                "row": rows[found.texts],
                "start": found.starts,
                "end": found.ends,
                "print_a": np.ascontiguousarray(found.prints[:, 0]),
                "print_b": np.ascontiguousarray(found.prints[:, 1]),
            }
        )

    yield table(np.zeros(0, np.int64), pa.array([], pa.large_string()))
    for batch in read_texts(source.piece, config.columns, quarantine, text_only=True):
        yield table(batch.rows, batch.texts)


def first_units(parts: Sequence[Path]) -> Numbers:
    """Return for each unit of all parts the number of the first equal one, `(n,)`."""
    import pyarrow.parquet as pq

    def column(name: str) -> Any:
        tables = [pq.read_table(part, columns=[name])[name].to_numpy() for part in parts]
        return np.concatenate(tables)

    prints = np.stack([column("print_a"), column("print_b")], axis=1)
    found = np.arange(len(prints), dtype=np.int64)
    groups = np.uint64(1 + len(prints) // _GROUP)
    for group in range(int(groups)):
        inside = np.flatnonzero((prints[:, 0] >> np.uint64(32)) % groups == group)
        found[inside] = inside[first_equal(prints[inside])]
    return found


@dataclass(frozen=True)
class Ranges:
    """What goes of one file, sorted by row: `(m,)` rows, first code points and ends."""

    rows: Numbers
    starts: Numbers
    ends: Numbers

    def __contains__(self, row: object) -> bool:
        at = np.searchsorted(self.rows, row)  # type: ignore[call-overload]
        return bool(at < len(self.rows) and self.rows[at] == row)

    def __getitem__(self, row: int) -> list[tuple[int, int]]:
        begin, end = np.searchsorted(self.rows, (row, row + 1))
        return list(
            zip(self.starts[begin:end].tolist(), self.ends[begin:end].tolist(), strict=True)
        )


@dataclass(frozen=True)
class Cuts:
    """Units that go.

    Attributes:
        parts: tables of units, in order.
        labels: the file that each is about.
        bounds: `(parts + 1,)` number of the first unit of each.
        first: `(n,)` the first unit equal to each.
        goes: `(n,)` whether a unit is cut out.
    """

    parts: tuple[Path, ...]
    labels: tuple[str, ...]
    bounds: Numbers
    first: Numbers
    goes: Any

    @classmethod
    def load(
        cls, parts: Sequence[Path], labels: Sequence[str], settled_parts: int, *, alone: bool
    ) -> Cuts:
        """Find the units of ours that stand elsewhere before.

        Args:
            parts: tables of units, the other corpus first.
            labels: the file that each is about.
            settled_parts: so many parts belong to the other corpus.
            alone: cut only what the other corpus holds.
        """
        import pyarrow.parquet as pq

        sizes = [pq.read_metadata(part).num_rows for part in parts]
        bounds = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        first = first_units(parts)
        number = np.arange(len(first))
        settled = bounds[settled_parts]
        goes = (first != number) & (number >= settled)
        if alone:
            goes &= first < settled
        return cls(tuple(parts), tuple(labels), bounds, first, goes)

    def of_parts(self, parts: Sequence[int]) -> Ranges:
        """Return what goes of one file, given the parts of its pieces."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        tables = []
        for part in parts:
            goes = self.goes[self.bounds[part] : self.bounds[part + 1]]
            table = pq.read_table(self.parts[part], columns=["row", "start", "end"])
            tables.append(table.replace_schema_metadata(None).filter(goes))
        whole = pa.concat_tables(tables)
        return Ranges(*(whole[name].to_numpy() for name in ("row", "start", "end")))

    def write(self, path: Path, level: str, reason: str) -> None:
        """Write `duplicates.parquet`: where each unit that goes stands, and where it stays."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        numbers = np.flatnonzero(self.goes)
        names = [
            f"{side}{name}" for side in ("", "matched_") for name in ("source", "start", "end")
        ]
        kinds = [(name, pa.string() if name.endswith("source") else pa.int64()) for name in names]
        kinds += [(name, pa.string()) for name in ("level", "method", "reason")]
        schema = pa.schema(kinds)
        with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
            for begin in range(0, max(1, len(numbers)), _ROWS):
                some = numbers[begin : begin + _ROWS]
                same = [[value] * len(some) for value in (level, "exact", reason)]
                columns = [*self._places(some), *self._places(self.first[some]), *same]
                arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    def _places(self, numbers: Numbers) -> tuple[list[str], Any, Any]:
        import pyarrow.parquet as pq

        sources = np.empty(len(numbers), object)
        start, end = np.empty((2, len(numbers)), np.int64)
        part_of = np.searchsorted(self.bounds, numbers, side="right") - 1
        for part in np.unique(part_of):
            at = np.flatnonzero(part_of == part)
            table = pq.read_table(self.parts[part], columns=["row", "start", "end"])
            inside = table.take(numbers[at] - self.bounds[part])
            rows = inside["row"].to_pylist()
            sources[at] = [f"{self.labels[part]}:{row}" for row in rows]
            start[at], end[at] = inside["start"].to_numpy(), inside["end"].to_numpy()
        return sources.tolist(), start, end


def cut(text: str, ranges: Sequence[tuple[int, int]], level: str) -> str:
    r"""Return a text without some of its lines or paragraphs, their line ends included.

    >>> cut("one\ntwo\n\nthree", [(4, 7)], "line")
    'one\n\nthree'
    >>> cut("one\ntwo\n\nthree", [(0, 7)], "paragraph")
    'three'
    """
    kept: list[str] = []
    at = 0
    for start, end in ranges:
        kept.append(text[at:start])
        at = _after(text, end, level)
    return "".join(kept) + text[at:]


def _after(text: str, end: int, level: str) -> int:
    """Return where the text goes on behind a unit: past its line end, or past blank lines."""
    while True:
        newline = text.find("\n", end)
        stop = len(text) if newline < 0 else newline + 1
        if text[end:stop].strip():
            return end
        end = stop
        if level == "line" or end == len(text):
            return end
