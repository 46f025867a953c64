"""Near duplicates with semhash at its default threshold .9.

Its default model is on a hub; the encoder here is the one of `static_model2vec.py`.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from semhash import SemHash
from static_model2vec import static_model
from timing import Stopwatch, arguments, version_of


def main() -> None:
    data, scratch, out = arguments()
    watch = Stopwatch()
    model = static_model()

    def find() -> list[str]:
        rows = pq.read_table(data / "near/documents.parquet").to_pylist()
        index = SemHash.from_records(rows, columns=["text"], model=model)
        kept = index.self_deduplicate(threshold=0.9).selected
        pq.write_table(pa.Table.from_pylist(kept), scratch / "kept.parquet")
        return [row["id"] for row in kept]

    kept = watch.time("find", find)
    watch.say(out, version=version_of("semhash", "model2vec"), kept=kept)


if __name__ == "__main__":
    main()
