"""What `dedupe` returns, and how its clusters are named and written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgetkit.files import atomic_stream, read_json, sha256_bytes

if TYPE_CHECKING:
    import pyarrow as pa

MARKER = "summary.json"


@dataclass(frozen=True)
class DedupeResult:
    """What `dedupe` did.

    Attributes:
        counts: read, kept, duplicate, quarantined and clusters; of spans read, kept, clusters.
        accounting: by file, the same without clusters; empty for spans.
        warnings: sentences for the user.
        outputs: the files written, by name.
        seconds: wall-clock time.
    """

    counts: dict[str, int]
    accounting: dict[str, dict[str, int]]
    warnings: list[str]
    outputs: dict[str, Path]
    seconds: float


def result_of(out: Path, names: Sequence[str], seconds: float) -> DedupeResult:
    """Read the result of a finished run from its summary."""
    summary = read_json(out / MARKER)
    return DedupeResult(
        counts=summary["counts"],
        accounting=summary.get("accounting", {}),
        warnings=summary["warnings"],
        outputs={name: out / name for name in (*names, MARKER)},
        seconds=seconds,
    )


def cluster_name(members: Iterable[str]) -> str:
    """Name a cluster by its members, whatever their order.

    >>> cluster_name(["b", "a"]) == cluster_name(["a", "b"])
    True
    """
    return sha256_bytes("\0".join(sorted(members)).encode("utf-8"))[:16]


def write_table(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    """Write rows as Parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_stream(path) as stream:
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), stream)


def write_columns(path: Path, columns: dict[str, Any]) -> None:
    """Write columns as Parquet, atomically."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic_stream(path) as stream:
        pq.write_table(pa.table(columns), stream)
