"""Lines and paragraphs: each stays where it stands first, and is cut out of later documents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from forgetkit.corpus import Quarantine
from forgetkit.corpus.pieces import Piece
from forgetkit.dedupe.catalogue import Numbers, first_equal
from forgetkit.dedupe.parts import gathered
from forgetkit.dedupe.reading import read_texts
from forgetkit.dedupe.stretches import Stretches
from forgetkit.engine import Output, Task
from forgetkit.files import atomic_stream
from forgetkit.match.signatures import Signer
from forgetkit.match.units import units_of
from forgetkit.match.words import Column

if TYPE_CHECKING:
    import pyarrow as pa

    from forgetkit.dedupe.config import DedupeConfig

_GROUP = 4_000_000  # fingerprints compared at once
_ROWS = 65_536  # rows of a table that are written at once


@dataclass(frozen=True)
class Units:
    """Find the lines or paragraphs of a task.

    Attributes:
        signer: makes their fingerprints.
        config: says which, and how long they are at least.
    """

    signer: Signer
    config: DedupeConfig

    @property
    def in_threads(self) -> bool:
        """Say that the kernels run outside the interpreter's lock."""
        return True

    def __call__(self, task: Task) -> Output:
        """Return where each stands, its fingerprint, and the books."""
        return gathered(task, lambda piece, books: units_in(piece, books, self.signer, self.config))


def units_in(
    piece: Piece, quarantine: Quarantine, signer: Signer, config: DedupeConfig
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
    for batch in read_texts(piece, config.columns, quarantine, text_only=True):
        yield table(batch.rows, batch.texts)


def first_units(where: Stretches) -> Numbers:
    """Return for each unit the number of the first equal one, `(n,)`."""
    prints = np.stack([where.column("print_a"), where.column("print_b")], axis=1)
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
        where: the units, by piece of a file.
        first: `(n,)` the first unit equal to each.
        goes: `(n,)` whether a unit is cut out.
    """

    where: Stretches
    first: Numbers
    goes: Any

    @classmethod
    def load(cls, where: Stretches, settled_pieces: int, *, alone: bool) -> Cuts:
        """Find the units of ours that stand elsewhere before.

        Args:
            where: the units, those of the other corpus first.
            settled_pieces: so many pieces belong to the other corpus.
            alone: cut only what the other corpus holds.
        """
        first = first_units(where)
        number = np.arange(len(first))
        settled = where.bounds[settled_pieces]
        goes = (first != number) & (number >= settled)
        if alone:
            goes &= first < settled
        return cls(where, first, goes)

    def of_pieces(self, pieces: Sequence[int]) -> Ranges:
        """Return what goes of one file, given its pieces."""
        import pyarrow as pa

        bounds = self.where.bounds
        names = ("row", "start", "end")
        whole = pa.concat_tables(
            self.where.piece(piece, names).filter(
                pa.array(self.goes[bounds[piece] : bounds[piece + 1]])
            )
            for piece in pieces
        )
        return Ranges(*(whole[name].to_numpy() for name in names))

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
        with atomic_stream(path) as stream, pq.ParquetWriter(stream, schema) as writer:
            for begin in range(0, max(1, len(numbers)), _ROWS):
                some = numbers[begin : begin + _ROWS]
                same = [[value] * len(some) for value in (level, "exact", reason)]
                columns = [*self._places(some), *self._places(self.first[some]), *same]
                arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

    def _places(self, numbers: Numbers) -> tuple[list[str], Any, Any]:
        found = self.where.taken(numbers, ("row", "start", "end"))
        pieces = self.where.piece_of(numbers).tolist()
        rows = found["row"].to_pylist()
        sources = [f"{self.where.labels[p]}:{row}" for p, row in zip(pieces, rows, strict=True)]
        return sources, found["start"].to_numpy(), found["end"].to_numpy()


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
