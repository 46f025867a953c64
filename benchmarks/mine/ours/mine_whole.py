"""`mine` from file to file with the detectors named last, in a process that does nothing else.

With `verbatim` alone, or `all`: every detector, semantic and harm with a budget of few windows, so
that the cheap stages that read everything are what is measured.
"""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from timing import Stopwatch, arguments, peak_mb

from forgetkit import __version__
from forgetkit.mine import MineConfig, mine

FEW = 1000  # windows that MiniLM reads, a fifth of them to fit the prefilter
PHRASES = "patterns.txt"


def config_of(which: str, scratch: Path) -> MineConfig:
    """Return the settings: only what this version of the product knows is set."""
    if which == "verbatim":
        return MineConfig(detectors=("verbatim",))
    path = scratch / PHRASES
    path.write_text("Sherlock Holmes\nthe Time Traveller\nDorothy\n", encoding="utf-8")
    names = ("verbatim", "pattern", "harm", "semantic")
    return MineConfig(detectors=names, patterns=path, max_windows=FEW, harm_budget=FEW)


def weigh(path: Path) -> float:
    """Return the 10^6 bytes of UTF-8 of the texts in a file or folder of Parquet."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    sizes = [pc.sum(pc.binary_length(pq.read_table(f)["text"])).as_py() for f in files]
    return float(sum(sizes)) / 1e6


def main() -> None:
    data, scratch, out = arguments()
    which = sys.argv[4]
    watch = Stopwatch()
    more: dict[str, Any] = {}
    if "workers" in inspect.signature(mine).parameters:
        more["workers"] = len(os.sched_getaffinity(0))
    config = config_of(which, scratch)
    corpus, works = [data / "spans/corpus"], [data / "spans/works.parquet"]
    megabytes = weigh(corpus[0]), weigh(works[0])
    few = pq.read_table(next(iter(sorted(corpus[0].iterdir())))).slice(0, 20)
    pq.write_table(few, scratch / "few.parquet")
    short = pq.read_table(works[0]).slice(0, 1)["text"][0].as_py()[:20_000]
    (scratch / "short.txt").write_text(short, encoding="utf-8")
    warm = [scratch / "short.txt"]
    mine([scratch / "few.parquet"], scratch / "warm", works=warm, config=config)  # compiles
    warm = round(peak_mb())
    result = watch.time(
        "mine", lambda: mine(corpus, scratch / "mined", works=works, config=config, **more)
    )
    watch.say(
        out,
        version=f"forgetkit {__version__}",
        detectors=list(config.detectors),
        counts=result.counts,
        warm_mb=warm,
        workers=more.get("workers", 1),
        corpus_mb=megabytes[0],
        works_mb=megabytes[1],
    )


if __name__ == "__main__":
    main()
