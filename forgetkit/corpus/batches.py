"""Document batches out of files and folders: the same rows as `read_corpus`, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from forgetkit.corpus.accept import accept, wanted_columns
from forgetkit.corpus.batch import DocumentBatch
from forgetkit.corpus.blocks import Block, line_blocks
from forgetkit.corpus.columns import Wanted, batch_of
from forgetkit.corpus.document import Document
from forgetkit.corpus.formats import format_of
from forgetkit.corpus.jsonl import JsonlReader
from forgetkit.corpus.lines import BLOCK, read_blocks
from forgetkit.corpus.pieces import Piece
from forgetkit.corpus.quarantine import Quarantine
from forgetkit.corpus.read import check_not_empty, corpus_files
from forgetkit.corpus.rows import Row, json_row, jsonl_rows
from forgetkit.corpus.tables import (
    arrow_batches,
    arrow_rows,
    parquet_batches,
    parquet_rows,
    sound_roles,
    table_rows,
)
from forgetkit.errors import InputError, StorageError

BATCH_BYTES = 4 * 2**20
BATCH_ROWS = 8192


def read_batches(
    paths: Sequence[Path],
    *,
    columns: Mapping[str, str] | None = None,
    quarantine: Quarantine,
) -> Iterator[DocumentBatch]:
    """Yield the documents of files and folders in batches, each of one file.

    Args and errors as in `read_corpus`.
    """
    for label, path in corpus_files(paths, quarantine):
        piece = Piece(label, path, 0, None, 1, 0, "")
        yield from read_piece(piece, columns=columns, quarantine=quarantine)
        quarantine.balance(label)
    check_not_empty(paths, quarantine)


def read_piece(
    piece: Piece, *, columns: Mapping[str, str] | None = None, quarantine: Quarantine
) -> Iterator[DocumentBatch]:
    """Yield the documents of a piece in batches, in order of row.

    Raises:
        InputError: the file is of no known kind.
        StorageError: the file cannot be read.
    """
    wanted = wanted_columns(columns)
    read = format_of(piece.path)
    quarantine.opened(piece.label)
    if read is None:
        raise InputError("is no corpus file", where=str(piece.path))
    if read is jsonl_rows:
        yield from _jsonl(piece, wanted, quarantine)
    elif read in (parquet_rows, arrow_rows):
        yield from _table(piece, wanted, quarantine)
    else:
        yield from _gathered(piece.label, read(piece.path), wanted, quarantine)


def _jsonl(piece: Piece, wanted: Wanted, quarantine: Quarantine) -> Iterator[DocumentBatch]:
    reader = JsonlReader(piece.label, wanted, quarantine)
    stream = read_blocks(piece.path) if piece.stop is None else _range(piece)
    for block in line_blocks(stream, piece.first_row, piece.start):
        if isinstance(block, Block):
            batch = reader.batch(block)
            if batch is not None and len(batch):
                yield batch
        else:
            accept(json_row(block), piece.label, wanted, quarantine)


def _range(piece: Piece) -> Iterator[bytes]:
    """Yield the bytes of a piece of an uncompressed file."""
    left = (piece.stop or 0) - piece.start
    try:
        with piece.path.open("rb", buffering=0) as stream:
            stream.seek(piece.start)
            while left and (block := stream.read(min(BLOCK, left))):
                left -= len(block)
                yield block
    except OSError as error:
        raise StorageError(
            "cannot be read", where=str(piece.path), found=str(error.strerror)
        ) from error
    if left:
        raise StorageError(
            "the file became shorter while it was read",
            where=str(piece.path),
            mend="Run the command again when nothing writes to it.",
        )


def _table(piece: Piece, wanted: Wanted, quarantine: Quarantine) -> Iterator[DocumentBatch]:
    import numpy as np

    groups = None if piece.stop is None else range(piece.start, piece.stop)
    if format_of(piece.path) is parquet_rows:
        names = {name for options in wanted.values() for name in options}
        batches = parquet_batches(piece.path, groups, names, piece.first_row)
    else:
        batches = arrow_batches(piece.path, groups, piece.first_row)
    for number, batch in batches:
        roles = None if isinstance(batch, list) else sound_roles(batch, wanted)
        if isinstance(batch, list) or roles is None:
            rows = iter(batch) if isinstance(batch, list) else table_rows(batch, number)
            yield from _gathered(piece.label, rows, wanted, quarantine)
            continue
        numbers = np.arange(number, number + batch.num_rows, dtype=np.int64)
        made, good = batch_of(piece.label, numbers, roles)
        quarantine.kept(piece.label, len(made))
        for index in np.flatnonzero(~good):
            (row,) = table_rows(batch.slice(int(index), 1), number + int(index))
            accept(row, piece.label, wanted, quarantine)
        if len(made):
            yield made


def _gathered(
    label: str, rows: Iterator[Row], wanted: Wanted, quarantine: Quarantine
) -> Iterator[DocumentBatch]:
    """Make batches of rows that come one by one."""
    held: list[Document] = []
    size = 0
    for row in rows:
        document = accept(row, label, wanted, quarantine)
        if document is None:
            continue
        held.append(document)
        size += len(document.whole())
        if size >= BATCH_BYTES or len(held) >= BATCH_ROWS:
            yield DocumentBatch.of(held)
            held, size = [], 0
    if held:
        yield DocumentBatch.of(held)
