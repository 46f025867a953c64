"""Work by piece of a file: its table is one part on disk, whole, and found again after a kill.

A part carries the books and the bad rows of its piece, so that a second run needs no second look.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from forgetkit.corpus import Counts, Quarantine
from forgetkit.corpus.pieces import Piece
from forgetkit.corpus.quarantine import BadRow
from forgetkit.files import atomic_path, digest_of
from forgetkit.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

BOOKS = b"forgetkit.books"


@dataclass(frozen=True)
class Source:
    """One piece of a file to read.

    Attributes:
        piece: what to read.
        sha256: digest of the whole file.
    """

    piece: Piece
    sha256: str

    @property
    def label(self) -> str:
        """Return how sources name the file."""
        return self.piece.label

    @property
    def path(self) -> Path:
        """Return where the file is."""
        return self.piece.path


@dataclass(frozen=True)
class Parts:
    """Makes the parts of one step.

    Attributes:
        folder: where they are.
        step: name of the step, with everything that its result depends on.
        workers: threads; the kernels run without the interpreter's lock.
        progress: who watches; one step a piece.
    """

    folder: Path
    step: str
    workers: int
    progress: Progress

    def path(self, source: Source) -> Path:
        """Return where the part of a piece is, by digest: a label never becomes a file name."""
        piece = source.piece
        identity = [self.step, piece.label, source.sha256, piece.start, piece.stop]
        return self.folder / f"{digest_of(identity)[:32]}.parquet"

    def make(
        self,
        sources: Sequence[Source],
        work: Callable[[Source, Quarantine], Iterator[pa.Table]],
        max_bad_rows: int | None,
    ) -> list[Path]:
        """Write the parts that are missing; return all, in the order of the sources."""

        def one(source: Source) -> Path:
            path = self.path(source)
            if not path.is_file():
                quarantine = Quarantine(max_bad_rows)
                _write(path, work(source, quarantine), quarantine)
            return path

        if self.workers == 1:
            return [self._seen(one(source)) for source in sources]
        with ThreadPoolExecutor(self.workers) as pool:
            return [self._seen(path) for path in pool.map(one, sources)]

    def _seen(self, path: Path) -> Path:
        self.progress.advance()
        return path


def _write(path: Path, tables: Iterator[pa.Table], quarantine: Quarantine) -> None:
    import pyarrow.parquet as pq

    first = next(tables)
    with (
        atomic_path(path) as temporary,
        pq.ParquetWriter(
            temporary, first.schema, compression="none", use_dictionary=False
        ) as writer,
    ):
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
        writer.add_key_value_metadata({BOOKS: _books(quarantine)})


def _books(quarantine: Quarantine) -> bytes:
    files = {label: asdict(counts) for label, counts in quarantine.files.items()}
    return json.dumps({"files": files, "rows": [asdict(r) for r in quarantine.rows]}).encode()


def collect_books(parts: Sequence[Path], quarantine: Quarantine) -> None:
    """Add the books and the bad rows of parts to a quarantine."""
    import pyarrow.parquet as pq

    for path in parts:
        books = json.loads(pq.read_metadata(path).metadata[BOOKS])
        for name, counts in books["files"].items():
            quarantine.files[name] = quarantine.files.get(name, Counts()) + Counts(**counts)
        quarantine.rows += [BadRow(**row) for row in books["rows"]]
