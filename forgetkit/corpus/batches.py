"""Document batches out of files and folders: the same rows as `read_corpus`, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from forgetkit.corpus.batch import DocumentBatch
from forgetkit.corpus.document import Document
from forgetkit.corpus.quarantine import Quarantine
from forgetkit.corpus.read import read_corpus

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
    held: list[Document] = []
    size, label = 0, ""
    for document in read_corpus(paths, columns=columns, quarantine=quarantine):
        own = document.source.rpartition(":")[0]
        if held and (own != label or size >= BATCH_BYTES or len(held) >= BATCH_ROWS):
            yield DocumentBatch.of(held)
            held, size = [], 0
        label = own
        held.append(document)
        size += len(document.whole())
    if held:
        yield DocumentBatch.of(held)
