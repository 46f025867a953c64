"""Sentences that the embedding rows read: the first of each document, so that lengths vary."""

from __future__ import annotations

import re
from pathlib import Path


def sentences(data: Path, count: int) -> list[str]:
    """Return so many sentences of 20 to 400 characters out of the near-duplicate documents."""
    import pyarrow.parquet as pq

    found: list[str] = []
    for text in pq.read_table(data / "near/documents.parquet")["text"].to_pylist():
        pieces = re.split(r"(?<=[.!?])\s+", text[:4000])
        found += [piece for piece in pieces[:-1] if 20 <= len(piece) <= 400]
        if len(found) >= count:
            return found[:count]
    return found
