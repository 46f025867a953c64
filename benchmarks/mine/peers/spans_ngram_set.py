"""Copied spans with a Python set of the works' word 8-grams: the script everyone writes first."""

from __future__ import annotations

import re
import sys

import pyarrow.parquet as pq
from timing import Stopwatch, arguments

_TOKEN = re.compile(r"[^\W_]+")
WORDS = 8
JOIN = 8  # words between two hits of one span
LEAST = 100  # characters of a span


def grams(words: list[str]) -> list[int]:
    """Return a hash of each run of eight words."""
    return [hash(tuple(words[at : at + WORDS])) for at in range(len(words) - WORDS + 1)]


def find(text: str, known: set[int]) -> list[tuple[int, int]]:
    """Return the spans of known runs, near ones joined."""
    places = [match.span() for match in _TOKEN.finditer(text)]
    words = [text[start:end].casefold() for start, end in places]
    spans: list[list[int]] = []
    for at, gram in enumerate(grams(words)):
        if gram not in known:
            continue
        if spans and at <= spans[-1][1] + JOIN:
            spans[-1][1] = at + WORDS - 1
        else:
            spans.append([at, at + WORDS - 1])
    found = [(places[first][0], places[last][1]) for first, last in spans]
    return [(start, end) for start, end in found if end - start >= LEAST]


def main() -> None:
    data, _, out = arguments()
    watch = Stopwatch()

    def index() -> set[int]:
        texts = pq.read_table(data / "spans/works.parquet")["text"].to_pylist()
        return {
            gram
            for text in texts
            for gram in grams([word.casefold() for word in _TOKEN.findall(text)])
        }

    known = watch.time("index", index)

    def scan() -> list[tuple[str, int, int]]:
        spans = []
        for path in sorted((data / "spans/corpus").glob("*.parquet")):
            table = pq.read_table(path)
            for name, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
                spans += [(name, start, end) for start, end in find(text, known)]
        return spans

    spans = watch.time("find", scan)
    watch.say(out, version=f"Python {sys.version.split()[0]}", spans=spans)


if __name__ == "__main__":
    main()
