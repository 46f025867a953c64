"""Near duplicates with semhash at its default threshold .9.

Its default model is on a hub; the encoder here is the 32,000 x 256 table of the package wordllama.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from model2vec import StaticModel
from safetensors.numpy import load_file
from semhash import SemHash
from timing import Stopwatch, arguments, version_of
from tokenizers import Tokenizer


def static_model() -> Any:
    """Return model2vec's model over wordllama's vectors."""
    spec = find_spec("wordllama")
    folder = Path(spec.submodule_search_locations[0])
    weights = load_file(next(folder.rglob("*256.safetensors")))
    vectors = next(iter(weights.values())).astype("float32")
    tokenizer = Tokenizer.from_file(str(next(folder.rglob("*tokenizer_config.json"))))
    return StaticModel(vectors=vectors, tokenizer=tokenizer)


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
