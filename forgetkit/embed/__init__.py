"""Sentence embeddings and nearest neighbours among them."""

from forgetkit.embed.model import (
    Embedder,
    check_embedder,
    open_embedder,
    open_static_embedder,
)
from forgetkit.embed.search import NearIndex, nearest, range_hits

__all__ = [
    "Embedder",
    "NearIndex",
    "check_embedder",
    "nearest",
    "open_embedder",
    "open_static_embedder",
    "range_hits",
]
