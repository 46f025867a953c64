"""Static word vectors through model2vec; the 32,000 x 256 table of the package wordllama."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from model2vec import StaticModel
from safetensors.numpy import load_file
from sentences import sentences
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
    data, _, out = arguments()
    watch = Stopwatch()
    texts = sentences(data, 20_000)
    model = static_model()
    model.encode(texts[:64])
    vectors = watch.time("find", lambda: model.encode(texts))
    version = version_of("model2vec", "wordllama")
    watch.say(out, version=version, count=len(texts), vectors=vectors[:100].tolist())


if __name__ == "__main__":
    main()
