"""Read and write Parquet and make word 5-grams in plain Python, as scripts around MinHash do."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

_TOKEN = re.compile(r"[^\W_]+")
WORDS = 5


def read(path: Path) -> tuple[list[str], list[str]]:
    """Return ids and texts."""
    table = pq.read_table(path, columns=["id", "text"])
    return table["id"].to_pylist(), table["text"].to_pylist()


def shingles(text: str) -> set[str]:
    """Return the word 5-grams of a text."""
    words = _TOKEN.findall(text.casefold())
    return {" ".join(words[at : at + WORDS]) for at in range(max(1, len(words) - WORDS + 1))}


def keep_first(ids: list[str], pairs: list[tuple[int, int]]) -> list[bool]:
    """Say which documents stay: the first of each group of joined pairs."""
    parent = list(range(len(ids)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for one, two in pairs:
        one, two = root(one), root(two)
        parent[max(one, two)] = min(one, two)
    return [root(at) == at for at in range(len(ids))]


def write(path: Path, ids: list[str], texts: list[str], kept: list[bool]) -> None:
    """Write what stays."""
    chosen = [at for at, stays in enumerate(kept) if stays]
    columns = {"id": [ids[at] for at in chosen], "text": [texts[at] for at in chosen]}
    pq.write_table(pa.table(columns), path)
