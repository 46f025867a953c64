"""Contaminated documents with datatrove's 12-gram decontamination filter (it names no span).

Its indexer asks for lighteval; the works' hashes are written by the indexer's own
`compute_hashes` instead, in the file its filter reads.
"""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.pipeline.decont.n_grams import NGramsDecontFilter, NGramsDecontIndexer
from timing import Stopwatch, arguments, version_of


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()

    def index() -> None:
        NGramsDecontIndexer._requires_dependencies = []
        indexer = NGramsDecontIndexer(str(scratch))
        known: set[int] = set()
        for text in pq.read_table(data / "spans/works.parquet")["text"].to_pylist():
            for paragraph in text.split("\n\n"):
                known.update(indexer.compute_hashes(paragraph))
        kind = indexer.config.hash_config.np_descr
        np.array(list(known), dtype=kind).tofile(scratch / "works.index.hashes")

    watch.time("index", index)

    def scan() -> list[str]:
        chosen, found = NGramsDecontFilter(str(scratch)), []
        for path in sorted((data / "spans/corpus").glob("*.parquet")):
            table = pq.read_table(path)
            for name, text in zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True):
                if chosen.filter(Document(text=text, id=name)) is not True:
                    found.append(name)
        return found

    documents = watch.time("find", scan)
    watch.say(out, version=version_of("datatrove"), documents=documents)


if __name__ == "__main__":
    main()
