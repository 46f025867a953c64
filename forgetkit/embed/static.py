"""Static embeddings: the mean of a table's rows over the tokens of a text, by compiled kernels.

The table is the input layer of MiniLM, or that of a model2vec folder (Tulkens & van Dongen 2024);
the vectors are those that their own code gives. Meaning in context is lost, speed is a thousand
times MiniLM's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from forgetkit.classify.scan import buffer
from forgetkit.compiled import compiled
from forgetkit.embed.pieces import Bytes, Numbers, Places, Vocabulary
from forgetkit.errors import InputError

Vectors = npt.NDArray[np.float32]
LAYERS = ("embeddings.word_embeddings.weight", "embeddings", "embedding.weight")


class StaticEmbedder:
    """Mean token vectors, scaled to length 1; a text without a known token gives zeros.

    Args:
        name: what it was opened by.
        pieces: the vocabulary, in order.
        table: their vectors, (V, D).
    """

    def __init__(self, name: str, pieces: Sequence[str], table: Vectors) -> None:
        self.name, self.dimension = name, int(table.shape[1])
        self._vocabulary, self._table = Vocabulary(pieces), np.ascontiguousarray(table, np.float32)

    def encode(
        self,
        texts: Sequence[str],
        *,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Vectors:
        """Return `(n, D)` L2-normalised rows, in the order of the texts."""
        data, offsets = buffer(texts)
        vectors = self.encode_pieces(data, offsets[:-1], offsets[1:])
        if progress is not None:
            progress(len(texts), len(texts))
        return vectors

    def encode_pieces(self, data: Bytes, first: Places, last: Places) -> Vectors:
        """Return the vectors of pieces of a UTF-8 buffer, (n, D)."""
        tokens, rows = self._vocabulary.tokens(data, first, last)
        vectors = np.zeros((len(first), self.dimension), np.float32)
        _means(tokens, rows, self._table, vectors)
        return vectors


@compiled
def _means(tokens: Numbers, rows: Places, table: Vectors, vectors: Vectors) -> None:
    """Fill the mean of each row's token vectors, scaled to length 1."""
    for row in range(len(rows) - 1):
        summed = vectors[row]
        place = rows[row]
        while place + 4 <= rows[row + 1]:  # four at once: the sums are read and written once
            a, b = table[tokens[place]], table[tokens[place + 1]]
            c, d = table[tokens[place + 2]], table[tokens[place + 3]]
            for axis in range(table.shape[1]):
                summed[axis] = summed[axis] + a[axis] + b[axis] + c[axis] + d[axis]
            place += 4
        while place < rows[row + 1]:
            last = table[tokens[place]]
            for axis in range(table.shape[1]):
                summed[axis] += last[axis]
            place += 1
        square = np.float32(0)
        for axis in range(table.shape[1]):
            square += summed[axis] * summed[axis]
        if square > 0:
            scale = np.float32(1) / np.sqrt(square)
            for axis in range(table.shape[1]):
                summed[axis] *= scale


def open_static(name: str, folder: Path) -> StaticEmbedder:
    """Open the token table of a folder as static embeddings.

    Args:
        name: what it is called.
        folder: holds `tokenizer.json` of WordPiece, lower case, and `model.safetensors`.

    Raises:
        InputError: there is no such table, or its tokenizer is of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(
            "is no folder of static embeddings", where=str(folder), found=type(error).__name__
        ) from error
    model, normal = tokenizer.get("model") or {}, tokenizer.get("normalizer") or {}
    if model.get("type") != "WordPiece" or not normal.get("lowercase"):
        raise InputError("has another tokenizer than WordPiece in lower case", where=str(folder))
    table = next((weights[layer] for layer in LAYERS if layer in weights), None)
    vocabulary: dict[str, int] = model["vocab"]
    pieces = sorted(vocabulary, key=lambda piece: vocabulary[piece])
    if table is None or len(table) < len(pieces):
        raise InputError("holds no table of token vectors", where=str(folder))
    return StaticEmbedder(name, pieces, table.astype(np.float32))
