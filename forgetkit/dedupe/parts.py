"""What tasks find out about their pieces: one table a task, with its books, by the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgetkit.corpus import Quarantine
from forgetkit.corpus.pieces import Piece
from forgetkit.engine import Output, Part, Task
from forgetkit.engine.books import books_output
from forgetkit.errors import ForgetkitError

if TYPE_CHECKING:
    import pyarrow as pa

FOUND = "found"


def gathered(task: Task, work: Callable[[Piece, Quarantine], Iterator[pa.Table]]) -> Output:
    """Return one table of all pieces of a task, the rows of each piece, and the books.

    Args:
        task: what to read.
        work: yields the tables of a piece, one at least.
    """
    import pyarrow as pa

    tables: list[pa.Table] = []
    sizes: list[int] = []
    books = Quarantine()
    for piece in task.pieces:
        found = pa.concat_tables(work(piece, books))
        books.balance(piece.label)
        tables.append(found)
        sizes.append(found.num_rows)
    bad, counts = books_output(books)
    whole = pa.concat_tables(tables).combine_chunks()
    return Output({FOUND: whole, **bad}, {"sizes": sizes, **counts})


@dataclass(frozen=True)
class PartTable:
    """The table of a task, memory-mapped.

    Attributes:
        part: what the task gave.
        labels: the file of each of its pieces.
    """

    part: Part
    labels: tuple[str, ...]

    @property
    def sizes(self) -> Sequence[int]:
        """Return the rows of each piece."""
        sizes: list[int] = self.part.counts["sizes"]
        return sizes

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Read some columns; only their pages come from the disk."""
        table = self.part.table(FOUND)
        if table is None:
            raise ForgetkitError("a part lacks its table", where=self.part.key)
        return table.select(list(names))


def tables_of(tasks: Sequence[Task], parts: Sequence[Part]) -> list[PartTable]:
    """Return the tables of tasks."""
    return [
        PartTable(part, tuple(piece.label for piece in task.pieces))
        for task, part in zip(tasks, parts, strict=True)
    ]
