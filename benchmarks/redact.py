"""How fast `redact` streams: megabytes of uncompressed JSON lines a second of one core.

    python benchmarks/redact.py [--megabytes 400]

One corpus of 2 kB documents; an accepted span in one document of a hundred. CPU seconds of the
whole process (`time.process_time`), one worker: fingerprint, rewriting, SHA-256 of what is
written, fsync. Each mode runs three times, and the best counts. Beside it what a plain Python
loop needs that parses every line and writes those that stay.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from forgetkit.redact import RedactConfig, redact
from forgetkit.spans import Span, write_spans

EVERY = 100
BAR = 100  # MB/s and core for `drop`
RUNS = 3


def make(path: Path, megabytes: int) -> list[Span]:
    """Write the corpus and return its spans."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(5000)]
    texts = [" ".join(rng.choices(words, k=330)) for _ in range(500)]
    spans, row, size = [], 0, 0
    with path.open("w", encoding="utf-8") as stream:
        while size < megabytes * 10**6:
            row += 1
            text = f"{row} {texts[row % len(texts)]}"
            size += stream.write(json.dumps({"id": f"d{row}", "text": text}) + "\n")
            if row % EVERY == 0:
                place = f"{path.name}:{row}"
                piece = text[200:900]
                spans.append(
                    Span(f"d{row}", place, "text", 200, 900, "verbatim", "copy", 1.0, piece)
                )
    return spans


def parsed(path: Path, spans: list[Span], target: Path) -> None:
    """Do the same by parsing every line."""
    gone = {span.doc_id for span in spans}
    with path.open("rb") as lines, target.open("wb") as out:
        for line in lines:
            if json.loads(line)["id"] not in gone:
                out.write(line)


def best(work: Callable[[Path], object], folder: Path) -> float:
    """Return the CPU seconds of the best run."""
    taken = []
    for number in range(RUNS):
        before = time.process_time()
        work(folder / str(number))
        taken.append(time.process_time() - before)
    return min(taken)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        corpus, spans = folder / "corpus.jsonl", folder / "spans.parquet"
        found = make(corpus, asked.megabytes)
        write_spans(spans, found)
        size = corpus.stat().st_size / 10**6
        print(f"{size:.0f} MB, {len(found)} spans, CPU seconds of one core, best of {RUNS}")
        print("| what | CPU s | MB/s and core |\n|---|---|---|")
        for mode in ("drop", "cut", "mask"):
            config = RedactConfig(mode=mode)

            def run(out: Path, config: RedactConfig = config) -> None:
                redact([corpus], spans, out, accept_all=True, config=config)

            seconds = best(run, folder / mode)
            print(f"| redact --mode {mode} | {seconds:.2f} | {size / seconds:.0f} |")
            if mode == "drop":
                dropped = size / seconds
        seconds = best(lambda out: parsed(corpus, found, out), folder)
        print(f"| Python, every line parsed | {seconds:.2f} | {size / seconds:.0f} |")
        print(f"drop: {dropped:.0f} MB/s, bar {BAR}: {'met' if dropped >= BAR else 'missed'}")


if __name__ == "__main__":
    main()
