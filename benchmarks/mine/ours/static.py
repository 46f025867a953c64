"""Static token vectors through forgetkit: the input layer of MiniLM."""

from __future__ import annotations

from sentences import sentences
from timing import Stopwatch, arguments

from forgetkit import __version__
from forgetkit.embed import open_embedder


def main() -> None:
    data, _, out = arguments()
    watch = Stopwatch()
    texts = sentences(data, 20_000)
    embedder = open_embedder("static:minilm")
    embedder.encode(texts[:64])
    vectors = watch.time("find", lambda: embedder.encode(texts))
    kept = vectors[:100].tolist()
    watch.say(out, version=f"forgetkit {__version__}", count=len(texts), vectors=kept)


if __name__ == "__main__":
    main()
