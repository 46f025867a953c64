"""Copied spans with forgetkit: the index, the scan in memory, and `mine` from file to file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from timing import Stopwatch, arguments

from forgetkit import __version__
from forgetkit.match import IndexParams, Policy, WorkIndex
from forgetkit.mine import MineConfig, mine
from forgetkit.spans import read_spans


def columns(folder: Path) -> tuple[list[str], list[pa.LargeStringArray]]:
    """Return the ids of all documents, and their texts in the row groups of the files."""
    ids, texts = [], []
    for path in sorted(folder.glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(2048):
            ids += batch["id"].to_pylist()
            texts.append(batch["text"].cast(pa.large_string()))
    return ids, texts


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()
    works = pq.read_table(data / "spans/works.parquet").to_pylist()
    texts = {row["work"]: row["text"] for row in works}
    config = MineConfig(detectors=("verbatim",))
    params = IndexParams(config.seed_symbols, config.seed_density)
    policy = Policy(config.min_chars, config.min_words, config.min_identity, config.max_works)
    ids, batches = columns(data / "spans/corpus")
    WorkIndex(texts, params, policy).find_column(batches[0])  # compiles the kernels
    index = watch.time("index", lambda: WorkIndex(texts, params, policy))
    size = sum(len(column.buffers()[2]) for column in batches)

    def scan() -> list[tuple[str, int, int, str, int, int]]:
        found, first = [], 0
        for column in batches:
            for row, m in index.find_column(column):
                place = (m.start, m.end, m.work_id, m.work_start, m.work_end)
                found.append((ids[first + row], *place))
            first += len(column)
        return found

    spans = watch.time("find", scan)
    corpus, works_path = [data / "spans/corpus"], [data / "spans/works.parquet"]
    watch.time("mine", lambda: mine(corpus, scratch / "mined", works=works_path, config=config))
    mined = [
        (span.doc_id, span.start, span.end, span.work_id, span.work_start, span.work_end)
        for span in read_spans(scratch / "mined/spans.parquet")
    ]
    version = f"forgetkit {__version__}"
    watch.say(out, version=version, bytes=size, spans=spans, same=sorted(mined) == sorted(spans))


if __name__ == "__main__":
    main()
