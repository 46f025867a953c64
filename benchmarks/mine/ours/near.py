"""Duplicates with forgetkit: `dedupe` from Parquet to Parquet, near and exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from timing import Stopwatch, arguments

from forgetkit import __version__
from forgetkit.dedupe import DedupeConfig, dedupe


def together(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return pairs that join all documents of each cluster; a row names the one it matched."""
    first: dict[str, str] = {}
    joined = [(row["matched_doc_id"], row["doc_id"]) for row in found]
    return joined + [(first.setdefault(r["cluster_id"], r["doc_id"]), r["doc_id"]) for r in found]


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()
    source = data / "near/documents.parquet"
    warm = scratch / "warm.parquet"
    few = pq.read_table(source).slice(0, 64)
    shorter = pa.array([text[:-12] for text in few["text"].to_pylist()], pa.large_string())
    pq.write_table(pa.concat_tables([few, few, few.set_column(1, "text", shorter)]), warm)
    for near in (True, False):
        dedupe([warm], scratch / f"warm-{near}", config=DedupeConfig(near=near))  # compiles
    watch.time("find", lambda: dedupe([source], scratch / "near"))
    exact = DedupeConfig(near=False)
    watch.time("exact", lambda: dedupe([source], scratch / "exact", config=exact))
    found = pq.read_table(scratch / "near/duplicates.parquet").to_pylist()
    only = pq.read_table(scratch / "exact/duplicates.parquet").to_pylist()
    watch.say(
        out,
        version=f"forgetkit {__version__}",
        # Whose letters are the same is judged with the exact ones, whatever their words.
        pairs=[(r["matched_doc_id"], r["doc_id"]) for r in found if r["method"] != "exact"],
        together=together(found),
        exact=[row["doc_id"] for row in only],
    )


if __name__ == "__main__":
    main()
