"""Sentence embeddings and nearest neighbours among them."""

from forgetkit.embed.model import Embedder, open_embedder
from forgetkit.embed.search import nearest, range_hits

__all__ = ["Embedder", "nearest", "open_embedder", "range_hits"]
