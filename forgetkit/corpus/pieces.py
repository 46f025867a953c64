"""Pieces of files: the units of work, found in one fast pass that also fingerprints them.

The pass reads every byte once and does no more than xxh3 and counting line ends (gigabytes a
second). XXH3-128 tells a changed file from an unchanged one; it is no proof against somebody who
forges files, so nothing is certified by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forgetkit.errors import StorageError

UNIT = 32 * 2**20
"""Bytes of a piece, about: a second of work."""
BLOCK = 2**20
SPLITTABLE = (".jsonl", ".json")


@dataclass(frozen=True)
class Piece:
    """A part of a file that can be read by itself.

    Attributes:
        label: the file, as in a document's source.
        path: where it is.
        start: first byte of a JSON lines file; first row group of a Parquet file, first batch of
            an Arrow file.
        stop: one past the last; None for the whole file.
        first_row: number of its first row or line, from 1.
        size: bytes on disk, about.
        fingerprint: XXH3-128 of its bytes (row groups: of the whole file).
    """

    label: str
    path: Path
    start: int
    stop: int | None
    first_row: int
    size: int
    fingerprint: str


def pieces_of(label: str, path: Path, unit: int = UNIT) -> list[Piece]:
    """Cut a file into pieces of about `unit` bytes; the cut depends on the file alone.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        if path.suffix.lower() in SPLITTABLE and path.stat().st_size > unit:
            return list(_line_pieces(label, path, unit))
        whole = Piece(label, path, 0, None, 1, path.stat().st_size, fingerprint(path))
    except OSError as error:
        raise StorageError("cannot be read", where=str(path), found=str(error.strerror)) from error
    counts = _group_sizes(path)
    return _group_pieces(whole, counts, unit) if len(counts) > 1 else [whole]


def fingerprint(path: Path) -> str:
    """Return the XXH3-128 of a file."""
    import xxhash

    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _line_pieces(label: str, path: Path, unit: int) -> Iterator[Piece]:
    """Cut at the first line end at or after every `unit` bytes."""
    import xxhash

    start, row, at, ends = 0, 1, 0, 0
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as stream:
        while block := stream.read(BLOCK):
            begin = 0
            while at + len(block) - begin - start >= unit:
                cut = block.find(b"\n", max(begin, begin + unit - (at - start) - 1)) + 1
                if not cut:
                    break
                digest.update(block[begin:cut])
                ends += block.count(b"\n", begin, cut)
                stop = at + cut - begin
                yield Piece(label, path, start, stop, row, stop - start, digest.hexdigest())
                start, row, ends, digest = stop, row + ends, 0, xxhash.xxh3_128()
                at, begin = stop, cut
            digest.update(block[begin:])
            ends += block.count(b"\n", begin)
            at += len(block) - begin
    if at > start:
        yield Piece(label, path, start, at, row, at - start, digest.hexdigest())


def _group_sizes(path: Path) -> list[tuple[int, int]]:
    """Return rows and bytes of each row group or batch; empty when there is no telling."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from forgetkit.corpus.tables import open_arrow

    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                groups = map(file.metadata.row_group, range(file.metadata.num_row_groups))
                return [(group.num_rows, group.total_byte_size) for group in groups]
        if path.suffix.lower() in (".arrow", ".feather"):
            with open_arrow(path) as (reader, count):
                if count is None:
                    return []  # a stream is read from its beginning only
                batches = map(reader.get_batch, range(count))
                return [(batch.num_rows, batch.nbytes) for batch in batches]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError):
        return []  # the reader says what is wrong with it
    return []


def _group_pieces(whole: Piece, groups: list[tuple[int, int]], unit: int) -> list[Piece]:
    pieces = []
    start, row, rows, size = 0, 1, 0, 0
    for number, (count, length) in enumerate(groups, 1):
        rows, size = rows + count, size + length
        if size >= unit or number == len(groups):
            share = whole.size * (number - start) // len(groups)
            pieces.append(
                Piece(whole.label, whole.path, start, number, row, share, whole.fingerprint)
            )
            start, row, rows, size = number, row + rows, 0, 0
    return pieces
