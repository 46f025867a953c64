"""Text matching: copied spans with exact offsets on both sides, and near duplicates."""

from forgetkit.match.fold import Folded, fold, folded_text
from forgetkit.match.index import IndexParams, Policy, WorkIndex, search
from forgetkit.match.minhash import Pair, clusters_of, near_copies
from forgetkit.match.shingles import jaccard, shingles
from forgetkit.match.verbatim import Match

__all__ = [
    "Folded",
    "IndexParams",
    "Match",
    "Pair",
    "Policy",
    "WorkIndex",
    "clusters_of",
    "fold",
    "folded_text",
    "jaccard",
    "near_copies",
    "search",
    "shingles",
]
