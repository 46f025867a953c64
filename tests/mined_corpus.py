"""A small corpus of every kind of file, to be mined for one pattern in many tasks."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from forgetkit.mine import MineConfig


def make(folder: Path) -> tuple[list[Path], MineConfig]:
    """Write the corpus and its pattern file; return its path and the settings."""
    corpus = folder / "corpus"
    (corpus / "texts").mkdir(parents=True)
    rows = [{"id": f"../../{n}", "text": f"Row {n} has a secret, é {'x' * 40}"} for n in range(40)]
    lines = [json.dumps(row, ensure_ascii=n % 2 == 0) for n, row in enumerate(rows)]
    lines[17] = '{"text": '
    (corpus / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    texts = [f"Nothing here, {n}" if n % 3 else f"The secret number {n}" for n in range(30)]
    pq.write_table(pa.table({"text": texts}), corpus / "b.parquet", row_group_size=10)
    for n in range(5):
        (corpus / "texts" / f"{n}.txt").write_text(f"One secret of {n}.", encoding="utf-8")
    patterns = folder / "patterns.yaml"
    patterns.write_text("- regex: sec+ret\n", encoding="utf-8")
    config = MineConfig(detectors=("pattern",), patterns=patterns, task_mb=0.0005)
    return [corpus], config
