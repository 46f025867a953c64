"""Measure mining and deduplication: `make bench-mine`, or `python benchmarks/mine/run.py`.

Makes the data (`generate.py`), runs every peer and forgetkit on it, each job in a process of its
own on one core with one thread, scores what they found and writes `benchmarks/results/mine.md` and
`mine.json`. `--size small` takes minutes, `full` an hour or two on an idle machine.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bars import Measured, Sizes, bars, score_all
from generate import DONE, SIZES, make, make_large
from growth import crossed
from jobs import OURS, PEERS, Job, run
from machine import machine
from page import page

from forgetkit.files import write_json, write_text

ROOT = Path(__file__).resolve().parent.parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PLACES = ("--cache", "--out")


def main() -> None:
    """Read the command line and do it all."""
    options = _options()
    cache = options.cache.resolve()
    where = machine(ROOT)
    data = {size: make(cache / "data", size) for size in _sizes(options.size)}
    chosen = data[options.size]
    kept = cache / f"peers-{options.size}.json"
    known = json.loads(kept.read_text()) if options.reuse_peers and kept.is_file() else {}
    found: dict[str, Any] = {}
    for job in (*PEERS, *OURS):
        if not _asked(job.name, options):
            continue
        size = "small" if job.slow and not options.slow_full else options.size
        measured = known.get(job.name) or _run(job, data[size], cache, options)
        found[job.name] = measured | {"size": size}
        if job in PEERS and "failed" not in measured:
            kept.write_text(json.dumps(_kept(kept) | {job.name: measured}))
    sizes = [options.size, *(size for size in data if size != options.size)]
    m = Measured(found, {size: _measured_sizes(data[size]) for size in sizes})
    score_all(m)
    more = _more(chosen, cache, options, where["commit"])
    stated = {
        "made": json.loads((chosen / DONE).read_text())["made"],
        "machine": where,
        "command": _command(sys.argv[1:]),
        "peers_reused": sorted(set(known) & set(found)),
    }
    rows = bars(m)
    write_text(options.out / "mine.md", page(stated, rows, m, more))
    whole = stated | {"bars": [vars(row) for row in rows], "scores": m.scores, "more": more}
    write_json(options.out / "mine.json", whole | {"jobs": _small(found)})


def _more(
    data: Path, cache: Path, options: argparse.Namespace, commit: str
) -> dict[str, dict[str, Any]]:
    """Measure real data, growth, and a large corpus past all detectors, as far as asked for.

    What was measured before is kept below the cache with its commit, and taken with `--reuse-more`.
    """
    kept = cache / f"more-{options.size}.json"
    found: dict[str, dict[str, Any]] = {}
    for name, job, folder in _further(data, cache, options):
        measured = _kept(kept).get(name) if options.reuse_more else None
        if measured is None and _asked(name, options):
            pinned = name != "gigabyte"
            measured = _run(job, folder(), cache, options, pinned=pinned) | {"commit": commit}
            if "failed" not in measured:
                kept.write_text(json.dumps(_kept(kept) | {name: measured}))
        if measured is not None:
            found[name] = measured
    return found


def _further(
    data: Path, cache: Path, options: argparse.Namespace
) -> Iterator[tuple[str, Job, Callable[[], Path]]]:
    """Yield the name, the job and the data of each further measurement."""
    yield "real", Job("real data", "ours/real.py", argument=options.size), lambda: data
    for name, folder in crossed(data, cache / f"crossed-{options.size}").items():
        job = Job(f"growth, {name}", "ours/mine_whole.py", argument="verbatim")
        yield job.name, job, lambda folder=folder: folder
    if options.gigabyte:
        job = Job("a large corpus through all detectors", "ours/mine_whole.py", argument="all")
        yield "gigabyte", job, lambda: make_large(cache / "data", data, options.size)


def _command(arguments: list[str]) -> str:
    """Return the command without the places of this machine."""
    said = "python benchmarks/mine/run.py"
    skip = False
    for argument in arguments:
        if not skip and argument not in PLACES:
            said += f" {argument}"
        skip = argument in PLACES
    return said


def _asked(name: str, options: argparse.Namespace) -> bool:
    return not options.only or any(word in name for word in options.only.split(","))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--cache", type=Path, default=ROOT / ".bench", help="data, environments")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--core", type=int, default=min(os.sched_getaffinity(0)))
    parser.add_argument("--limit", type=int, default=5400, help="wall seconds of one job")
    parser.add_argument("--only", default="", help="jobs whose names hold one of these words")
    parser.add_argument("--slow-full", action="store_true", help="slow peers read the full data")
    parser.add_argument("--reuse-peers", action="store_true", help="do not measure peers again")
    parser.add_argument(
        "--reuse-more",
        action="store_true",
        help="take real data, growth and the large corpus from the last run of this cache",
    )
    parser.add_argument(
        "--gigabyte",
        action="store_true",
        help="also a corpus of 1 GB through all detectors",
    )
    return parser.parse_args()


def _sizes(size: str) -> tuple[str, ...]:
    return ("small", "full") if size == "full" else (size,)


def _run(
    job: Job, data: Path, cache: Path, options: argparse.Namespace, *, pinned: bool = True
) -> dict[str, Any]:
    began = time.monotonic()
    found = run(job, data, cache, options.core if pinned else None, options.limit)
    said = found.get("failed") or found.get("absent") or "measured"
    print(f"{job.name:<40} {time.monotonic() - began:7.0f} s  {said}", file=sys.stderr, flush=True)
    return found


def _measured_sizes(data: Path) -> Sizes:
    """Weigh the corpus and the documents with twins."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    def size(path: Path) -> float:
        table = pq.read_table(path, columns=["text"])
        return float(pc.sum(pc.binary_length(table["text"])).as_py()) / 1e6

    parts = sum(size(path) for path in sorted((data / "spans/corpus").glob("*.parquet")))
    return Sizes(data, parts, size(data / "near/documents.parquet"))


def _kept(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {}


def _small(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return results without the lists of what was found."""
    return {
        name: {key: value for key, value in result.items() if not isinstance(value, list)}
        for name, result in found.items()
    }


if __name__ == "__main__":
    main()
