"""Tasks: what one worker does at once, planned from the files alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from forgetkit.corpus import Quarantine, corpus_files
from forgetkit.corpus.pieces import UNIT, Piece, pieces_of
from forgetkit.errors import UsageError
from forgetkit.files import digest_of


@dataclass(frozen=True)
class Task:
    """Some pieces of files that follow each other.

    Attributes:
        number: its place in the plan, from 0.
        pieces: what it reads, in order of file and row.
    """

    number: int
    pieces: tuple[Piece, ...]

    @property
    def size(self) -> int:
        """Return its bytes on disk, about."""
        return sum(piece.size for piece in self.pieces)

    def key(self, identity: str) -> str:
        """Name what the task gives: the pieces as they are now, and what is done with them."""
        places = [(p.label, p.start, p.stop, p.first_row, p.fingerprint) for p in self.pieces]
        return digest_of([identity, places])[:32]


@dataclass(frozen=True)
class Plan:
    """All tasks of a corpus.

    Attributes:
        tasks: in order of file and row.
        fingerprints: by file, of all its bytes.
        ignored: files of folders that are of no kind we read.
    """

    tasks: tuple[Task, ...]
    fingerprints: dict[str, str]
    ignored: tuple[str, ...]

    @property
    def size(self) -> int:
        """Return the bytes on disk, about."""
        return sum(task.size for task in self.tasks)


def plan(paths: Sequence[Path], unit: int = UNIT) -> Plan:
    """Plan the tasks over files and folders; each file is read once, to fingerprint it.

    Large JSON lines files are cut at line ends, Parquet and Arrow files at row groups; small
    files share a task. The plan depends on the files alone, never on the workers.

    Args:
        paths: files and folders.
        unit: bytes of a task, about.

    Raises:
        InputError: a path is missing or of no known kind.
        StorageError: a file cannot be read.
    """
    books = Quarantine()
    tasks: list[Task] = []
    held: list[Piece] = []
    fingerprints = {}
    for label, path in corpus_files(paths, books):
        pieces = pieces_of(label, path, unit)
        fingerprints[label] = digest_of([piece.fingerprint for piece in pieces])[:32]
        for piece in pieces:
            if held and sum(p.size for p in held) + piece.size > unit:
                tasks.append(Task(len(tasks), tuple(held)))
                held = []
            held.append(piece)
    if held:
        tasks.append(Task(len(tasks), tuple(held)))
    return Plan(tuple(tasks), fingerprints, tuple(sorted(books.ignored)))


@dataclass(frozen=True)
class Shard:
    """Every `count`-th task, beginning with the `index`-th (from 1): the part of one job."""

    index: int
    count: int

    @staticmethod
    def parse(text: str) -> Shard:
        """Read `i/n`.

        >>> Shard.parse("2/8")
        Shard(index=2, count=8)

        Raises:
            UsageError: it is no such pair, or i is not in 1..n.
        """
        index, _, count = text.partition("/")
        if index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count):
            return Shard(int(index), int(count))
        raise UsageError("--shard is not i/n", found=text, mend="Write --shard 1/8 … 8/8.")

    def of(self, tasks: Sequence[Task]) -> list[Task]:
        """Return the tasks that fall to this shard."""
        return list(tasks[self.index - 1 :: self.count])
