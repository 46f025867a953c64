"""What tasks give: tables in files, each with a receipt that is written last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.files import read_json, sha256_bytes, sha256_file, write_bytes, write_json

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Output:
    """What a piece of work gives.

    Attributes:
        tables: by name (letters, digits, `_`, `-`).
        counts: JSON values worth keeping.
    """

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """What a piece of work gave, in files.

    Attributes:
        folder: where the files are.
        key: what it was made of, as a digest; the stem of the files' names.
        counts: as given.
        rows: length of each table, by name.
        digests: SHA-256 of each table's file, by name.
        seconds: wall-clock time of the work.
    """

    folder: Path
    key: str
    counts: Mapping[str, Any]
    rows: Mapping[str, int]
    digests: Mapping[str, str]
    seconds: float

    def table(self, name: str) -> pa.Table | None:
        """Return a table, memory-mapped; None when the work gave none of that name."""
        import pyarrow as pa

        if name not in self.rows:
            return None
        with pa.memory_map(str(_file(self.folder, self.key, name))) as source:
            return pa.ipc.open_file(source).read_all()


def _file(folder: Path, key: str, name: str) -> Path:
    return folder / f"{key}.{name}.arrow"


def _receipt(folder: Path, key: str) -> Path:
    return folder / f"{key}.json"


def once(folder: Path, key: str, make: Callable[[], Output]) -> Part:
    """Return the part of that key, made now unless its receipt is there and holds.

    Files are private (mode 0600): they may hold protected text.

    Raises:
        StorageError: the folder cannot be written.
    """
    done = find(folder, key)
    if done is not None:
        return done
    began = time.monotonic()
    output = make()
    digests, rows = {}, {}
    for name, table in sorted(output.tables.items()):
        content = _bytes_of(table)
        write_bytes(_file(folder, key, name), content, private=True)
        digests[name], rows[name] = sha256_bytes(content), table.num_rows
    receipt = {
        "key": key,
        "counts": dict(output.counts),
        "rows": rows,
        "sha256": digests,
        "seconds": round(time.monotonic() - began, 3),
    }
    write_json(_receipt(folder, key), receipt, private=True)
    return _part(folder, receipt)


def find(folder: Path, key: str) -> Part | None:
    """Return the part of that key if its receipt is there and its files are what it says."""
    path = _receipt(folder, key)
    if not path.is_file():
        return None
    part = _part(folder, read_json(path))
    for name, digest in part.digests.items():
        file = _file(folder, key, name)
        if not file.is_file() or sha256_file(file) != digest:
            return None
    return part


def _part(folder: Path, receipt: Mapping[str, Any]) -> Part:
    return Part(
        folder=folder,
        key=receipt["key"],
        counts=receipt["counts"],
        rows=receipt["rows"],
        digests=receipt["sha256"],
        seconds=receipt["seconds"],
    )


def _bytes_of(table: pa.Table) -> memoryview:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return memoryview(sink.getvalue())
