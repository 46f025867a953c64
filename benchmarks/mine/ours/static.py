"""Static word vectors through forgetkit, where it has them."""

from __future__ import annotations

from sentences import sentences
from timing import Stopwatch, arguments

from forgetkit import __version__, embed


def main() -> None:
    data, _, out = arguments()
    watch = Stopwatch()
    opened = getattr(embed, "open_static", None)
    if opened is None:
        raise SystemExit("forgetkit.embed has no static embedder")
    texts = sentences(data, 20_000)
    embedder = opened()
    embedder.encode(texts[:64])
    vectors = watch.time("find", lambda: embedder.encode(texts))
    kept = vectors[:100].tolist()
    watch.say(out, version=f"forgetkit {__version__}", count=len(texts), vectors=kept)


if __name__ == "__main__":
    main()
