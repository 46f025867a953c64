"""Tables behind each other, and which file each stretch of their rows is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Numbers = npt.NDArray[np.int64]


class Tabled(Protocol):
    """What is known of some pieces of files, one piece behind the other."""

    @property
    def labels(self) -> Sequence[str]:
        """Return the file of each piece."""

    @property
    def sizes(self) -> Sequence[int]:
        """Return the rows of each piece."""

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Read some columns."""


@dataclass(frozen=True)
class Stretches:
    """Numbered rows of many tables.

    Attributes:
        tables: in order.
        labels: `(pieces,)` the file that each piece is about.
        bounds: `(pieces + 1,)` number of the first row of each piece.
        ends: `(tables + 1,)` number of the first row of each table.
    """

    tables: tuple[Tabled, ...]
    labels: tuple[str, ...]
    bounds: Numbers
    ends: Numbers

    @classmethod
    def of(cls, tables: Sequence[Tabled]) -> Stretches:
        """Number the rows of tables."""
        return cls(
            tuple(tables),
            tuple(label for table in tables for label in table.labels),
            _bounds([size for table in tables for size in table.sizes]),
            _bounds([sum(table.sizes) for table in tables]),
        )

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def column(self, name: str) -> Any:
        """Return a column of all tables, `(n,)`."""
        return np.concatenate([table.columns([name])[name].to_numpy() for table in self.tables])

    def piece_of(self, numbers: Numbers) -> Numbers:
        """Return which piece rows stand in."""
        return np.asarray(np.searchsorted(self.bounds, numbers, side="right") - 1, np.int64)

    def within(self, piece: int, numbers: Numbers) -> Numbers:
        """Return those of some sorted numbers that stand in a piece."""
        begin, end = np.searchsorted(numbers, (self.bounds[piece], self.bounds[piece + 1]))
        return numbers[begin:end]

    def piece(self, piece: int, names: Sequence[str]) -> pa.Table:
        """Return some columns of a piece."""
        begin = int(self.bounds[piece])
        at = int(np.searchsorted(self.ends, begin, side="right")) - 1
        size = int(self.bounds[piece + 1]) - begin
        at = min(at, len(self.tables) - 1)  # a piece without rows may stand behind the last row
        return self.tables[at].columns(names).slice(begin - int(self.ends[at]), size)

    def taken(self, numbers: Numbers, names: Sequence[str]) -> pa.Table:
        """Return some columns of rows, in the order given."""
        import pyarrow as pa

        wanted = np.unique(numbers)
        found = [self.tables[0].columns(names).slice(0, 0)]
        for number, table in enumerate(self.tables):
            begin, end = np.searchsorted(wanted, (self.ends[number], self.ends[number + 1]))
            if begin < end:
                places = pa.array(wanted[begin:end] - self.ends[number])
                found.append(table.columns(names).take(places))
        whole = pa.concat_tables(found).combine_chunks()
        return whole.take(pa.array(np.searchsorted(wanted, numbers)))


def _bounds(sizes: Sequence[int]) -> Numbers:
    return np.concatenate(([0], np.cumsum(np.array(sizes, np.int64)))).astype(np.int64)
