"""MiniLM through forgetkit's embedder."""

from __future__ import annotations

import torch
from sentences import sentences
from timing import Stopwatch, arguments

from forgetkit import __version__
from forgetkit.embed import open_embedder


def main() -> None:
    data, _, out = arguments()
    torch.set_num_threads(1)
    watch = Stopwatch()
    texts = sentences(data, 1000)
    embedder = open_embedder("minilm")
    embedder.encode(texts[:64])
    vectors = watch.time("find", lambda: embedder.encode(texts))
    kept = vectors[::10].tolist()
    watch.say(out, version=f"forgetkit {__version__}", count=len(texts), vectors=kept)


if __name__ == "__main__":
    main()
