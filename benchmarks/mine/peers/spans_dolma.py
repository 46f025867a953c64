"""Copied spans and exact documents with dolma's Bloom filter (its Rust part, one process).

Spans: the works' 8-grams of each paragraph go into the filter; a paragraph of the corpus counts
when half of its 8-grams are in it. Documents: the whole text is the key,
and the mixer writes what stays. Input is gzip JSON lines, the only kind it reads; making them is
not counted.
"""

from __future__ import annotations

import gzip
import json
import sys
import types
from importlib import import_module
from pathlib import Path
from sysconfig import get_paths
from typing import Any

import pyarrow.parquet as pq
from timing import Stopwatch, arguments, version_of

BY_NGRAM = {
    "ngram_length": 8,
    "stride": 0,
    "overlap_threshold": 0.5,
    "skip_short_paragraphs": True,
}


def rust() -> Any:
    """Return dolma's Rust module; its own __init__ needs taggers that it does not."""
    package = types.ModuleType("dolma")
    package.__path__ = [str(Path(get_paths()["purelib"]) / "dolma")]
    sys.modules["dolma"] = package
    return import_module("dolma.dolma")


def lines(path: Path, out: Path, key: str) -> Path:
    """Write a Parquet table as dolma's documents."""
    out.parent.mkdir(parents=True, exist_ok=True)
    table = pq.read_table(path)
    with gzip.open(out, "wt", encoding="utf-8", compresslevel=1) as stream:
        for name, text in zip(table[key].to_pylist(), table["text"].to_pylist(), strict=True):
            stream.write(json.dumps({"id": name, "text": text, "source": "s"}) + "\n")
    return out


def run(documents: Path, bloom: Path, size: int, read_only: bool, how: dict[str, Any]) -> None:
    """Run the filter over documents."""
    work = {"input": str(bloom.parent / "in"), "output": str(bloom.parent / "out")}
    for folder in work.values():
        Path(folder).mkdir(exist_ok=True)
    settings = {
        "documents": [str(documents)],
        "dedupe": {
            "skip_empty": True,
            "min_length": 0,
            "min_words": 0,
            "num_partitions": 1,
            "partition_index": 0,
            "file_partition": False,
            "document_dir": "documents",
            "name": "found",
            **how,
        },
        "bloom_filter": {
            "file": str(bloom),
            "read_only": read_only,
            "size_in_bytes": 0,
            "estimated_doc_count": size,
            "desired_false_positive_rate": 1e-6,
        },
        "work_dir": work,
        "processes": 1,
        "is_s3_volume": False,
        "compression": {"input": None, "output": None},
    }
    rust().deduper_entrypoint(json.dumps(settings))


def keep_unseen(documents: Path, scratch: Path) -> None:
    """Write the documents that the filter had not seen, with dolma's mixer."""
    seen = "$@.attributes[?(@.seen && @.seen[0] && @.seen[0][2] >= 1.0)]"
    stream = {
        "name": "kept",
        "documents": [str(documents)],
        "attributes": ["found"],
        "output": {"path": str(scratch / "kept"), "max_size_in_bytes": 10**12},
        "filter": {"include": [], "exclude": [seen], "syntax": "jsonpath"},
        "compression": {"input": None, "output": None},
    }
    work = {"input": str(scratch / "in"), "output": str(scratch / "out")}
    rust().mixer_entrypoint(json.dumps({"streams": [stream], "processes": 1, "work_dir": work}))


def attributes(scratch: Path, name: str) -> list[dict[str, Any]]:
    """Read what it says about each document."""
    rows = []
    for path in sorted((scratch / "attributes" / "found").rglob(name)):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            rows += [json.loads(line) for line in stream]
    return rows


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()
    works = lines(data / "spans/works.parquet", scratch / "documents/works.jsonl.gz", "work")
    parts = [
        lines(path, scratch / f"documents/{path.stem}.jsonl.gz", "id")
        for path in sorted((data / "spans/corpus").glob("*.parquet"))
    ]
    near = lines(data / "near/documents.parquet", scratch / "documents/near.jsonl.gz", "id")
    how = {"paragraphs": {"attribute_name": "copy", "by_ngram": BY_NGRAM}}
    grams = sum(
        text.count(" ") for text in pq.read_table(data / "spans/works.parquet")["text"].to_pylist()
    )
    watch.time("index", lambda: run(works, scratch / "works.bloom", grams, False, how))
    for part in parts:
        watch.time("find", lambda part=part: run(part, scratch / "works.bloom", grams, True, how))
    spans = [
        (row["id"], start, end)
        for row in attributes(scratch, "part-*.gz")
        for start, end, _ in row["attributes"].get("copy", [])
    ]
    exact = {"documents": {"attribute_name": "seen", "key": "$.text"}}
    watch.time("exact", lambda: run(near, scratch / "near.bloom", 200_000, False, exact))
    watch.time("mix", lambda: keep_unseen(near, scratch))
    seen = [row["id"] for row in attributes(scratch, "near*.gz") if row["attributes"].get("seen")]
    watch.say(out, version=version_of("dolma"), spans=spans, exact=seen)


if __name__ == "__main__":
    main()
