"""Sentence embeddings and nearest neighbours among them."""

from forgetkit.embed.model import Embedder, check_embedder, open_embedder
from forgetkit.embed.search import nearest, range_hits

__all__ = ["Embedder", "check_embedder", "nearest", "open_embedder", "range_hits"]
