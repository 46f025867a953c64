"""The bundled linear harm filter of forgetkit over the documents with near duplicates."""

from __future__ import annotations

import pyarrow.parquet as pq
from timing import Stopwatch, arguments

from forgetkit import __version__
from forgetkit.classify import open_classifier


def main() -> None:
    data, _, out = arguments()
    watch = Stopwatch()
    texts = pq.read_table(data / "near/documents.parquet")["text"].to_pylist()
    classifier = open_classifier("bundled")
    classifier.score(texts[:8])  # compiles the kernels
    watch.time("find", lambda: classifier.score(texts))
    size = sum(len(text.encode()) for text in texts)
    watch.say(out, version=f"forgetkit {__version__}", bytes=size)


if __name__ == "__main__":
    main()
