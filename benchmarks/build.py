"""What `build` imports and what it costs: `python benchmarks/build.py --data ../shared/data`.

Two tables:

1. TOFU: rows by split and probe of what its folder becomes, and the pairs of near copies that the
   overlap checks find between its forget and retain parts, by kind;
2. works: examples a CPU second and peak memory of a build from the works as they are, one process
   each, and the share of their windows that the default model recites (extraction strength of at
   least `known_at`).

Retain against random retain is `benchmarks/build_neighbours.py`.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "sample_data"
AUTHORS = range(160, 180)
"""TOFU's authors that serve as holdout here: none of them is in forget10."""
MODEL = "smollm2-135m-instruct"


def rows_of(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a gzip file of JSON lines."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def tofu(data: Path, folder: Path) -> Iterator[str]:
    """Import forget10 of TOFU's folder and yield what became of it."""
    from forgetkit.build import BuildConfig, Inputs, build
    from forgetkit.forget_set import read_forget_set

    rows = rows_of(data / "tofu" / "full.jsonl.gz")
    held = [row for row in rows if row["author"] in AUTHORS]
    kept = [row for row in rows if not row["forget10"] and row["author"] not in AUTHORS]
    inputs = Inputs(
        ready=[data / "tofu@forget10"],
        retain=[write_rows(folder / "retain.jsonl", kept)],
        holdout=[write_rows(folder / "holdout.jsonl", held)],
    )
    config = BuildConfig(neighbour_share=0, retain_size=len(rows), allow_overlap=True)
    started = time.process_time()
    built = build(inputs, folder / "set", config=config)
    seconds = time.process_time() - started
    made = read_forget_set(folder / "set")
    yield f"{len(rows)} rows and the five files beside them in {seconds:.1f} CPU s.\n"
    yield "| split or probe | rows | kinds |\n|---|---|---|"
    for part in (made.splits, made.probes):
        for name, examples in part.items():
            kinds = Counter(e.variant or e.kind for e in examples)
            yield f"| {name} | {len(examples)} | {named(kinds)} |"
    left = built.counts["ordinary rows that repeat others"]
    yield f"\nLeft out of retain as repeats of each other or of the probes: {left}.\n"
    yield from near_copies(rows)


def near_copies(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Compare forget10 with all of retain90, and yield the pairs by kind."""
    from forgetkit.build.meaning import Meaning
    from forgetkit.build.overlap import Limits, overlaps
    from forgetkit.forget_set import Example
    from forgetkit.progress import Silent

    made = [Example("pair", row["question"], row["answer"], source=row["id"]) for row in rows]
    pairs = list(zip(rows, made, strict=True))
    splits = {
        "forget": [e for row, e in pairs if row["forget10"]],
        "retain": [e for row, e in pairs if not row["forget10"]],
    }
    yield "| from where on | pairs of forget10 and retain90 |\n|---|---|"
    text = Counter(o.kind for o in overlaps(splits, Limits()))
    yield f"| 13 words in a row, or Jaccard of 5-grams 0.7 (the defaults) | {named(text)} |"
    loose = Counter(o.kind for o in overlaps(splits, Limits(near_copy=0.3)))
    yield f"| Jaccard of 5-grams 0.3 | {named(loose)} |"
    found = overlaps(splits, Limits(same_meaning=0.75), encode=Meaning(Silent()).encode)
    alike = [o.value for o in found if o.kind == "meaning"]
    for limit in (0.9, 0.8, 0.75):
        mark = " (the default)" if limit == 0.9 else ""
        yield f"| cosine {limit}{mark} | meaning {sum(value >= limit for value in alike)} |"


def named(kinds: Counter[str]) -> str:
    """Return counts in words.

    >>> named(Counter({"run": 7}))
    'run 7'
    """
    return ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items())) or "none"


def works(data: Path, folder: Path, windows: int, words: int) -> Iterator[str]:
    """Build from the works of the sample request and of the data, and say what a model recites."""
    yield (
        "| works | words | examples | examples a CPU s | peak memory, MB | windows read | "
        "recited by the default model |\n|---|---|---|---|---|---|---|"
    )
    for name, path in sources(data, folder, words).items():
        numbers = json.loads(_alone("--one", str(path), "--windows", str(windows)))
        share = numbers["recited"] / numbers["read"] if numbers["read"] else 0.0
        yield (
            f"| {name} | {numbers['words']:,} | {numbers['examples']:,} | "
            f"{numbers['examples'] / numbers['seconds']:,.0f} | {numbers['memory']:,.0f} | "
            f"{numbers['read']:,} | {numbers['recited']} ({share:.1%}) |"
        )


def sources(data: Path, folder: Path, words: int) -> dict[str, Path]:
    """Return the works as files of `work` and `text`: the sample's, books' starts, passages."""
    paragraphs = rows_of(data / "copyright" / "works.jsonl.gz")
    books: dict[str, list[str]] = {}
    for row in paragraphs:
        books.setdefault(row["work"], []).append(row["text"])
    known = rows_of(data / "copyright" / "memorised_passages.jsonl.gz")
    sample = next((SAMPLE / "works").iterdir())
    tables = {
        "sample request": [{"work": sample.stem, "text": sample.read_text("utf-8")}],
        f"{len(books)} books, their first {words:,} words": [
            {"work": name, "text": begun("\n\n".join(texts), words)}
            for name, texts in books.items()
        ],
        f"{len(known)} well-known passages": [
            {"work": row["id"], "text": row["text"]} for row in known
        ],
    }
    return {
        name: write_rows(folder / f"works-{number}.jsonl", rows)
        for number, (name, rows) in enumerate(tables.items())
    }


def begun(text: str, words: int) -> str:
    """Return the first words of a text, with what stands between them."""
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return text[: ends[min(words, len(ends)) - 1]]


def _alone(*arguments: str) -> str:
    """Run this script in a process of its own and return the last line that it prints."""
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    return done.stdout.splitlines()[-1]


def one(path: Path, windows: int) -> dict[str, Any]:
    """Build from one file of works without a model; then read some windows with the model."""
    from forgetkit.build import BuildConfig, Inputs, build
    from forgetkit.build.control import spread
    from forgetkit.build.target import scored_examples
    from forgetkit.build.text import windows_of_works
    from forgetkit.corpus import read_works
    from forgetkit.lm.load import load_model
    from forgetkit.progress import Silent

    texts = read_works([path])
    config = BuildConfig(neighbour_share=0, allow_overlap=True, allow_unlike_holdout=True)
    inputs = Inputs(
        ready=[path],
        retain=[SAMPLE / "retain" / "general.jsonl"],
        holdout=[SAMPLE / "holdout"],
    )
    with tempfile.TemporaryDirectory() as name:
        started = time.process_time()
        built = build(inputs, Path(name) / "set", config=config)
        seconds = time.process_time() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    read = spread(windows_of_works(texts, config), windows)
    scored = scored_examples(load_model(MODEL), read, Silent())
    return {
        "words": sum(len(work.text.split()) for work in texts),
        "examples": built.counts["forget"],
        "seconds": seconds,
        "memory": memory,
        "read": len(read),
        "recited": sum((e.memorization or 0) >= config.known_at for e in scored),
    }


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--windows", type=int, default=300, help="Windows that the model reads.")
    parser.add_argument("--words", type=int, default=3000, help="Words of each book.")
    parser.add_argument("--only", choices=("tofu", "works"), help="One of the two tables.")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(asked.one, asked.windows)))
        return
    with tempfile.TemporaryDirectory() as name:
        for title, lines in (
            ("TOFU", tofu(asked.data, Path(name))),
            ("Works", works(asked.data, Path(name), asked.windows, asked.words)),
        ):
            if asked.only and asked.only != title.lower():
                continue
            print(f"\n## {title}\n")
            for line in lines:
                print(line, flush=True)


if __name__ == "__main__":
    main()
