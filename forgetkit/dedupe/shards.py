"""The corpus without its copies: the same files, the rows that stay byte for byte."""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

import numpy as np

from forgetkit.corpus import Document
from forgetkit.corpus.lines import read_lines
from forgetkit.dedupe.catalogue import Numbers
from forgetkit.dedupe.reading import Columns, documents_of
from forgetkit.errors import InputError
from forgetkit.files import atomic_path

TEXT_FILES = (".txt", ".md")
LINE_FILES = (".jsonl", ".json", ".csv")


@dataclass(frozen=True)
class Shard:
    """One file of the kept corpus.

    Attributes:
        label: name of the file below the corpus.
        path: where it is.
        folder: where the kept corpus goes.
        columns: names of its columns by role.
    """

    label: str
    path: Path
    folder: Path
    columns: Columns = None

    def write(self, rows: Numbers, starts: Numbers) -> None:
        """Write the rows that stay, under the file's own name and in its own format.

        A text file that goes leaves nothing behind; any other file stays, perhaps without rows.
        A format that is only read (Arrow, WARC) becomes JSON lines, `.jsonl` added to its name.

        Args:
            rows: sorted numbers of the rows that stay.
            starts: sorted numbers of all rows of the file, bad ones too.

        Raises:
            InputError: the file holds other rows than before.
        """
        target, kind = self.folder / inside(self.label), kind_of(self.path)
        if kind in TEXT_FILES:
            written = len(rows)
            if written:
                with atomic_path(target, private=True) as temporary:
                    shutil.copyfile(self.path, temporary)
        elif kind == ".parquet":
            written = _parquet(self.path, target, rows)
        elif kind in LINE_FILES:
            written = _lines(self.path, target, rows, starts)
        else:
            stays = set(rows.tolist())
            found = documents_of(self.label, self.path, self.columns)
            written = write_documents(target, (one for row, one in found if row in stays))
        if written != len(rows):
            raise InputError(
                "the corpus changed while it was read",
                where=str(self.path),
                found=f"{written} of {len(rows)} rows",
            )


def write_documents(target: Path, documents: Iterable[Document]) -> int:
    """Write documents as JSON lines, `.jsonl` added to the name; return how many."""
    written = 0
    target = target.with_name(f"{target.name}.jsonl")
    with atomic_path(target, private=True) as temporary, opened(temporary) as stream:
        for document in documents:
            row: dict[str, Any] = {"id": document.doc_id, **dict(document.fields())}
            row |= {key: value for key, value in document.extra.items() if key not in row}
            line = json.dumps(row, ensure_ascii=False, default=str)
            stream.write(line.encode("utf-8") + b"\n")
            written += 1
    return written


def kind_of(path: Path) -> str:
    """Return the suffix of a file without that of its compression.

    >>> kind_of(Path("a.jsonl.gz"))
    '.jsonl'
    """
    compressed = path.suffix.lower() in (".gz", ".zst")
    return (Path(path.stem).suffix if compressed else path.suffix).lower()


def inside(label: str) -> PurePosixPath:
    """Return a label as a path below the output folder.

    Raises:
        InputError: it would lead outside.
    """
    relative = PurePosixPath(label)
    if relative.is_absolute() or ".." in relative.parts:
        raise InputError("names a place outside the corpus", where=label)
    return relative


def _parquet(path: Path, target: Path, rows: Numbers) -> int:
    import pyarrow.parquet as pq

    seen = written = 0
    with (
        pq.ParquetFile(path, memory_map=True) as file,
        atomic_path(target, private=True) as temporary,
        parquet_writer(temporary, file.schema_arrow) as writer,
    ):
        for batch in file.iter_batches(batch_size=4096):
            mask = np.zeros(batch.num_rows, bool)
            begin, end = np.searchsorted(rows, (seen + 1, seen + 1 + batch.num_rows))
            mask[rows[begin:end] - seen - 1] = True
            seen += batch.num_rows
            written += int(mask.sum())
            writer.write_batch(batch if mask.all() else batch.filter(_boolean(mask)))
    return written


def parquet_writer(path: Path, schema: Any) -> Any:
    """Open a Parquet file; texts get no dictionary, for they are all different here."""
    import pyarrow.parquet as pq

    texts = ("text", "content", "id", "doc_id")
    repetitive = [field.name for field in schema if field.name not in texts]
    return pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=repetitive)


def _boolean(mask: Any) -> Any:
    import pyarrow as pa

    return pa.array(mask)


def _lines(path: Path, target: Path, rows: Numbers, starts: Numbers) -> int:
    """Copy the lines of each row that stays, ends and all; before the first row is a header."""
    stays = np.isin(starts, rows)
    written = 0
    with atomic_path(target, private=True) as temporary, opened(temporary) as stream:
        for line in read_lines(path):
            at = int(np.searchsorted(starts, line.number, side="right")) - 1
            if at >= 0 and not stays[at]:
                continue
            if at < 0 and (not line.content.strip() or path.suffix == ".jsonl"):
                continue
            written += at >= 0 and int(starts[at]) == line.number
            stream.write(line.raw)
    return written


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing, compressed as its name says."""
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            with gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
                yield cast("IO[bytes]", stream)
        elif path.suffix == ".zst":
            import zstandard

            with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as writer:
                yield cast("IO[bytes]", writer)
        else:
            yield raw
