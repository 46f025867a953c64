"""Make the data sets: `python benchmarks/mine/generate.py --size small --out .bench/data`.

Deterministic by seed. Small is a tenth of full: full holds 50 MB of works, a 112 MB corpus with
2,600 copies, and 24,600 documents (102 MB) with near duplicates.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from growth import link
from origins import read_origins
from planted import make_hosts, make_spans, write_table
from twins import make_twins

from forgetkit.files import digest_of, sha256_file
from forgetkit.seeds import generator

HERE = Path(__file__).resolve().parent
DONE = "made.json"
GIGABYTE = 10**9  # characters
PARTS = 8
MAKERS = ("origins.py", "markov.py", "edits.py", "planted.py", "twins.py")


@dataclass(frozen=True)
class Size:
    """How much: characters of works and corpus, copies of each kind, documents with twins."""

    works: int
    corpus: int
    each: int
    documents: int


SIZES = {
    "small": Size(5_000_000, 11_200_000, 50, 2_460),
    "full": Size(50_000_000, 112_000_000, 200, 24_600),
}


def make(out: Path, size: str, seed: int = 0) -> Path:
    """Make the data of one size below `out`, unless it is there; return its folder."""
    folder = out / size
    chosen = SIZES[size]
    origins = read_origins()
    stamp = {"size": asdict(chosen), "seed": seed, "origins": list(origins.names)}
    stamp["makers"] = digest_of([sha256_file(HERE / name) for name in MAKERS])
    if (folder / DONE).is_file() and json.loads((folder / DONE).read_text())["made"] == stamp:
        return folder
    began = time.monotonic()
    for name in ("spans", "near"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    make_spans(folder / "spans", origins, chosen.works, chosen.corpus, chosen.each, seed)
    make_twins(folder / "near", origins, chosen.documents, seed)
    seconds = round(time.monotonic() - began, 1)
    (folder / DONE).write_text(json.dumps({"made": stamp, "seconds": seconds}, indent=1))
    return folder


def make_large(out: Path, base: Path, size: str, seed: int = 0) -> Path:
    """Make a corpus of 1 GB around that of a size: the rest holds no copies.

    Eight parts as large as the corpus are made; at the small size each stands there eleven times.
    """
    folder = out / f"large-{size}"
    corpus = folder / "spans" / "corpus"
    if not (folder / DONE).is_file():
        corpus.mkdir(parents=True, exist_ok=True)
        for path in (base / "spans" / "corpus").glob("*.parquet"):
            link(corpus / path.name, path)
        link(folder / "spans" / "works.parquet", base / "spans" / "works.parquet")
        origins = read_origins()
        times = round((GIGABYTE - SIZES[size].corpus) / (PARTS * SIZES[size].corpus))
        for number in range(PARTS):
            hosts = make_hosts(origins, SIZES[size].corpus, generator(seed, f"large {number}"))
            ids = [f"g{number}-{row}" for row in range(len(hosts))]
            made = folder / f"made-{number}.parquet"
            write_table(made, {"id": ids, "text": hosts})
            for copy in range(times):  # hard links: what soft ones lead to is read once
                (corpus / f"more-{number}-{copy:02d}.parquet").hardlink_to(made)
        (folder / DONE).write_text("{}")
    return folder


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--out", type=Path, default=Path(".bench/data"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(make(arguments.out, arguments.size, arguments.seed))


if __name__ == "__main__":
    main()
